//! Databases as a side: each CRM and a database, two databases, with the shipped mappings, from the first sync to
//! deletions and kills.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use crmsync::clock::{Ambient, Clock, Ids, Order, Wire};
use crmsync::config::{Config, Environment};
use crmsync::sandbox::companies::seed_demo;
use crmsync::sandbox::{Ports, Sandbox};
use crmsync::service::{Exit, RunOptions, RunReport, Session, Silent, connect};
use crmsync_core::model::{ModuleName, RouteName};
use crmsync_simulator::clock::Clock as ServerClock;
use serde_json::json;
use tempfile::TempDir;

use crate::databases::{Database, Server};

/// Both CRMs, a database or two, and one route. Clocks run: a database's cannot be moved.
struct Desk {
    sandbox: Sandbox,
    databases: Vec<Database>,
    folder: TempDir,
    config: Config,
    ids: Arc<AtomicU64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pairing {
    Zoho,
    Pipedrive,
}

impl Pairing {
    const fn set(self) -> &'static str {
        match self {
            Self::Zoho => "zoho-sql",
            Self::Pipedrive => "pipedrive-sql",
        }
    }

    const fn connection(self) -> &'static str {
        match self {
            Self::Zoho => "zoho",
            Self::Pipedrive => "pipedrive",
        }
    }

    /// The column that names the CRM's record.
    const fn external(self) -> &'static str {
        match self {
            Self::Zoho => "zoho_id",
            Self::Pipedrive => "pipedrive_id",
        }
    }
}

fn shipped(set: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("mappings").join(set)
}

/// A shipped set, with deletions of every entity spread to the other side.
fn propagating(set: &str, folder: &Path) -> PathBuf {
    let copy = folder.join("mappings");
    std::fs::create_dir(&copy).unwrap();
    for file in std::fs::read_dir(shipped(set)).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|it| it == "toml") {
            let mut text = std::fs::read_to_string(&path).unwrap();
            text.push_str("\n[deletes]\nto-left = \"propagate\"\nto-right = \"propagate\"\n");
            std::fs::write(copy.join(path.file_name().unwrap()), text).unwrap();
        }
    }
    copy
}

/// Makes the tables of a shipped set.
fn make_tables(database: &Database, set: &str) {
    let file = match database.server {
        Server::Sqlite => "tables.sqlite.sql",
        Server::Postgres => "tables.postgres.sql",
        Server::MariaDb => "tables.mysql.sql",
    };
    let text = std::fs::read_to_string(shipped(set).join(file)).unwrap();
    let lines: Vec<_> = text.lines().filter(|line| !line.starts_with("--")).collect();
    for statement in lines.join("\n").split(";\n").filter(|it| !it.trim().is_empty()) {
        database.run(statement);
    }
}

impl Desk {
    async fn crm(pairing: Pairing, server: Server) -> Option<Self> {
        let database = Database::create(server)?;
        make_tables(&database, pairing.set());
        let desk = Self::open(vec![database], |folder, urls| {
            format!(
                "[connections.warehouse]\ntype = \"sql\"\nurl = \"{}\"\n\
                 [routes.side]\nleft = \"{}\"\nright = \"warehouse\"\nmappings = \"{}\"\n",
                urls[0],
                pairing.connection(),
                propagating(pairing.set(), folder).display()
            )
        })
        .await;
        let modules = match pairing {
            Pairing::Zoho => ["Accounts", "Contacts", "Deals", "Products"],
            Pairing::Pipedrive => ["organizations", "persons", "deals", "products"],
        };
        let label = if pairing == Pairing::Zoho { "Database_ID" } else { "Database ID" };
        desk.install(pairing.connection(), modules, label).await;
        let tables = ["accounts", "contacts", "deals", "products"];
        desk.install("warehouse", tables, pairing.external()).await;
        Some(desk)
    }

