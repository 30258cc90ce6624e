//! `demo`: two companies that know many of the same people, synced, edited on both sides, synced again.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use crmsync_core::model::{Pair, RouteName, Side};
use crmsync_simulator::clock::Clock as ServerClock;
use serde_json::json;
use tempfile::TempDir;

use super::context::Context;
use super::exit::{Exit, Failure};
use super::plan_view::{self, Detail};
use super::progress::Progress;
use super::render::{counted, note, printable};
use super::{init, progress};
use crate::clock::{Ambient, Clock};
use crate::config::{Config, Environment};
use crate::sandbox::companies::seed_demo;
use crate::sandbox::{Ports, Sandbox};
use crate::service::{RunOptions, RunReport, Session};

/// Pause between two runs while the demo keeps serving.
const EVERY: Duration = Duration::from_secs(5);

/// Both simulators, and a folder like a user's.
struct Stage {
    sandbox: Sandbox,
    config: Config,
    clock: ServerClock,
    ambient: Ambient,
    names: Pair<String>,
    /// Holds the store and the mapping files until the demo ends.
    _folder: TempDir,
}

pub(super) async fn demo(context: &Context, once: bool) -> Result<Exit, Failure> {
    let stage = Stage::build(context).await?;
    let progress = progress::progress(&context.output);
    let progress = progress.as_ref();
    say(context, &stage.welcome())?;

    say(
        context,
        "\n── 1. The plan of the first sync ──────────────────────────────────────────\n",
    )?;
    let session = stage.open().await?;
    let outcome = session.plan(&RunOptions::default(), progress).await?;
    say(context, &plan_view::show(&outcome.plan, &stage.names, Detail::First, &context.output))?;
    say(context, &plan_view::cost(&outcome.forecast, &stage.names))?;

    say(
        context,
        "\n── 2. Approved by the demo, and applied ───────────────────────────────────\n",
    )?;
    let first = stage.sync(progress).await?;
    say(context, &stage.summary(&first))?;

    say(
        context,
        "\n── 3. People edit on both sides ───────────────────────────────────────────\n",
    )?;
    say(context, &stage.edit())?;

    say(
        context,
        "\n── 4. The second sync ─────────────────────────────────────────────────────\n",
    )?;
    let second = stage.sync(progress).await?;
    say(context, &plan_view::show(&second.plan, &stage.names, Detail::First, &context.output))?;
    say(context, &stage.summary(&second))?;

    say(
        context,
        "\n── 5. The conflict report ─────────────────────────────────────────────────\n",
    )?;
    say(context, &conflicts(context, &second))?;

    say(
        context,
        "\n── 6. Again, with nothing to do ───────────────────────────────────────────\n",
    )?;
    let third = stage.sync(progress).await?;
    say(context, &stage.summary(&third))?;
    let quiet = third.tally.written() == 0;
    say(
        context,
        if quiet {
            "Nothing was written: both sides are the same.\n"
        } else {
            "Unexpected writes.\n"
        },
    )?;
    if !once {
        stage.keep_on(context, progress).await?;
    }
    Ok(if quiet { Exit::Clean } else { Exit::Open })
}

impl Stage {
    async fn build(context: &Context) -> Result<Self, Failure> {
        let failed =
            |what: &str, error: std::io::Error| Failure::config(format!("cannot {what}: {error}"));
        let folder = TempDir::new().map_err(|error| failed("make a temporary folder", error))?;
        let clock = ServerClock::running(TimeDelta::zero());
        let sandbox = Sandbox::start(&clock, 7, Ports::default())
            .await
            .map_err(|error| failed("start the simulators", error))?;
        seed_demo(&sandbox.zoho, &sandbox.pipedrive);
        init::write_mappings(folder.path())?;
        let mappings = folder.path().join("mappings/zoho-pipedrive");
        let store = format!("sqlite://{}", folder.path().join("crmsync.db").display());
        let text = sandbox.config(&store, &mappings);
        let config =
            Config::parse(&folder.path().join("crmsync.toml"), &text, &Environment::default())?;
        let now = clock.clone();
        // People take breaks between steps that a reader need not wait for: all clocks jump together.
        let ambient = Ambient { clock: Clock::new(move || now.now()), ..context.ambient.clone() };
        let names = Pair::new("zoho".to_owned(), "pipedrive".to_owned());
        Ok(Self { sandbox, config, clock, ambient, names, _folder: folder })
    }

    async fn open(&self) -> Result<Session, Failure> {
        Ok(Session::open(&self.config, &RouteName::new("crm"), &self.ambient).await?)
    }

    async fn sync(&self, progress: &dyn Progress) -> Result<RunReport, Failure> {
        self.clock.advance(TimeDelta::minutes(10));
        let options = RunOptions { ask: Some(Arc::new(|_| true)), ..RunOptions::default() };
        Ok(self.open().await?.sync(&options, progress).await?)
    }

    fn welcome(&self) -> String {
        let (zoho, pipedrive) = (&self.sandbox.zoho, &self.sandbox.pipedrive);
        format!(
            "Two companies, simulated on loopback; no account, no network.\n\
             zoho       {}  {}, {}, {}\n\
             pipedrive  {}  {}, {}, {}\n",
            self.sandbox.zoho_url(),
            counted(zoho.count("Accounts") as u64, "account"),
            counted(zoho.count("Contacts") as u64, "contact"),
            counted(zoho.count("Deals") as u64, "deal"),
            self.sandbox.pipedrive_url(),
            counted(pipedrive.count("organizations") as u64, "organization"),
            counted(pipedrive.count("persons") as u64, "person"),
            counted(pipedrive.count("deals") as u64, "deal"),
        )
    }

