//! Copies of a CRM in a database or a folder: first load, changes, new fields, deletions, faults, resuming.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::TimeDelta;
use crmsync::clock::{Ambient, Clock, Ids, Order, Wire};
use crmsync::config::{Config, Environment};
use crmsync::sandbox::{Ports, Sandbox};
use crmsync::service::replicate::{Outcome, Replica, ReplicaOptions, ReplicaReport, StreamReport};
use crmsync::service::{Exit, Silent};
use crmsync_simulator::clock::Clock as ServerClock;
use crmsync_simulator::fault::Fault;
use crmsync_simulator::host::Service as _;
use serde_json::json;
use tempfile::TempDir;

use crate::databases::{Database, Server};
use crate::world::shipped_mappings;

struct Desk {
    sandbox: Sandbox,
    clock: ServerClock,
    folder: TempDir,
    database: Option<Database>,
    ids: Arc<AtomicU64>,
}

impl Desk {
    async fn with(server: Server) -> Option<Self> {
        let database = Database::create(server)?;
        Some(Self { database: Some(database), ..Self::start().await })
    }

    async fn start() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let clock = ServerClock::standing("2026-03-02T09:00:00Z".parse().unwrap());
        let sandbox = Sandbox::start(&clock, 7, Ports::default()).await.unwrap();
        Self {
            sandbox,
            clock,
            folder: TempDir::new().unwrap(),
            database: None,
            ids: Arc::default(),
        }
    }

    fn database(&self) -> &Database {
        self.database.as_ref().unwrap()
    }

    fn config(&self, from: &str, lines: &str) -> Config {
        let store = format!("sqlite://{}", self.folder.path().join("store.db").display());
        let to = self.database.as_ref().map_or("landing/".to_owned(), |_| "warehouse".to_owned());
        let url = self.database.as_ref().map_or("sqlite://none.db", |it| it.url.as_str());
        let text = self.sandbox.config(&store, &shipped_mappings())
            + &format!(
                "[connections.warehouse]\ntype = \"sql\"\nurl = \"{url}\"\n\
                 [replications.copy]\nfrom = \"{from}\"\nto = \"{to}\"\n{lines}\n"
            );
        Config::parse(&self.folder.path().join("crmsync.toml"), &text, &Environment::default())
            .unwrap()
    }

    fn ambient(&self) -> Ambient {
        let (clock, ids) = (self.clock.clone(), Arc::clone(&self.ids));
        Ambient {
            clock: Clock::new(move || clock.now()),
            ids: Ids::new(move || format!("run-{:06}", ids.fetch_add(1, Ordering::Relaxed))),
            holder: "test".into(),
            is_gone: |_| false,
            wire: Wire::Sockets,
            order: Order::Together,
        }
    }

    /// One copy; a minute passes first, as between two real ones.
    async fn copy(&self, from: &str, lines: &str) -> ReplicaReport {
        self.clock.advance(TimeDelta::seconds(60));
        let (config, options) = (self.config(from, lines), ReplicaOptions::default());
        let replica = Replica::open(&config, "copy", &options, &self.ambient()).await.unwrap();
        replica.run(&config, &options, &self.ambient(), &Silent).await.unwrap()
    }

    fn quote(&self, name: &str) -> String {
        self.database().server.quote(name)
    }
}

fn stream<'r>(report: &'r ReplicaReport, name: &str) -> &'r StreamReport {
    report.streams.iter().find(|stream| stream.stream == name).unwrap()
}