    async fn open(
        databases: Vec<Database>,
        connections: impl FnOnce(&Path, Vec<String>) -> String,
    ) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = TempDir::new().unwrap();
        let clock = ServerClock::running(TimeDelta::zero());
        let sandbox = Sandbox::start(&clock, 7, Ports::default()).await.unwrap();
        let store = format!("sqlite://{}", folder.path().join("store.db").display());
        let urls = databases.iter().map(|database| database.url.clone()).collect();
        let text = sandbox.config(&store, &shipped("zoho-pipedrive"))
            + &connections(folder.path(), urls)
            + "[sync]\nsettle = \"1s\"\n";
        let file = folder.path().join("crmsync.toml");
        std::fs::write(&file, &text).unwrap();
        let config = Config::parse(&file, &text, &Environment::default()).unwrap();
        Self { sandbox, databases, folder, config, ids: Arc::default() }
    }

    fn ambient(&self) -> Ambient {
        let ids = Arc::clone(&self.ids);
        Ambient {
            clock: Clock::new(now),
            ids: Ids::new(move || format!("id-{:06}", ids.fetch_add(1, Ordering::Relaxed))),
            holder: "test".into(),
            is_gone: |_| false,
            wire: Wire::Sockets,
            order: Order::Together,
        }
    }

    /// As `connect --install` does.
    async fn install(&self, connection: &str, modules: [&str; 4], label: &str) {
        let store = connect::open_store(&self.config).await.unwrap();
        let side =
            connect::connector(&self.config, connection, &store, &self.ambient()).await.unwrap();
        for module in modules.map(ModuleName::from) {
            side.install_external_id(&module, label).await.unwrap();
            side.install_change_capture(&module).await.unwrap();
        }
        store.close().await.unwrap();
    }

    async fn sync(&self) -> RunReport {
        let session =
            Session::open(&self.config, &RouteName::new("side"), &self.ambient()).await.unwrap();
        let options = RunOptions { ask: Some(Arc::new(|_| true)), ..RunOptions::default() };
        let report = session.sync(&options, &Silent).await.unwrap();
        session.close().await.unwrap();
        report
    }

    /// Runs until nothing is written any more.
    async fn settle(&self) {
        for _ in 0..5 {
            if self.sync().await.tally.written() == 0 {
                return;
            }
        }
        panic!("still writing after five runs");
    }

    fn database(&self) -> &Database {
        &self.databases[0]
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a database's clock cannot be moved, so these tests run in real time"
)]
fn now() -> chrono::DateTime<Utc> {
    Utc::now()
}

#[tokio::test]
async fn given_the_shipped_mappings_when_checked_against_their_tables_then_nothing_is_wrong() {
    for pairing in [Pairing::Zoho, Pairing::Pipedrive] {
        for server in Server::ALL {
            let Some(desk) = Desk::crm(pairing, server).await else { continue };

            let session = Session::open(&desk.config, &RouteName::new("side"), &desk.ambient())
                .await
                .unwrap();

            let told: Vec<_> = session.warnings.iter().map(|it| it.message.clone()).collect();
            // Texts of one side may be longer than the other's: that is said, and holds where it happens.
            let expected = ["without a partner", " holds "];
            let told: Vec<_> =
                told.iter().filter(|it| !expected.iter().any(|part| it.contains(part))).collect();
            assert!(told.is_empty(), "{pairing:?} {server:?} {told:?}");
            assert_eq!(session.route.entities.len(), 4);
            session.close().await.unwrap();
        }
    }
}

