//! Files into modules and out of them, with everything that people's files have.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crmsync::clock::Clock;
use crmsync::connectors::Connector;
use crmsync::connectors::sql::{Settings, Sql};
use crmsync::service::Silent;
use crmsync::service::transfer::export::{Export, Exported, export};
use crmsync::service::transfer::import::{Import, Imported, Mode, import};
use crmsync_core::model::ModuleName;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::databases::{Database, Server};

const PEOPLE: &str = "CREATE TABLE people (id integer PRIMARY KEY, name varchar(10) NOT NULL, email varchar(50) UNIQUE, \
                      born date, active boolean)";

struct Desk {
    database: Database,
    side: Sql,
    folder: TempDir,
}

impl Desk {
    fn start() -> Self {
        let database = Database::create(Server::Sqlite).unwrap();
        database.run(PEOPLE);
        let settings = Settings::new("crm", database.url.clone().into(), 7);
        let clock = Clock::new(|| chrono::DateTime::from_timestamp(1_772_442_000, 0).unwrap());
        Self {
            database,
            side: Sql::connect(settings, clock).unwrap(),
            folder: TempDir::new().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn import(&self, text: &str, mode: Mode, key: &str) -> Import {
        let path = self.path("in.csv");
        std::fs::write(&path, text).unwrap();
        Import {
            path,
            mode,
            key: key.into(),
            aliases: BTreeMap::new(),
            clears: false,
            dry_run: false,
            from_line: 0,
            success: None,
            errors: Some(self.path("errors.csv")),
            cancel: CancellationToken::new(),
        }
    }

    async fn run(&self, options: &Import) -> Imported {
        import(&self.side, &module(), options, &Silent).await.unwrap()
    }

    async fn export(&self, name: &str) -> Exported {
        let options = Export {
            path: self.path(name),
            format: None,
            fields: Vec::new(),
            keeps_formulas: false,
            cancel: CancellationToken::new(),
        };
        export(&self.side, &module(), &options, &Silent).await.unwrap()
    }

    /// Who is there, whatever their IDs: rows that set other columns go in together.
    fn everyone(&self) -> Vec<String> {
        let rows = self.database.rows("SELECT name, email, born, active FROM people ORDER BY name");
        rows.into_iter().map(|row| row.join(" ")).collect()
    }

    fn people(&self) -> Vec<String> {
        let rows =
            self.database.rows("SELECT id, name, email, born, active FROM people ORDER BY id");
        rows.into_iter().map(|row| row.join(" ")).collect()
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }
}

fn module() -> ModuleName {
    "people".into()
}

#[tokio::test]
async fn given_a_file_when_imported_then_each_bad_row_stands_in_a_file_that_can_be_corrected_and_imported()
 {
    let desk = Desk::start();
    let text = "\u{feff}name,email,born,active\r\nAda,ada@x,1815-12-10,yes\r\nBartholomew the long,b@x,,\r\n\
                Cid,c@x,soon,no\r\nDan,ada@x,,\r\nEve,e@x\r\nFay,f@x,2001-02-03,true\r\n";

    let first = desk.run(&desk.import(text, Mode::Insert, "id")).await;
    let errors = desk.read("errors.csv");
    let corrected = errors
        .replace("Bartholomew the long", "Bart")
        .replace("Cid,c@x,soon", "Cid,c@x,1999-01-02")
        .replace("Dan,ada@x", "Dan,d@x");
    let second = desk.run(&desk.import(&corrected, Mode::Insert, "id")).await;

    assert_eq!((first.read, first.created, first.failed), (6, 2, 4));
    let told: Vec<_> = first
        .errors
        .iter()
        .map(|error| format!("{} {} {}", error.line, error.column, error.reason))
        .collect();
    assert_eq!(told[0], "3 name has 20 characters, the field takes 10");
    assert_eq!(told[1], "4 born is no date; write 2024-01-31");
    assert_eq!(told[2], "6  the row has 2 cells, the header 4");
    assert!(told[3].starts_with("5 email") && told[3].contains("taken by record 1"), "{told:?}");
    assert_eq!((second.created, second.failed), (4, 0), "{errors}");
    assert_eq!(desk.people().len(), 6);
}

#[tokio::test]
async fn given_a_key_when_upserted_then_known_records_change_and_others_are_made_once() {
    let desk = Desk::start();
    desk.run(&desk.import("name,email\nAda,ada@x\n", Mode::Insert, "id")).await;

    let text = "email,name,active\nADA@x,Adele,\nbea@x,Bea,yes\nbea@x,Bella,\n";
    let upserted = desk.run(&desk.import(text, Mode::Upsert, "email")).await;

    assert_eq!((upserted.created, upserted.updated, upserted.failed), (1, 2, 0), "{upserted:?}");
    assert_eq!(desk.people(), ["1 Adele ADA@x ∅ ∅", "2 Bella bea@x ∅ 1"]);
}

#[tokio::test]
async fn given_ids_when_updated_cleared_or_deleted_then_only_what_the_file_says_happens() {
    let desk = Desk::start();
    desk.run(&desk.import("name,email\nAda,a@x\nBea,b@x\nCid,c@x\n", Mode::Insert, "id")).await;

    desk.run(&desk.import("id,email\n1,\n2,b@new\n", Mode::Update, "id")).await;
    let kept = desk.people();
    let clearing =
        Import { clears: true, ..desk.import("id,email\n1,\n9,x@x\n", Mode::Update, "id") };
    let cleared = desk.run(&clearing).await;
    let deleted = desk.run(&desk.import("id\n3\n", Mode::Delete, "id")).await;

    assert_eq!(kept, ["1 Ada a@x ∅ ∅", "2 Bea b@new ∅ ∅", "3 Cid c@x ∅ ∅"]);
    assert_eq!((cleared.updated, cleared.failed), (1, 1));
    assert_eq!(cleared.errors[0].reason, "names a record that is not there");
    assert_eq!(deleted.deleted, 1);
    assert_eq!(desk.people(), ["1 Ada ∅ ∅ ∅", "2 Bea b@new ∅ ∅"]);
}

#[tokio::test]
async fn given_a_dry_run_when_imported_then_all_is_checked_and_nothing_written() {
    let desk = Desk::start();
    let options = Import {
        dry_run: true,
        ..desk.import("name,born\nAda,1815-12-10\nBea,soon\n", Mode::Insert, "id")
    };

    let imported = desk.run(&options).await;

    assert_eq!((imported.created, imported.failed), (1, 1));
    assert!(desk.people().is_empty() && !desk.path("errors.csv").exists());
}

#[tokio::test]
async fn given_an_unknown_column_when_imported_then_nothing_is_written_and_the_nearest_is_named() {
    let desk = Desk::start();
    let options = desk.import("name,emial\nAda,a@x\n", Mode::Insert, "id");

    let error = import(&desk.side, &module(), &options, &Silent).await.unwrap_err().to_string();

    assert!(error.contains("column `emial`") && error.contains("did you mean `email`"), "{error}");
    assert!(desk.people().is_empty());
}

#[tokio::test]
async fn given_an_export_when_imported_elsewhere_then_the_records_are_the_same_formulas_and_all() {
    for name in ["people.csv", "people.jsonl", "people.csv.zip"] {
        let (from, to) = (Desk::start(), Desk::start());
        from.database.run("INSERT INTO people VALUES (1, '=1+1', '+49 30', '1815-12-10', 1), (2, '-5', NULL, NULL, 0)");

        let exported = from.export(name).await;
        let options = Import { path: from.path(name), ..to.import("", Mode::Insert, "id") };
        let imported = to.run(&options).await;

        assert_eq!((exported.rows, imported.created), (2, 2), "{name} {imported:?}");
        assert_eq!(to.everyone(), from.everyone(), "{name}");
    }
    let desk = Desk::start();
    desk.database.run("INSERT INTO people (name) VALUES ('=1+1')");
    desk.export("people.csv").await;
    assert!(desk.read("people.csv").contains("'=1+1"), "{}", desk.read("people.csv"));
}

#[tokio::test]
async fn given_many_rows_when_imported_then_batches_are_written_and_success_names_each_record() {
    let desk = Desk::start();
    let text: String = std::iter::once("name,email\n".to_owned())
        .chain((0..1_203).map(|at| format!("N{at},{at}@x\n")))
        .collect();
    let options =
        Import { success: Some(desk.path("done.csv")), ..desk.import(&text, Mode::Insert, "id") };

    let imported = desk.run(&options).await;

    assert_eq!((imported.created, imported.failed), (1_203, 0));
    let done = desk.read("done.csv");
    assert_eq!(done.lines().count(), 1_204);
    assert!(done.starts_with("name,email,_id,_outcome\r\nN0,0@x,1,created\r\n"), "{}", &done[..60]);
    assert!(desk.side.spent().calls < 60, "{}", desk.side.spent().calls);
}