#[tokio::test]
async fn given_a_pipedrive_company_when_copied_again_and_again_then_the_tables_follow_it() {
    for server in Server::ALL {
        let Some(desk) = Desk::with(server).await else { continue };
        let (pipedrive, database) = (&desk.sandbox.pipedrive, desk.database());
        let acme = pipedrive.add("organizations", json!({ "name": "Acme\tGmbH" }));
        let ada = pipedrive.add("persons", json!({
            "name": "Ada Lovelace", "first_name": "Ada", "last_name": "Lovelace", "org_id": acme,
            "emails": [{ "value": "ada@example.com", "primary": true, "label": "work" }, { "value": "a@home.example", "primary": false, "label": "home" }],
        }));
        let deal = pipedrive.add("deals", json!({ "title": "Engine \\ \"No. 1\"", "value": 1234.5, "currency": "EUR", "person_id": ada }));

        let first = desk.copy("pipedrive", "").await;

        assert_eq!(first.exit, Exit::Clean, "{server:?} {:#?}", first.streams);
        assert_eq!(stream(&first, "deals").rows, Some(1), "{server:?}");
        let row = database.rows("SELECT title, currency, person_id FROM deals").remove(0);
        assert_eq!(
            row,
            ["Engine \\ \"No. 1\"".to_owned(), "EUR".into(), ada.to_string()],
            "{server:?}"
        );
        assert_eq!(database.one("SELECT name FROM organizations"), "Acme\tGmbH", "{server:?}");
        let position = desk.quote("position");
        let value = desk.quote("value");
        let emails = format!("SELECT parent_id, {value} FROM persons_emails ORDER BY {position}");
        let emails: Vec<_> = database.rows(&emails).into_iter().map(|row| row.join(" ")).collect();
        assert_eq!(
            emails,
            [format!("{ada} ada@example.com"), format!("{ada} a@home.example")],
            "{server:?}"
        );
        assert!(stream(&first, "stages").rows.unwrap() > 0, "{server:?}");

        // An edit, a shorter list, a new record, a deletion.
        pipedrive.edit(
            "persons",
            ada,
            json!({ "emails": [{ "value": "ada@new.example", "primary": true, "label": "work" }] }),
        );
        pipedrive.edit("deals", deal, json!({ "title": "Difference engine" }));
        let next = pipedrive.add("organizations", json!({ "name": "Initech" }));
        let second = desk.copy("pipedrive", "").await;
        assert_eq!(second.exit, Exit::Clean, "{server:?} {:#?}", second.streams);
        assert_eq!(database.one("SELECT title FROM deals"), "Difference engine", "{server:?}");
        assert_eq!(database.one("SELECT COUNT(*) FROM persons_emails"), "1", "{server:?}");
        assert_eq!(database.one("SELECT COUNT(*) FROM organizations"), "2", "{server:?}");

        desk.clock.advance(TimeDelta::seconds(900));
        pipedrive.delete("organizations", next);
        let third = desk.copy("pipedrive", "").await;
        assert_eq!(stream(&third, "organizations").rows, Some(1), "{server:?}");
        let fourth = desk.copy("pipedrive", "").await;
        assert_eq!(stream(&fourth, "deals").read, 0, "{server:?}: nothing changed");
        let marked = format!(
            "SELECT COUNT(*) FROM organizations WHERE id = {next} AND _crmsync_deleted_at IS NOT NULL"
        );
        assert_eq!(database.one(&marked), "1", "{server:?}");
    }
}

#[tokio::test]
async fn given_hard_deletions_when_a_record_goes_then_its_row_and_its_lists_go_too() {
    for server in Server::ALL {
        let Some(desk) = Desk::with(server).await else { continue };
        let pipedrive = &desk.sandbox.pipedrive;
        let ada = pipedrive.add(
            "persons",
            json!({ "name": "Ada", "emails": [{ "value": "ada@example.com", "primary": true }] }),
        );
        desk.copy("pipedrive", "deletes = \"hard\"").await;
        desk.clock.advance(TimeDelta::seconds(900));

        pipedrive.delete("persons", ada);
        desk.copy("pipedrive", "deletes = \"hard\"").await;

        assert_eq!(desk.database().one("SELECT COUNT(*) FROM persons"), "0", "{server:?}");
        assert_eq!(desk.database().one("SELECT COUNT(*) FROM persons_emails"), "0", "{server:?}");
    }
}

#[tokio::test]
async fn given_custom_fields_when_copied_then_columns_have_their_labels_and_new_ones_are_added_or_ignored()
 {
    for (new_fields, expected) in [("add", true), ("ignore", false)] {
        let Some(desk) = Desk::with(Server::Postgres).await else { return };
        let pipedrive = &desk.sandbox.pipedrive;
        let key = pipedrive.add_field("deals", "Größe (m²)", "double", &[]);
        pipedrive.add("deals", json!({ "title": "A", "custom_fields": { key: 12.5 } }));
        let lines = format!("new_fields = \"{new_fields}\"");
        desk.copy("pipedrive", &lines).await;
        assert_eq!(desk.database().one("SELECT CAST(grosse_m2 AS text) FROM deals"), "12.5");

        let later = pipedrive.add_field("deals", "Later", "varchar", &[]);
        pipedrive.add("deals", json!({ "title": "B", "custom_fields": { later: "x" } }));
        desk.clock.advance(TimeDelta::seconds(4000));
        let report = desk.copy("pipedrive", &lines).await;

        assert_eq!(report.exit, Exit::Clean, "{:#?}", report.streams);
        let columns = "SELECT COUNT(*) FROM information_schema.columns WHERE table_name = 'deals' AND column_name = 'later'";
        assert_eq!(desk.database().one(columns) == "1", expected, "{new_fields}");
    }
}

#[tokio::test]
async fn given_a_zoho_organization_when_copied_then_modules_and_what_stands_around_them_are_there()
{
    for server in Server::ALL {
        let Some(desk) = Desk::with(server).await else { continue };
        let zoho = &desk.sandbox.zoho;
        let acme = zoho.add("Accounts", json!({ "Account_Name": "Acme" }));
        zoho.add("Contacts", json!({ "Last_Name": "Byron", "Email": "ada@example.com", "Account_Name": { "id": acme.to_string() } }));

        let report = desk.copy("zoho", "streams = [\"Accounts\", \"Contacts\", \"users\", \"organization\", \"roles\", \"profiles\"]").await;

        assert_eq!(report.exit, Exit::Clean, "{server:?} {:#?}", report.streams);
        let joined = "SELECT c.email, a.account_name FROM contacts c JOIN accounts a ON a.id = c.account_name_id";
        assert_eq!(desk.database().rows(joined), [["ada@example.com", "Acme"]], "{server:?}");
        for name in ["users", "organization", "roles", "profiles"] {
            assert!(stream(&report, name).rows.unwrap() > 0, "{server:?} {name}");
        }
    }
}