#[tokio::test]
async fn given_zoho_and_a_database_when_lived_with_then_edits_flow_both_ways_and_deletions_too() {
    for server in Server::ALL {
        let Some(desk) = Desk::crm(Pairing::Zoho, server).await else { continue };
        let (zoho, database) = (&desk.sandbox.zoho, desk.database());
        let account = zoho.add(
            "Accounts",
            json!({ "Account_Name": "Acme", "Billing_City": "Berlin", "Annual_Revenue": 1234.5 }),
        );
        let ada = zoho.add("Contacts", json!({
            "First_Name": "Ada", "Last_Name": "Byron", "Email": "ada@example.com", "Account_Name": { "id": account.to_string() },
        }));
        // Known to both; and only to the database.
        database.run("INSERT INTO contacts (last_name, email) VALUES ('Byron', 'ada@EXAMPLE.com')");
        database.run("INSERT INTO accounts (name, employees) VALUES ('Initech', 12)");
        database.run("INSERT INTO contacts (last_name, email, account_id) VALUES ('Peter', 'peter@example.com', 1)");

        let first = desk.sync().await;
        desk.settle().await;

        assert_eq!(first.tally.linked, 1, "{server:?} {:#?}", first.rows);
        assert_eq!(zoho.all("Contacts").len(), 2, "{server:?}");
        assert_eq!(zoho.all("Accounts").len(), 2, "{server:?}");
        let row = "SELECT c.first_name, c.last_name, a.name, a.billing_city, c.owner \
                   FROM contacts c JOIN accounts a ON a.id = c.account_id WHERE c.id = 1";
        let expected = ["Ada", "Byron", "Acme", "Berlin", "sales@example.com"];
        assert_eq!(database.rows(row).remove(0), expected, "{server:?}");
        // What was made names what it was made from.
        let made = database.one("SELECT zoho_id FROM accounts WHERE name = 'Acme'");
        assert_eq!(made, account.to_string(), "{server:?}");
        let initech =
            zoho.all("Accounts").into_iter().find(|it| it["Account_Name"] == "Initech").unwrap();
        assert_eq!(initech["Database_ID"], "1", "{server:?}");

        // Different fields on both sides.
        zoho.edit("Contacts", ada, json!({ "Title": "Countess" }));
        database.run("UPDATE contacts SET last_name = 'Lovelace' WHERE id = 1");
        let edited = desk.sync().await;
        assert_eq!(edited.exit, Exit::Clean, "{server:?} {:#?}", edited.rows);
        assert_eq!(zoho.get("Contacts", ada).unwrap()["Last_Name"], "Lovelace", "{server:?}");
        assert_eq!(
            database.one("SELECT title FROM contacts WHERE id = 1"),
            "Countess",
            "{server:?}"
        );

        // One field on both sides, at the same moment: a person is asked.
        zoho.edit("Contacts", ada, json!({ "Title": "Analyst" }));
        database.run("UPDATE contacts SET title = 'Enchantress' WHERE id = 1");
        let disputed = desk.sync().await;
        assert_eq!(disputed.exit, Exit::Open, "{server:?}");
        assert!(disputed.rows.iter().any(|row| row.code.as_str() == "CONFLICT"), "{server:?}");
        assert_eq!(zoho.get("Contacts", ada).unwrap()["Title"], "Analyst", "{server:?}");
        database.run("UPDATE contacts SET title = 'Analyst' WHERE id = 1");
        assert_eq!(desk.sync().await.exit, Exit::Clean, "{server:?}");

        // A row goes, and a record goes.
        database.run("DELETE FROM contacts WHERE last_name = 'Peter'");
        zoho.delete("Contacts", ada);
        desk.sync().await;
        desk.settle().await;
        assert!(zoho.all("Contacts").is_empty(), "{server:?}");
        assert_eq!(database.one("SELECT COUNT(*) FROM contacts"), "0", "{server:?}");
    }
}

