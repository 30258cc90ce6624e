//! What the databases' own catalogs say. One file a database: its questions, and what the answers mean.

mod mysql;
mod postgres;
mod sqlite;

use super::super::ErrorKind;
use super::client::Client;
use super::codec::Cell;
use super::dialect::Dialect;
use super::schema::{Column, OWN, Place};
use super::statement::Statement;

/// A table's columns and the places of its key.
pub(super) struct Columns {
    pub(super) columns: Vec<Column>,
    pub(super) key: Vec<usize>,
}

/// A column, and where in the key it stands.
struct Described {
    column: Column,
    in_key: Option<usize>,
}

/// The schema that names without one mean.
pub(super) async fn own_schema(client: &Client) -> Result<Option<String>, ErrorKind> {
    let sql = match client.dialect {
        Dialect::Sqlite => return Ok(Some("main".into())),
        Dialect::Postgres => "SELECT CAST(current_schema() AS text)",
        Dialect::MySql => "SELECT CAST(DATABASE() AS CHAR)",
    };
    let rows = client.rows(&Statement::of(client.dialect, sql, &[])).await?;
    Ok(rows.first().and_then(|row| row.first()?.to_text()))
}

/// Tables and views of the user; ours are left out unless they hold a table's changes.
pub(super) async fn places(client: &Client, dialect: Dialect) -> Result<Vec<Place>, ErrorKind> {
    let sql = match dialect {
        Dialect::Sqlite => sqlite::PLACES,
        Dialect::Postgres => postgres::PLACES,
        Dialect::MySql => mysql::PLACES,
    };
    let rows = client.rows(&Statement::of(dialect, sql, &[])).await?;
    let place = |row: &Vec<Cell>| {
        Some(Place {
            schema: row.first()?.to_text(),
            name: row.get(1)?.to_text()?,
            is_view: is_true(row.get(2)?),
        })
    };
    Ok(rows.iter().filter_map(place).collect())
}

/// Whether the triggers that fill a change table still stand. MySQL shows them only to who may make them, so there
/// the table's own being is believed.
pub(super) async fn has_triggers(
    client: &Client,
    place: &Place,
    changes: &str,
) -> Result<bool, ErrorKind> {
    let dialect = client.dialect;
    let statement = match dialect {
        Dialect::Sqlite => Statement::of(dialect, sqlite::TRIGGERS, &[&place.name, changes]),
        Dialect::Postgres => {
            let schema = place.schema.as_deref().unwrap_or_default();
            Statement::of(dialect, postgres::TRIGGERS, &[schema, &place.name])
        }
        Dialect::MySql => return Ok(true),
    };
    let rows = client.rows(&statement).await?;
    Ok(rows.first().and_then(|row| row.first()).is_some_and(is_true))
}

/// Whether a table is one of ours.
pub(super) fn is_own(place: &Place) -> bool {
    // Replication has tables of its own, too.
    place.name.trim_start_matches('_').starts_with(OWN)
}

/// Reads one row of a catalog's answer, given the module's own schema.
type ReadColumn = fn(&Texts<'_>, Option<&str>) -> Option<Described>;

pub(super) async fn columns(
    client: &Client,
    place: &Place,
    own: Option<&str>,
) -> Result<Columns, ErrorKind> {
    let schema = place.schema.as_deref().unwrap_or_default();
    let (sql, read): (&str, ReadColumn) = match client.dialect {
        Dialect::Sqlite => (sqlite::COLUMNS, sqlite::column),
        Dialect::Postgres => (postgres::COLUMNS, postgres::column),
        Dialect::MySql => (mysql::COLUMNS, mysql::column),
    };
    let binds: &[&str] = match client.dialect {
        Dialect::Sqlite => &[&place.name, schema],
        Dialect::Postgres | Dialect::MySql => &[schema, &place.name],
    };
    let rows = client.rows(&Statement::of(client.dialect, sql, binds)).await?;
    let described: Option<Vec<_>> = rows.iter().map(|row| read(&Texts(row), own)).collect();
    let described = described.ok_or_else(|| {
        ErrorKind::Undecodable(format!("the catalog's columns of {}", place.name))
    })?;
    let mut key: Vec<_> = described
        .iter()
        .enumerate()
        .filter_map(|(at, column)| column.in_key.map(|order| (order, at)))
        .collect();
    key.sort_unstable();
    Ok(Columns {
        key: key.into_iter().map(|(_, at)| at).collect(),
        columns: described.into_iter().map(|described| described.column).collect(),
    })
}

/// A catalog row.
struct Texts<'a>(&'a [Cell]);

impl Texts<'_> {
    fn text(&self, at: usize) -> Option<String> {
        self.0.get(at)?.to_text()
    }

    fn flag(&self, at: usize) -> bool {
        self.0.get(at).is_some_and(is_true)
    }

    fn number(&self, at: usize) -> Option<usize> {
        self.text(at)?.parse().ok()
    }
}

fn is_true(cell: &Cell) -> bool {
    matches!(cell.to_text().as_deref(), Some("true" | "t" | "1" | "YES"))
}