    /// What a run did and what it cost, with the price per written record left to the reader.
    fn summary(&self, report: &RunReport) -> String {
        let tally = &report.tally;
        let mut text = format!("linked {}, agreed or noted {}\n", tally.linked, tally.noted);
        for side in Side::BOTH {
            let cost = report.cost[side];
            let _ = writeln!(
                text,
                "{:<10} created {}, updated {}, deleted {}; {} ({} {})",
                self.names[side],
                tally.created[side],
                tally.updated[side],
                tally.deleted[side],
                counted(cost.calls, "call"),
                cost.units,
                if side == Side::Left { "credits" } else { "tokens" },
            );
        }
        let _ = writeln!(
            text,
            "{} open, exit code {}",
            counted(report.open_rows, "question"),
            report.exit.code()
        );
        text
    }

    /// Edits a reader can follow: one field each, one on both sides, one at the same moment, one deletion.
    fn edit(&self) -> String {
        let (zoho, pipedrive) = (&self.sandbox.zoho, &self.sandbox.pipedrive);
        let contact = |email: &str| {
            let all = zoho.all("Contacts");
            let row = all.iter().find(|row| row["Email"] == email);
            row.and_then(|row| row["id"].as_str()).and_then(|id| id.parse::<u64>().ok())
        };
        let person = |email: &str| {
            let all = pipedrive.all("persons");
            let row = all.iter().find(|row| row["emails"][0]["value"] == email);
            row.and_then(|row| row["id"].as_i64())
        };
        let emails = |address: &str| json!({ "emails": [{ "value": address, "primary": true, "label": "work" }] });
        let mut said = String::new();
        let mut tell = |line: &str| said.extend(["  ", line, "\n"]);
        self.clock.advance(TimeDelta::minutes(5));
        if let (Some(contact), Some(person)) =
            (contact("ada.petersen@alster.example"), person("ada.petersen@alster.example"))
        {
            zoho.edit("Contacts", contact, json!({ "Phone": "+49 40 30051999" }));
            pipedrive.edit("persons", person, emails("ada@alster.example"));
            tell(
                "Ada Petersen: new phone in Zoho, new e-mail in Pipedrive (both will be on both sides)",
            );
        }
        if let (Some(contact), Some(person)) =
            (contact("clara@brandt.example"), person("clara@brandt.example"))
        {
            zoho.edit("Contacts", contact, json!({ "Last_Name": "Brandt-Meyer" }));
            self.clock.advance(TimeDelta::minutes(2));
            pipedrive.edit(
                "persons",
                person,
                json!({ "first_name": "Clara", "last_name": "Meyer" }),
            );
            tell(
                "Clara Brandt: married in Zoho, and two minutes later differently in Pipedrive (newest wins, reported)",
            );
        }
        if let (Some(contact), Some(person)) =
            (contact("elena@cafelinde.example"), person("elena@cafelinde.example"))
        {
            zoho.edit("Contacts", contact, json!({ "Email": "elena.l@cafelinde.example" }));
            pipedrive.edit("persons", person, emails("office@cafelinde.example"));
            tell("Elena Lindner: two e-mails within the same five seconds (a person is asked)");
        }
        if let Some(person) = person("hanna@eiger.example") {
            pipedrive.delete("persons", person);
            tell("Hanna Zbinden: deleted in Pipedrive (kept in Zoho, not made again)");
        }
        zoho.add(
            "Contacts",
            json!({ "First_Name": "Mira", "Last_Name": "Novak", "Email": "mira@novak.example" }),
        );
        tell("Mira Novak: new in Zoho (created in Pipedrive)");
        said
    }

    /// Syncs every few seconds until Ctrl-C.
    async fn keep_on(&self, context: &Context, progress: &dyn Progress) -> Result<(), Failure> {
        note(&format!(
            "\nStill syncing every {} s, until Ctrl-C. Try the simulators, for example:\n  \
             curl -H 'x-api-token: {}' '{}/api/v2/persons?limit=3'",
            EVERY.as_secs(),
            self.sandbox.pipedrive.api_token(),
            self.sandbox.pipedrive_url(),
        ));
        loop {
            tokio::select! {
                () = context.cancel.cancelled() => return Ok(()),
                () = tokio::time::sleep(EVERY) => {}
            }
            let options = RunOptions { ask: Some(Arc::new(|_| true)), ..RunOptions::default() };
            let report = self.open().await?.sync(&options, progress).await?;
            if report.tally.written() > 0 {
                say(
                    context,
                    &plan_view::show(&report.plan, &self.names, Detail::First, &context.output),
                )?;
            }
        }
    }
}

fn conflicts(context: &Context, report: &RunReport) -> String {
    let shown = |value: Option<&crmsync_core::model::Value>| {
        value.map_or_else(|| "–".into(), ToString::to_string)
    };
    let rows = report.rows.iter().map(|row| {
        vec![
            format!(
                "{} {}",
                row.entity,
                row.records
                    .left
                    .as_ref()
                    .or(row.records.right.as_ref())
                    .map_or("", |id| id.as_str())
            ),
            row.field.as_ref().map_or_else(|| "(record)".to_owned(), ToString::to_string),
            shown(row.base.as_ref().map(|base| &base.left)),
            shown(row.left.as_ref()),
            shown(row.right.as_ref()),
            row.winner.map_or_else(|| "you decide".to_owned(), |side| format!("{side} wins")),
            printable(&row.message),
        ]
    });
    context
        .output
        .table(&["record", "field", "agreed before", "zoho", "pipedrive", "decision", "why"], rows)
}

fn say(context: &Context, text: &str) -> Result<(), Failure> {
    context.output.raw(text)
}