#[tokio::test]
async fn given_pipedrive_and_a_database_when_lived_with_then_edits_flow_both_ways_and_deletions_too()
 {
    for server in Server::ALL {
        let Some(desk) = Desk::crm(Pairing::Pipedrive, server).await else { continue };
        let (pipedrive, database) = (&desk.sandbox.pipedrive, desk.database());
        let acme = pipedrive.add("organizations", json!({ "name": "Acme" }));
        let ada = pipedrive.add(
            "persons",
            json!({
                "first_name": "Ada", "last_name": "Byron", "name": "Ada Byron", "org_id": acme,
                "emails": [{ "value": "ada@example.com", "primary": true, "label": "work" }],
            }),
        );
        database.run("INSERT INTO contacts (first_name, last_name, email) VALUES ('Bea', 'Bell', 'bea@example.com')");

        desk.sync().await;
        desk.settle().await;

        assert_eq!(pipedrive.count("persons"), 2, "{server:?}");
        let name = "SELECT a.name FROM contacts c JOIN accounts a ON a.id = c.account_id WHERE c.last_name = 'Byron'";
        assert_eq!(database.one(name), "Acme", "{server:?}");

        database.run("UPDATE contacts SET email = 'ada@new.example' WHERE last_name = 'Byron'");
        pipedrive.edit("persons", ada, json!({ "first_name": "Augusta" }));
        let edited = desk.sync().await;
        assert_eq!(edited.exit, Exit::Clean, "{server:?} {:#?}", edited.rows);
        assert_eq!(pipedrive.get("persons", ada).unwrap()["emails"][0]["value"], "ada@new.example");
        let first_name = "SELECT first_name FROM contacts WHERE last_name = 'Byron'";
        assert_eq!(database.one(first_name), "Augusta", "{server:?}");

        pipedrive.delete("persons", ada);
        database.run("DELETE FROM contacts WHERE last_name = 'Bell'");
        desk.sync().await;
        desk.settle().await;
        assert_eq!(database.one("SELECT COUNT(*) FROM contacts"), "0", "{server:?}");
        assert_eq!(pipedrive.count("persons"), 0, "{server:?}");
    }
}

const PEOPLE: &str = "entity = \"person\"\nleft = { module = \"people\" }\nright = { module = \"people\" }\n\
    [match]\nexternal_id = { left = \"theirs\", right = \"theirs\" }\n\
    keys = [{ fields = [\"code\"], strength = \"strong\" }]\n\
    [deletes]\nto-left = \"propagate\"\nto-right = \"propagate\"\n\
    [fields]\ncode = { left = \"code\", right = \"code\" }\nname = { left = \"name\", right = \"name\" }\n\
    price = { left = \"price\", right = \"price\" }\n";

/// Composite on the left, natural on the right.
async fn twins(left: Server, right: Server) -> Option<Desk> {
    let databases = vec![Database::create(left)?, Database::create(right)?];
    let id = match left {
        Server::Sqlite => "id integer NOT NULL DEFAULT (abs(random() % 1000000))",
        Server::Postgres => "id bigint GENERATED BY DEFAULT AS IDENTITY",
        Server::MariaDb => "id bigint NOT NULL AUTO_INCREMENT",
    };
    let rest = "code varchar(20) NOT NULL, name varchar(40), price decimal(12, 4), theirs varchar(255) UNIQUE";
    databases[0].run(&format!("CREATE TABLE people ({id}, tenant varchar(9) NOT NULL DEFAULT 'de', {rest}, PRIMARY KEY (id, tenant))"));
    databases[1].run(&format!("CREATE TABLE people ({rest}, PRIMARY KEY (code))"));
    let desk = Desk::open(databases, |folder, urls| {
        std::fs::create_dir(folder.join("twins")).unwrap();
        std::fs::write(folder.join("twins/person.toml"), PEOPLE).unwrap();
        format!(
            "[connections.one]\ntype = \"sql\"\nurl = \"{}\"\n[connections.other]\ntype = \"sql\"\nurl = \"{}\"\n\
             [routes.side]\nleft = \"one\"\nright = \"other\"\nmappings = \"{}\"\n",
            urls[0],
            urls[1],
            folder.join("twins").display()
        )
    })
    .await;
    Some(desk)
}