#[tokio::test]
async fn given_a_side_that_fails_in_the_middle_when_copied_then_what_was_there_stays_and_the_next_run_goes_on()
 {
    for server in Server::ALL {
        let Some(desk) = Desk::with(server).await else { continue };
        let pipedrive = &desk.sandbox.pipedrive;
        pipedrive.add("organizations", json!({ "name": "Acme" }));
        desk.copy("pipedrive", "").await;
        let next = pipedrive.add("organizations", json!({ "name": "Initech" }));
        pipedrive.faults().on("GET /api/v2/organizations", 0, 9, Fault::html(503));
        pipedrive.faults().on("GET /api/v2/pipelines", 0, 9, Fault::html(503));

        let failed = desk
            .copy("pipedrive", "streams = [\"organizations\", \"pipelines\", \"persons\"]")
            .await;
        pipedrive.faults().clear();
        let rows = desk.database().one("SELECT COUNT(*) FROM organizations");
        let pipelines =
            desk.database().one("SELECT COUNT(*) FROM pipelines WHERE _crmsync_deleted_at IS NULL");
        let again = desk.copy("pipedrive", "").await;

        assert_eq!(failed.exit, Exit::SideUnavailable, "{server:?}");
        assert_eq!(stream(&failed, "organizations").outcome, Outcome::Failed);
        assert_eq!(stream(&failed, "persons").outcome, Outcome::Copied);
        assert!(stream(&failed, "organizations").note.as_ref().unwrap().contains("503"));
        assert_eq!((rows.as_str(), pipelines.as_str()), ("1", "1"), "{server:?}");
        assert_eq!(again.exit, Exit::Clean, "{server:?}");
        let there = format!("SELECT COUNT(*) FROM organizations WHERE id = {next}");
        assert_eq!(desk.database().one(&there), "1", "{server:?}");
    }
}

#[tokio::test]
async fn given_a_folder_when_copied_to_then_raw_records_are_landed_a_file_a_run() {
    let desk = Desk::start().await;
    desk.sandbox.pipedrive.add("deals", json!({ "title": "A" }));

    // Older than what every run reads again.
    desk.clock.advance(TimeDelta::seconds(900));
    let first = desk.copy("pipedrive", "streams = [\"deals\"]").await;
    desk.clock.advance(TimeDelta::seconds(900));
    desk.sandbox.pipedrive.add("deals", json!({ "title": "B" }));
    let second = desk.copy("pipedrive", "streams = [\"deals\"]").await;
    let manifest =
        std::fs::read_to_string(desk.folder.path().join("landing/copy/manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();

    assert_eq!((first.exit, second.exit), (Exit::Clean, Exit::Clean));
    assert_eq!((stream(&first, "deals").read, stream(&second, "deals").read), (1, 1));
    let files = manifest["streams"]["deals"]["files"].as_array().unwrap();
    let whole: Vec<_> = files.iter().map(|file| file["whole"].as_bool().unwrap()).collect();
    assert_eq!(whole, [true, false]);
    assert!(files.iter().all(|file| {
        desk.folder.path().join("landing/copy").join(file["path"].as_str().unwrap()).exists()
    }));
}

#[tokio::test]
async fn given_streams_when_listed_then_each_says_how_it_is_read() {
    let desk = Desk::start().await;
    let config = desk.config("pipedrive", "");

    let replica =
        Replica::open(&config, "copy", &ReplicaOptions::default(), &desk.ambient()).await.unwrap();

    let line = |name: &str| {
        let stream = replica.streams().iter().find(|stream| stream.name == name).unwrap();
        format!("{:?} {} {}", stream.method, stream.key, stream.cursor.clone().unwrap_or_default())
    };
    assert_eq!(line("deals"), "Changes id update_time");
    assert_eq!(line("stages"), "FullTable id ");
    assert_eq!(line("deal_fields"), "FullTable field_code ");
    assert!(desk.sandbox.pipedrive.traffic().written() == 0);
}

#[tokio::test]
async fn given_a_stream_that_is_none_when_asked_for_then_the_nearest_one_is_named() {
    let desk = Desk::start().await;
    let config = desk.config("pipedrive", "streams = [\"deal\"]");

    let error = Replica::open(&config, "copy", &ReplicaOptions::default(), &desk.ambient())
        .await
        .err()
        .unwrap();

    assert!(error.to_string().contains("did you mean `deals`"), "{error}");
}
