//! Tables that a warehouse makes: pure.

use crmsync_core::replica::rows::{Column, PARENT, POSITION, Sheet};
use crmsync_core::replica::shape::Shape;

use super::super::dialect::Dialect;
use super::super::statement::qualified;

/// When a row was last written by a run, and when it was found to be gone.
pub(super) const SYNCED: &str = "_crmsync_synced_at";
pub(super) const DELETED: &str = "_crmsync_deleted_at";
/// What is known of streams and of columns.
pub(super) const STREAMS: &str = "_crmsync_streams";
pub(super) const COLUMNS: &str = "_crmsync_columns";

pub(super) const fn type_name(dialect: Dialect, shape: Shape) -> &'static str {
    match (dialect, shape) {
        (_, Shape::Bool) => "boolean",
        (Dialect::Sqlite, Shape::Integer) => "integer",
        (_, Shape::Integer) => "bigint",
        // MySQL's decimals have a fixed place, and JSON's numbers are floats.
        (Dialect::MySql, Shape::Number) => "double",
        (_, Shape::Number) => "numeric",
        (_, Shape::Date) => "date",
        (Dialect::Postgres, Shape::Timestamp) => "timestamptz",
        (Dialect::MySql, Shape::Timestamp) => "datetime(6)",
        (Dialect::Sqlite, Shape::Timestamp) => "datetime",
        (Dialect::Postgres, Shape::Json) => "jsonb",
        (_, Shape::Json) => "json",
        (Dialect::MySql, Shape::Text) => "longtext",
        (_, Shape::Text) => "text",
    }
}

/// A key's type: MySQL keys need a length.
const fn key_type(dialect: Dialect, shape: Shape) -> &'static str {
    match (dialect, shape) {
        (Dialect::MySql, Shape::Text | Shape::Json) => {
            "varchar(190) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
        }
        _ => type_name(dialect, shape),
    }
}

/// The two tables of our own bookkeeping, beside the data so that both change in one transaction.
pub(super) fn bookkeeping(dialect: Dialect, schema: Option<&str>) -> Vec<String> {
    let text = type_name(dialect, Shape::Text);
    let key = key_type(dialect, Shape::Text);
    let (streams, columns) =
        (qualified(dialect, schema, STREAMS), qualified(dialect, schema, COLUMNS));
    let mut statements = Vec::new();
    if let (Dialect::Postgres, Some(schema)) = (dialect, schema) {
        statements.push(format!("CREATE SCHEMA IF NOT EXISTS {}", dialect.quote(schema)));
    }
    statements.push(format!(
        "CREATE TABLE IF NOT EXISTS {streams} (stream {key} PRIMARY KEY, state {text} NOT NULL)"
    ));
    statements.push(format!(
        "CREATE TABLE IF NOT EXISTS {columns} (table_name {key} NOT NULL, column_name {key} NOT NULL, \
         stream {key} NOT NULL, list {key} NOT NULL, source {text} NOT NULL, shape {text} NOT NULL, \
         place integer NOT NULL, PRIMARY KEY (table_name, column_name))"
    ));
    statements
}

/// What a table that is not there needs: its key, its times, and for a list the record it belongs to.
pub(super) fn create(
    dialect: Dialect,
    schema: Option<&str>,
    sheet: &Sheet,
    parent: Option<&Sheet>,
) -> Vec<String> {
    let name = qualified(dialect, schema, &sheet.table);
    let is_key =
        |column: &&Column| [sheet.key.as_str(), POSITION].contains(&column.source.as_str());
    let made = |column: &Column| {
        let shape = column.shape.unwrap_or(Shape::Text);
        let quoted = dialect.quote(&column.name);
        if is_key(&column) {
            format!("{quoted} {} NOT NULL", key_type(dialect, shape))
        } else {
            format!("{quoted} {}", type_name(dialect, shape))
        }
    };
    let known = || sheet.columns.iter().filter(|column| column.shape.is_some());
    let mut lines: Vec<_> = known().map(made).collect();
    let time = type_name(dialect, Shape::Timestamp);
    if parent.is_none() {
        let now = if dialect == Dialect::Postgres { " NOT NULL DEFAULT now()" } else { "" };
        lines.push(format!("{} {time}{now}", dialect.quote(SYNCED)));
        lines.push(format!("{} {time}", dialect.quote(DELETED)));
    }
    let keys: Vec<_> = known().filter(is_key).map(|column| dialect.quote(&column.name)).collect();
    lines.push(format!("PRIMARY KEY ({})", keys.join(", ")));
    if let Some((parent, key)) = parent.and_then(|parent| Some((parent, key_of(parent)?))) {
        lines.push(format!(
            "FOREIGN KEY ({}) REFERENCES {} ({}) ON DELETE CASCADE",
            dialect.quote("parent_id"),
            qualified(dialect, schema, &parent.table),
            dialect.quote(&key.name)
        ));
    }
    let charset = if dialect == Dialect::MySql { " CHARACTER SET utf8mb4" } else { "" };
    vec![format!("CREATE TABLE {name} ({}){charset}", lines.join(", "))]
}

/// Adds a column that appeared.
pub(super) fn add(
    dialect: Dialect,
    schema: Option<&str>,
    table: &str,
    column: &str,
    shape: Shape,
) -> String {
    let name = qualified(dialect, schema, table);
    format!("ALTER TABLE {name} ADD COLUMN {} {}", dialect.quote(column), type_name(dialect, shape))
}

/// Widens a column whose values outgrew it. SQLite's types bind nobody.
pub(super) fn widen(
    dialect: Dialect,
    schema: Option<&str>,
    table: &str,
    column: &str,
    shape: Shape,
) -> Option<String> {
    let (name, column) = (qualified(dialect, schema, table), dialect.quote(column));
    let kind = type_name(dialect, shape);
    match dialect {
        Dialect::Sqlite => None,
        Dialect::Postgres => Some(format!(
            "ALTER TABLE {name} ALTER COLUMN {column} TYPE {kind} USING CAST({column} AS {kind})"
        )),
        Dialect::MySql => Some(format!("ALTER TABLE {name} MODIFY COLUMN {column} {kind}")),
    }
}

pub(super) fn key_of(sheet: &Sheet) -> Option<&Column> {
    let source = if sheet.key == PARENT { PARENT } else { sheet.key.as_str() };
    sheet.columns.iter().find(|column| column.source == source && column.shape.is_some())
}
