//! What `connect --install` makes: the external-ID column, and triggers.

use crmsync::connectors::sql::TableSettings;
use crmsync::connectors::{Connector, ErrorKind, Probe};
use crmsync_core::model::schema::FieldKind;
use crmsync_core::model::{ModuleName, RecordId};

use super::connect;
use crate::databases::{Database, Server};

fn people() -> ModuleName {
    "people".into()
}

#[tokio::test]
async fn given_a_table_when_an_external_id_is_installed_twice_then_it_is_one_unique_column() {
    for server in Server::ALL {
        let Some(database) = Database::create(server) else { continue };
        database.run("CREATE TABLE people (id integer PRIMARY KEY, name varchar(10))");
        let side = connect(&database, |_| {});

        for _ in 0..2 {
            let field = side.install_external_id(&people(), "Zoho ID").await.unwrap();
            assert_eq!(field.as_str(), "Zoho ID", "{server:?}");
        }

        let schema = side.describe(&people()).await.unwrap();
        let field = schema.fields.iter().find(|field| field.name.as_str() == "Zoho ID").unwrap();
        assert!(field.unique && field.kind == FieldKind::Text, "{server:?} {field:?}");
    }
}

#[tokio::test]
async fn given_triggers_when_rows_change_then_every_way_of_changing_is_noted() {
    for server in Server::ALL {
        let Some(database) = Database::create(server) else { continue };
        database.run(
            "CREATE TABLE people (a varchar(20), b integer, name varchar(10), PRIMARY KEY (a, b))",
        );
        database
            .run("INSERT INTO people VALUES ('old', 1, 'Ada'), ('x', 2, 'Bea'), ('y', 3, 'Cid')");
        let side = connect(&database, |settings| settings.page = 50);
        side.describe(&people()).await.unwrap();
        let asked = side.install_change_capture(&people()).await.unwrap();
        // Again does no harm.
        side.install_change_capture(&people()).await.unwrap();

        database.run("UPDATE people SET name = 'Adele' WHERE b = 1");
        database.run("UPDATE people SET b = 20 WHERE b = 2");
        database.run("DELETE FROM people WHERE b = 3");
        database.run("INSERT INTO people VALUES ('z', 4, 'Dan')");

        assert_eq!(asked.as_deref(), Some("crmsync_people"), "{server:?}");
        let notes = database.rows("SELECT a, b, deleted FROM crmsync_people ORDER BY b");
        let notes: Vec<_> = notes.iter().map(|row| row.join(" ")).collect();
        assert_eq!(notes, ["old 1 0", "x 2 1", "y 3 1", "z 4 0", "x 20 0"], "{server:?}");
        let modules = side.modules().await.unwrap();
        // A server's other databases are qualified.
        let own: Vec<_> =
            modules.iter().map(|(name, _)| name.as_str()).filter(|it| !it.contains('.')).collect();
        assert_eq!(own, ["people"], "{server:?}");
        side.describe(&people()).await.unwrap();
        let long_ago = "2001-01-01T00:00:00Z".parse().unwrap();
        let gone = side.deleted(&people(), long_ago, None).await.unwrap();
        let mut gone: Vec<_> = gone.rows.iter().map(|row| row.id.to_string()).collect();
        gone.sort();
        assert_eq!(gone, ["x,2", "y,3"], "{server:?}");
    }
}

#[tokio::test]
async fn given_a_truncated_table_on_postgres_then_every_row_is_noted_as_deleted() {
    let Some(database) = Database::create(Server::Postgres) else { return };
    database.run("CREATE TABLE people (id integer PRIMARY KEY)");
    database.run("INSERT INTO people VALUES (1), (2)");
    let side = connect(&database, |_| {});
    side.install_change_capture(&people()).await.unwrap();

    database.run("TRUNCATE people");

    assert_eq!(database.one("SELECT SUM(deleted) FROM crmsync_people"), "2");
}

