//! `demo`: two companies that know many of the same people, synced, edited on both sides, synced again.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use crmsync_core::model::{Pair, Plan, RouteName};
use crmsync_simulator::clock::Clock as ServerClock;
use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::context::Context;
use super::exit::{Exit, Failure};
use super::plan_view::{self, Detail, View};
use super::progress::Progress;
use super::render::{counted, note};
use super::{init, progress, run_view, serve};
use crate::clock::{Ambient, Clock};
use crate::config::{Config, Environment, Schedule};
use crate::sandbox::companies::seed_demo;
use crate::sandbox::{Ports, Sandbox};
use crate::service::people::hash_password;
use crate::service::{Labels, RunOptions, RunReport, Scheduler, Session, Silent, connect};
use crate::store::{Person, Role};

/// Who may sign in to the demo's pages.
const LOGIN: &str = "demo";
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
    let progress = Stage::progress(context);
    let progress = progress.as_ref();
    say(context, &stage.welcome())?;

    let aim = "No record is linked yet: those that both sides know are linked, the others are created.\n\
               Look at what waits: a first sync writes nothing until a person approves its plan.";
    step(context, 1, "The plan of the first sync", aim)?;
    let session = stage.open().await?;
    let outcome = session.plan(&RunOptions::default(), progress).await?;
    let shown = stage.view(context, &outcome.plan, &outcome.labels, Detail::Samples);
    let forecast = plan_view::cost("writing it will cost", &outcome.forecast, &stage.names);
    say(context, &format!("{shown}\n{forecast}"))?;

    let aim = "The demo approves that plan. Look at the numbers: they are those of the plan.";
    step(context, 2, "The first sync", aim)?;
    let (first, _) = stage.sync(progress).await?;
    say(context, &run_view::show(&first, &stage.names))?;

    let aim = "What people do all day. Each edit is there for one rule of the merge.";
    step(context, 3, "People edit on both sides", aim)?;
    say(context, &stage.edit())?;

    let aim = "Only the edited fields travel, each in its own direction. Look at Clara, whom two people\n\
               renamed, and at Elena, about whom nobody but you can decide.";
    step(context, 4, "The second sync, with its conflict report", aim)?;
    let (second, labels) = stage.sync(progress).await?;
    say(context, &stage.view(context, &second.plan, &labels, Detail::First))?;
    say(context, &format!("\n{}", run_view::show(&second, &stage.names)))?;

    let aim = "Nobody edited anything. Look at the zeros: what is decided stays decided, what waits waits.";
    step(context, 5, "The third sync", aim)?;
    let (third, _) = stage.sync(progress).await?;
    say(context, &run_view::show(&third, &stage.names))?;
    let quiet = third.tally.written() == 0;
    let verdict = if quiet { "Quiet: nothing was written." } else { "Unexpected writes." };
    say(context, &format!("{verdict}\n"))?;
    if !once {
        stage.keep_on(context).await?;
    }
    Ok(if quiet { Exit::Clean } else { Exit::Open })
}

/// A heading, and one sentence or two on what to look at.
fn step(context: &Context, number: u32, title: &str, aim: &str) -> Result<(), Failure> {
    let rule = "─".repeat(94_usize.saturating_sub(title.chars().count()));
    say(context, &format!("\n── {number}. {title} {rule}\n{aim}\n\n"))
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
        init::write_mappings(folder.path(), init::SET)?;
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

    /// Ten minutes later, one run that approves whatever waits.
    async fn sync(&self, progress: &dyn Progress) -> Result<(RunReport, Labels), Failure> {
        self.clock.advance(TimeDelta::minutes(10));
        let options = RunOptions { ask: Some(Arc::new(|_| true)), ..RunOptions::default() };
        let session = self.open().await?;
        let report = session.sync(&options, progress).await?;
        let labels = session.labels(&report.plan).await?;
        Ok((report, labels))
    }

    fn view(&self, context: &Context, plan: &Plan, labels: &Labels, detail: Detail) -> String {
        let (names, output) = (&self.names, &context.output);
        plan_view::show(plan, &View { names, labels, detail, output })
    }

    /// The demo is read, not waited for: bars on a terminal, nothing between its lines elsewhere.
    fn progress(context: &Context) -> Box<dyn Progress> {
        if std::io::stderr().is_terminal() {
            progress::progress(&context.output)
        } else {
            Box::new(Silent)
        }
    }

    fn welcome(&self) -> String {
        let (zoho, pipedrive) = (&self.sandbox.zoho, &self.sandbox.pipedrive);
        format!(
            "Two companies that know many of the same people, simulated on loopback; no account, no network.\n\
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
            tell(
                "Elena Lindner: two e-mails at the same moment (nobody can tell which is newer: a person is asked)",
            );
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

    /// Serves the review pages and syncs every few seconds, until Ctrl-C.
    async fn keep_on(&self, context: &Context) -> Result<(), Failure> {
        let mut config = self.config.clone();
        for route in config.routes.values_mut() {
            route.schedule = Some(Schedule::Every(EVERY));
        }
        let any_port = SocketAddr::from((config.serve.listen.ip(), 0));
        let listener = match TcpListener::bind(config.serve.listen).await {
            Ok(listener) => listener,
            Err(_) => TcpListener::bind(any_port)
                .await
                .map_err(|error| Failure::config(format!("cannot listen: {error}")))?,
        };
        let address = listener.local_addr().unwrap_or(any_port);
        let store = connect::open_store(&config).await?;
        let password = &blake3::hash(&context.entropy.bytes()).to_hex()[..12];
        let hash = hash_password(password, &context.entropy.bytes())?;
        let created_at = self.ambient.clock.now();
        let person =
            Person { name: LOGIN.into(), role: Role::Operator, password: hash, created_at };
        store.save_person(&person).await?;
        let scheduler = Scheduler::new(config, store, &self.ambient);
        let (zoho, pipedrive) = (self.sandbox.zoho_url(), self.sandbox.pipedrive_url());
        let key = self.sandbox.pipedrive.api_token();
        note(&format!(
            "\nReview pages: http://{address}/ (name {LOGIN}, password {password}). Decide about Elena, and watch it reach both sides.\n\
             Syncing every {} s, until Ctrl-C. Rename a person in Pipedrive and watch it reach Zoho:\n  \
             curl -X PATCH -H 'x-api-token: {key}' -H 'content-type: application/json' \\\n    \
             -d '{{\"first_name\": \"Adele\"}}' {pipedrive}/api/v2/persons/1\n\
             Zoho's simulator answers at {zoho}.",
            EVERY.as_secs(),
        ));
        serve::serve(context, scheduler, listener).await
    }
}

fn say(context: &Context, text: &str) -> Result<(), Failure> {
    context.output.raw(text)
}