#[tokio::test]
async fn given_two_databases_when_lived_with_then_rows_are_the_same_whatever_their_keys() {
    let pairs = [
        (Server::Sqlite, Server::Postgres),
        (Server::Postgres, Server::MariaDb),
        (Server::MariaDb, Server::Sqlite),
    ];
    for (left, right) in pairs {
        let Some(desk) = twins(left, right).await else { continue };
        let (one, other) = (&desk.databases[0], &desk.databases[1]);
        one.run(
            "INSERT INTO people (code, name, price) VALUES ('a', 'Ada', 1.5), ('b', 'Bea', NULL)",
        );
        other.run("INSERT INTO people (code, name) VALUES ('b', 'Bea'), ('c', 'Cid')");
        let all = |database: &Database| {
            let rows = database.rows("SELECT code, name FROM people ORDER BY code");
            rows.into_iter().map(|row| row.join(" ")).collect::<Vec<_>>()
        };

        // Without triggers and without a modified column: by comparison.
        desk.sync().await;
        desk.settle().await;
        assert_eq!(all(one), ["a Ada", "b Bea", "c Cid"], "{left:?} {right:?}");
        assert_eq!(all(other), all(one), "{left:?} {right:?}");

        one.run("UPDATE people SET name = 'Adele' WHERE code = 'a'");
        other.run("UPDATE people SET name = 'Bella' WHERE code = 'b'");
        let edited = desk.sync().await;
        assert_eq!(edited.exit, Exit::Clean, "{left:?} {right:?} {:#?}", edited.rows);
        assert_eq!(all(one), ["a Adele", "b Bella", "c Cid"], "{left:?} {right:?}");
        assert_eq!(all(other), all(one), "{left:?} {right:?}");

        // From now on by triggers, which prove deletions.
        for connection in ["one", "other"] {
            desk.install(connection, ["people"; 4], "theirs").await;
        }
        desk.settle().await;
        one.run("DELETE FROM people WHERE code = 'a'");
        desk.sync().await;
        desk.settle().await;
        assert_eq!(all(other), ["b Bella", "c Cid"], "{left:?} {right:?}");
    }
}

/// The demo's companies on the CRM's side, and an empty database.
async fn rehearsal(server: Server) -> Option<Desk> {
    let desk = Desk::crm(Pairing::Zoho, server).await?;
    seed_demo(&desk.sandbox.zoho, &desk.sandbox.pipedrive);
    Some(desk)
}

fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_crmsync"));
    command.current_dir(folder).args(["sync", "side", "--quiet", "--approve", "auto"]);
    command.env("CRMSYNC_KEY", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
    command.stdout(Stdio::null());
    command
}

fn run_to_the_end(folder: &Path) {
    for _ in 0..6 {
        let output = command(folder).output().unwrap();
        if output.status.code() == Some(0) {
            return;
        }
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(matches!(output.status.code(), Some(1 | 6)), "{said}");
        std::thread::sleep(Duration::from_secs(1));
    }
    panic!("not clean after six runs");
}

/// What stands in the tables, without ids and times.
fn everything(database: &Database) -> Vec<Vec<Vec<String>>> {
    [
        "SELECT name, phone, billing_city FROM accounts ORDER BY name, phone",
        "SELECT c.last_name, c.email, a.name FROM contacts c LEFT JOIN accounts a ON a.id = c.account_id ORDER BY 1, 2",
        "SELECT d.name, d.stage, c.email FROM deals d LEFT JOIN contacts c ON c.id = d.contact_id ORDER BY 1, 2",
    ]
    .map(|sql| database.rows(sql))
    .into()
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_sync_into_a_database_killed_at_any_moment_when_run_again_then_it_ends_as_if_undisturbed()
 {
    for server in Server::ALL {
        let Some(undisturbed) = rehearsal(server).await else { continue };
        let started = std::time::Instant::now();
        run_to_the_end(undisturbed.folder.path());
        let whole = started.elapsed();
        let expected = everything(undisturbed.database());
        assert!(expected.iter().all(|rows| !rows.is_empty()), "{server:?}");

        let disturbed = rehearsal(server).await.unwrap();
        for moment in 1..=6 {
            let mut child = command(disturbed.folder.path()).stderr(Stdio::null()).spawn().unwrap();
            tokio::time::sleep(whole * moment / 7).await;
            child.kill().unwrap();
            child.wait().unwrap();
        }
        run_to_the_end(disturbed.folder.path());

        assert_eq!(everything(disturbed.database()), expected, "{server:?}");
    }
}