#[tokio::test]
async fn given_triggers_that_somebody_dropped_then_they_are_not_trusted() {
    for (server, drop) in [
        (Server::Sqlite, "DROP TRIGGER crmsync_people_update"),
        (Server::Postgres, "DROP TRIGGER crmsync ON people"),
    ] {
        let Some(database) = Database::create(server) else { continue };
        database.run("CREATE TABLE people (id integer PRIMARY KEY)");
        let side = connect(&database, |_| {});
        side.install_change_capture(&people()).await.unwrap();
        side.describe(&people()).await.unwrap();
        assert!(side.capabilities(&people()).delta, "{server:?}");

        database.run(drop);
        side.forget_metadata();
        side.describe(&people()).await.unwrap();

        assert!(!side.capabilities(&people()).delta, "{server:?}");
    }
}

#[tokio::test]
async fn given_a_view_when_its_key_is_named_then_it_is_read_and_nothing_is_installed() {
    for server in Server::ALL {
        let Some(database) = Database::create(server) else { continue };
        database.run("CREATE TABLE people (id integer PRIMARY KEY, name varchar(10))");
        database.run("INSERT INTO people VALUES (1, 'Ada')");
        database.run("CREATE VIEW adults AS SELECT * FROM people");
        let adults = ModuleName::new("adults");

        let nameless = connect(&database, |_| {}).describe(&adults).await.unwrap_err();
        let side = connect(&database, |settings| {
            let key = Some(vec!["id".to_owned()]);
            settings
                .tables
                .insert("adults".into(), TableSettings { key, ..TableSettings::default() });
        });
        let page = side.fetch(&adults, &[RecordId::new("1")], &["name".into()]).await.unwrap();

        assert!(
            nameless.to_string().contains("has no primary key; name its key columns"),
            "{nameless}"
        );
        assert_eq!(page.records.len(), 1, "{server:?}");
        assert_eq!(side.install_change_capture(&adults).await.unwrap(), None);
        let refused = side.install_external_id(&adults, "x").await.unwrap_err();
        assert!(matches!(refused.kind, ErrorKind::Misconfigured(_)), "{refused}");
    }
}

#[tokio::test]
async fn given_a_row_that_is_absent_when_probed_then_only_a_declared_table_calls_it_deleted() {
    for server in Server::ALL {
        let Some(database) = Database::create(server) else { continue };
        database.run("CREATE TABLE people (id integer PRIMARY KEY)");
        let probe = async |complete: bool| {
            let side = connect(&database, |settings| settings.complete = complete);
            side.probe(&people(), &RecordId::new("7"), &[]).await.unwrap()
        };

        assert_eq!(probe(false).await, Probe::NotFound);
        assert!(matches!(probe(true).await, Probe::Deleted { .. }), "{server:?}");
    }
}

#[tokio::test]
async fn given_another_schema_when_its_tables_are_named_then_they_are_qualified() {
    let Some(database) = Database::create(Server::Postgres) else { return };
    database.run("CREATE SCHEMA \"c.r.m\"");
    database.run("CREATE TABLE \"c.r.m\".accounts (id integer PRIMARY KEY)");
    database.run("CREATE TABLE people (id integer PRIMARY KEY, account integer REFERENCES \"c.r.m\".accounts)");

    let plain = connect(&database, |_| {});
    let within = connect(&database, |settings| settings.schema = Some("c.r.m".into()));

    let names = async |side: &crmsync::connectors::sql::Sql| -> Vec<String> {
        side.modules().await.unwrap().into_iter().map(|(name, _)| name.to_string()).collect()
    };
    assert_eq!(names(&plain).await, ["\"c.r.m\".accounts", "people"]);
    assert_eq!(names(&within).await, ["accounts", "public.people"]);
    let schema = within.describe(&"public.people".into()).await.unwrap();
    assert_eq!(schema.fields[1].target, Some("accounts".into()));
    assert_eq!(schema.fields[1].kind, FieldKind::Lookup);
}
