//! Types of three databases, there and back.

use std::collections::BTreeMap;

use crmsync::connectors::{Connector, UpdateRow};
use crmsync_core::model::schema::FieldKind;
use crmsync_core::model::{ModuleName, RecordId, RemoteField, Value};

use super::connect;
use crate::databases::{Database, Server};

fn number(text: &str) -> Value {
    Value::number(text.parse().unwrap())
}

fn time(text: &str) -> Value {
    Value::timestamp(text.parse().unwrap())
}

/// Column, type, kind, and a value it must keep.
type Typed = (&'static str, &'static str, FieldKind, Value);

fn common() -> Vec<Typed> {
    vec![
        ("short", "varchar(20)", FieldKind::Text, Value::text("Zoë 🦀 'q\" \\ `")),
        ("tall", "text", FieldKind::LongText, Value::text("line\nbreak\ttab")),
        ("whole", "bigint", FieldKind::Integer, number("-9223372036854775807")),
        ("born", "date", FieldKind::Date, Value::Date("1815-12-10".parse().unwrap())),
    ]
}

fn columns(server: Server) -> Vec<Typed> {
    let set = |items: &[&str]| Value::set(items.iter().map(|item| (*item).to_owned()));
    let mut columns = common();
    columns.extend(match server {
        Server::Sqlite => vec![
            ("price", "decimal(18,6)", FieldKind::Decimal, number("-123456.123456")),
            ("active", "boolean", FieldKind::Bool, Value::Bool(true)),
            ("seen", "datetime", FieldKind::Timestamp, time("2026-03-02T09:00:01Z")),
            ("extra", "json", FieldKind::LongText, Value::text("{\"a\":[1.50,null]}")),
            ("loose", "", FieldKind::LongText, Value::text("anything")),
        ],
        Server::Postgres => vec![
            (
                "price",
                "numeric(28,10)",
                FieldKind::Decimal,
                number("-123456789012345678.1234567891"),
            ),
            ("float", "double precision", FieldKind::Decimal, number("0.1")),
            ("money", "money", FieldKind::Decimal, number("-1234.56")),
            ("active", "boolean", FieldKind::Bool, Value::Bool(false)),
            ("seen", "timestamptz", FieldKind::Timestamp, time("2026-03-02T09:00:01Z")),
            ("local", "timestamp", FieldKind::Timestamp, time("2026-07-02T09:00:01Z")),
            ("at", "time", FieldKind::Time, Value::text("09:00:01")),
            (
                "uid",
                "uuid",
                FieldKind::LongText,
                Value::text("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
            ),
            ("fixed", "char(8)", FieldKind::Text, Value::text("abc")),
            ("extra", "jsonb", FieldKind::LongText, Value::text("{\"a\":[1.50,null]}")),
            ("tags", "text[]", FieldKind::Tags, set(&["a,b", "say \"hi\"", "{x}", "\\"])),
            ("counts", "integer[]", FieldKind::Tags, set(&["1", "22"])),
            ("mood", "mood", FieldKind::Option, Value::text("so \"so\"")),
            ("host", "inet", FieldKind::LongText, Value::text("10.0.0.1/24")),
            ("span", "int4range", FieldKind::LongText, Value::text("[1,5)")),
            ("bits", "bit(4)", FieldKind::LongText, Value::text("1010")),
            ("limited", "postal", FieldKind::Text, Value::text("10115")),
        ],
        Server::MariaDb => vec![
            (
                "price",
                "decimal(28,10)",
                FieldKind::Decimal,
                number("-123456789012345678.1234567891"),
            ),
            ("float", "double", FieldKind::Decimal, number("0.1")),
            ("active", "boolean", FieldKind::Bool, Value::Bool(true)),
            ("flag", "bit(1)", FieldKind::Bool, Value::Bool(true)),
            ("seen", "timestamp null", FieldKind::Timestamp, time("2026-03-02T09:00:01Z")),
            ("local", "datetime(3)", FieldKind::Timestamp, time("2026-07-02T09:00:01Z")),
            ("at", "time", FieldKind::Time, Value::text("09:00:01")),
            ("huge", "bigint unsigned", FieldKind::Integer, number("18446744073709551615")),
            ("mood", "enum('sad','it''s ok')", FieldKind::Option, Value::text("it's ok")),
            ("tags", "set('a','b','c')", FieldKind::OptionSet, set(&["a", "c"])),
            ("latin", "varchar(20) CHARACTER SET latin1", FieldKind::Text, Value::text("Zoë")),
        ],
    });
    columns
}

fn kept() -> ModuleName {
    "kept".into()
}

fn with_table(server: Server) -> Option<Database> {
    let database = Database::create(server)?;
    if server == Server::Postgres {
        database.run("CREATE TYPE mood AS ENUM ('sad', 'so \"so\"')");
        database.run("CREATE DOMAIN postal AS varchar(5) CHECK (VALUE <> '00000')");
    }
    let list: Vec<_> = columns(server)
        .iter()
        .map(|(name, kind, _, _)| format!("{} {kind}", server.quote(name)))
        .collect();
    database.run(&format!("CREATE TABLE kept (id integer PRIMARY KEY, {})", list.join(", ")));
    Some(database)
}

#[tokio::test]
async fn given_every_type_when_created_fetched_updated_and_cleared_then_nothing_is_lost() {
    for server in Server::ALL {
        let Some(database) = with_table(server) else { continue };
        let side = connect(&database, |_| {});
        let columns = columns(server);
        let schema = side.describe(&kept()).await.unwrap();
        let fields: Vec<RemoteField> = columns.iter().map(|column| column.0.into()).collect();
        let mut row: BTreeMap<RemoteField, Value> =
            columns.iter().map(|(name, _, _, value)| ((*name).into(), value.clone())).collect();
        row.insert("id".into(), number("1"));

        let created = side.create(&kept(), &[row]).await.remove(0).unwrap();
        let ids = [RecordId::new("1")];
        let record = side.fetch(&kept(), &ids, &fields).await.unwrap().records.remove(0);
        let cleared = fields.iter().map(|field| (field.clone(), Value::Empty)).collect();
        let update = UpdateRow {
            id: ids[0].clone(),
            fields: cleared,
            current: record.clone(),
            unmodified_since: None,
        };
        let written = side.update(&kept(), &[update]).await.remove(0).unwrap();

        for (name, _, kind, value) in &columns {
            let described =
                schema.fields.iter().find(|field| field.name.as_str() == *name).unwrap();
            assert_eq!(described.kind, *kind, "{server:?} {name}");
            let field = RemoteField::from(*name);
            assert_eq!(record.fields[&field], *value, "{server:?} {name}");
            assert_eq!(
                created.stored.as_ref().unwrap().fields[&field],
                *value,
                "{server:?} {name}"
            );
            assert_eq!(
                written.stored.as_ref().unwrap().fields[&field],
                Value::Empty,
                "{server:?} {name}"
            );
        }
    }
}

#[tokio::test]
async fn given_binary_when_described_then_it_is_shown_and_refused() {
    for (server, kind) in
        [(Server::Sqlite, "blob"), (Server::Postgres, "bytea"), (Server::MariaDb, "varbinary(9)")]
    {
        let Some(database) = Database::create(server) else { continue };
        database.run(&format!("CREATE TABLE kept (id integer PRIMARY KEY, face {kind})"));
        database.run("INSERT INTO kept (id) VALUES (1)");
        let side = connect(&database, |_| {});

        let schema = side.describe(&kept()).await.unwrap();
        let read = side.fetch(&kept(), &[RecordId::new("1")], &["face".into()]).await.unwrap_err();

        let face = &schema.fields[1];
        assert!(face.kind == FieldKind::Unsupported && !face.readable && !face.writable_on_update);
        assert!(read.to_string().contains("column `face` of kept is"), "{server:?} {read}");
    }
}

#[tokio::test]
async fn given_bytes_in_a_text_column_of_sqlite_when_listed_then_only_that_row_is_set_aside() {
    let Some(database) = Database::create(Server::Sqlite) else { return };
    database.run("CREATE TABLE kept (id integer PRIMARY KEY, name text)");
    database.run("INSERT INTO kept VALUES (1, 'Ada'), (2, x'ff00'), (3, CAST(x'c328' AS text))");
    let side = connect(&database, |_| {});

    let ids = ["1", "2", "3"].map(RecordId::new);
    let page = side.fetch(&kept(), &ids, &["name".into()]).await.unwrap();

    let sick: Vec<_> =
        page.undecodable.iter().map(|row| row.id.as_ref().unwrap().as_str()).collect();
    assert_eq!((page.records.len(), sick), (1, vec!["2", "3"]));
    assert!(page.undecodable[0].reason.contains("column `name`"), "{:?}", page.undecodable);
}

#[tokio::test]
async fn given_a_value_out_of_range_when_written_then_the_column_is_named() {
    for server in [Server::Postgres, Server::MariaDb] {
        let Some(database) = Database::create(server) else { continue };
        database.run("CREATE TABLE kept (id integer PRIMARY KEY, small smallint)");
        let side = connect(&database, |_| {});
        let row = BTreeMap::from([("id".into(), number("1")), ("small".into(), number("40000"))]);

        let error = side.create(&kept(), &[row]).await.remove(0).unwrap_err();

        assert!(error.to_string().contains("outside of the column's range"), "{server:?} {error}");
        assert_eq!(database.one("SELECT COUNT(*) FROM kept"), "0");
    }
}
