//! The text of statements, with their values apart: pure.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use crmsync_core::model::RecordId;

use super::codec::{Cell, decode_key, key_cell, moment_cell};
use super::dialect::Dialect;
use super::schema::{Kind, Table};

/// A statement under construction.
#[derive(Clone, Debug)]
pub(super) struct Statement {
    pub(super) dialect: Dialect,
    pub(super) sql: String,
    pub(super) binds: Vec<Cell>,
}

impl Statement {
    pub(super) fn new(dialect: Dialect) -> Self {
        Self { dialect, sql: String::new(), binds: Vec::new() }
    }

    pub(super) fn of(dialect: Dialect, sql: impl Into<String>, binds: &[&str]) -> Self {
        Self {
            dialect,
            sql: sql.into(),
            binds: binds.iter().map(|text| Cell::text(*text)).collect(),
        }
    }

    pub(super) fn push(&mut self, text: &str) -> &mut Self {
        self.sql.push_str(text);
        self
    }

    /// Binds a value; answers its placeholder.
    pub(super) fn bind(&mut self, cell: Cell) -> String {
        self.binds.push(cell);
        self.dialect.placeholder(self.binds.len())
    }
}

/// `"schema"."table"`.
pub(super) fn target(dialect: Dialect, table: &Table) -> String {
    qualified(dialect, table.place.schema.as_deref(), &table.place.name)
}

pub(super) fn qualified(dialect: Dialect, schema: Option<&str>, name: &str) -> String {
    match schema {
        Some(schema) => format!("{}.{}", dialect.quote(schema), dialect.quote(name)),
        None => dialect.quote(name),
    }
}

/// What a select of records answers: key, time of the change table, time of the modified column, then `places`.
pub(super) struct Records<'a> {
    pub(super) dialect: Dialect,
    pub(super) table: &'a Table,
    pub(super) places: &'a [usize],
    pub(super) zone: Tz,
}

/// What rows of a table are walked by when only changes are wanted.
enum Stamp {
    Changes,
    Column(usize),
}

impl Records<'_> {
    /// Every row, by key, after the row whose key is given.
    pub(super) fn page_by_key(&self, after: Option<&[Cell]>, limit: usize) -> Statement {
        let mut statement = self.select();
        if let Some(after) = after {
            let text = is_after(&mut statement, &self.key("t."), &|statement, at| {
                self.bind_key(statement, at, after)
            });
            statement.push(" WHERE ").push(&text);
        }
        let order = self.key("t.").join(", ");
        statement.push(&format!(" ORDER BY {order} LIMIT {limit}"));
        statement
    }

    /// Rows changed at or after `since`, by time and key, after the row whose time and key are given. Without a
    /// stamp there is no such walk.
    pub(super) fn page_by_change(
        &self,
        since: Option<DateTime<Utc>>,
        after: Option<&[Cell]>,
        limit: usize,
    ) -> Option<Statement> {
        let stamp = self.stamp()?;
        let moment = self.moment(&stamp);
        let mut statement = self.select();
        let mut conditions = vec![match stamp {
            Stamp::Changes => "c.deleted = 0".to_owned(),
            Stamp::Column(_) => format!("{moment} IS NOT NULL"),
        }];
        if let Some(since) = since {
            let bound = self.bind_moment(&mut statement, &stamp, self.since_cell(&stamp, since));
            conditions.push(format!("{moment} >= {bound}"));
        }
        let mut walk = vec![moment.clone()];
        walk.extend(self.key("t."));
        if let Some((moment, key)) = after.and_then(<[Cell]>::split_first) {
            let bound = is_after(&mut statement, &walk, &|statement, at| match at.checked_sub(1) {
                None => self.bind_moment(statement, &stamp, moment.clone()),
                Some(at) => self.bind_key(statement, at, key),
            });
            conditions.push(bound);
        }
        let (conditions, order) = (conditions.join(" AND "), walk.join(", "));
        statement.push(&format!(" WHERE {conditions} ORDER BY {order} LIMIT {limit}"));
        Some(statement)
    }

    /// Rows of these keys, in any order.
    pub(super) fn by_ids(&self, ids: &[RecordId]) -> Statement {
        let mut statement = self.select();
        let condition = key_in(&mut statement, self.table, "t.", ids);
        statement.push(" WHERE ").push(&condition);
        statement
    }

    fn select(&self) -> Statement {
        let (dialect, table) = (self.dialect, self.table);
        let mut list: Vec<_> =
            table.key_columns().map(|column| dialect.read("t.", column)).collect();
        list.push(match &table.changes {
            Some(_) => dialect.moment_text("c.changed_at"),
            None => "NULL".to_owned(),
        });
        list.push(match table.modified {
            Some(at) => dialect.moment_text(&dialect.moment("t.", &table.columns[at])),
            None => "NULL".to_owned(),
        });
        list.extend(self.places.iter().map(|at| dialect.read("t.", &table.columns[*at])));
        let mut statement = Statement::new(dialect);
        statement.push(&format!("SELECT {} FROM {} t", list.join(", "), target(dialect, table)));
        if let Some(changes) = &table.changes {
            let on = table.key_columns().map(|column| {
                let name = dialect.quote(&column.name);
                format!("c.{name} = t.{name}")
            });
            let changes = qualified(dialect, table.place.schema.as_deref(), changes);
            let on = on.collect::<Vec<_>>().join(" AND ");
            statement.push(&format!(" LEFT JOIN {changes} c ON {on}"));
        }
        statement
    }

    fn stamp(&self) -> Option<Stamp> {
        match (&self.table.changes, self.table.modified) {
            (Some(_), _) => Some(Stamp::Changes),
            (None, Some(at)) => Some(Stamp::Column(at)),
            (None, None) => None,
        }
    }

    fn moment(&self, stamp: &Stamp) -> String {
        match stamp {
            Stamp::Changes => "c.changed_at".to_owned(),
            Stamp::Column(at) => self.dialect.moment("t.", &self.table.columns[*at]),
        }
    }

    /// Where in an answered row the moment of the walk stands.
    pub(super) fn moment_place(&self) -> usize {
        let changed = self.table.key.len();
        if self.table.changes.is_some() { changed } else { changed + 1 }
    }

    fn since_cell(&self, stamp: &Stamp, since: DateTime<Utc>) -> Cell {
        let kind = match (stamp, self.dialect) {
            // `datetime()` answers UTC; a column without zones still holds the connection's.
            (Stamp::Changes, _) => Kind::Instant,
            (Stamp::Column(at), _) => self.table.columns[*at].kind,
        };
        moment_cell(kind, self.dialect, since, self.zone)
    }

    fn bind_moment(&self, statement: &mut Statement, stamp: &Stamp, cell: Cell) -> String {
        let placeholder = statement.bind(cell);
        match (stamp, self.dialect) {
            (Stamp::Column(at), _) => {
                self.dialect.bound_moment(&placeholder, &self.table.columns[*at])
            }
            (Stamp::Changes, Dialect::Postgres) => {
                format!("CAST(CAST({placeholder} AS text) AS timestamptz)")
            }
            (Stamp::Changes, Dialect::Sqlite | Dialect::MySql) => placeholder,
        }
    }

    fn key(&self, from: &str) -> Vec<String> {
        let quoted = |name: &str| format!("{from}{}", self.dialect.quote(name));
        self.table.key_columns().map(|column| quoted(&column.name)).collect()
    }

    fn bind_key(&self, statement: &mut Statement, at: usize, key: &[Cell]) -> String {
        bind_part(statement, self.table, at, key)
    }
}

fn bind_part(statement: &mut Statement, table: &Table, at: usize, key: &[Cell]) -> String {
    let placeholder = statement.bind(key.get(at).cloned().unwrap_or_default());
    statement.dialect.write(&placeholder, &table.columns[table.key[at]])
}

/// `a > x or (a = x and b > y)`, as each database's planner likes it best. `bind` binds the bound of a column, in
/// the order of the text.
fn is_after(
    statement: &mut Statement,
    columns: &[String],
    bind: &dyn Fn(&mut Statement, usize) -> String,
) -> String {
    if statement.dialect == Dialect::MySql {
        return expanded(statement, columns, 0, bind);
    }
    let bounds: Vec<_> = (0..columns.len()).map(|at| bind(statement, at)).collect();
    match columns {
        [column] => format!("{column} > {}", bounds[0]),
        columns => format!("({}) > ({})", columns.join(", "), bounds.join(", ")),
    }
}

fn expanded(
    statement: &mut Statement,
    columns: &[String],
    at: usize,
    bind: &dyn Fn(&mut Statement, usize) -> String,
) -> String {
    let (column, above) = (&columns[at], bind(statement, at));
    if at + 1 == columns.len() {
        return format!("{column} > {above}");
    }
    let same = bind(statement, at);
    let rest = expanded(statement, columns, at + 1, bind);
    format!("({column} > {above} OR ({column} = {same} AND {rest}))")
}

/// Keys that the change table marks as deleted, by time and key.
pub(super) fn deletions(
    dialect: Dialect,
    table: &Table,
    changes: &str,
    since: DateTime<Utc>,
    after: Option<&[Cell]>,
    limit: usize,
) -> Statement {
    let mut statement = Statement::new(dialect);
    let keys: Vec<_> = table.key_columns().map(|column| dialect.read("c.", column)).collect();
    let columns: Vec<_> =
        table.key_columns().map(|column| format!("c.{}", dialect.quote(&column.name))).collect();
    let from = qualified(dialect, table.place.schema.as_deref(), changes);
    let moment = dialect.moment_text("c.changed_at");
    statement
        .push(&format!("SELECT {}, {moment} FROM {from} c WHERE c.deleted = 1", keys.join(", ")));
    let bound = |statement: &mut Statement, cell: Cell| {
        let placeholder = statement.bind(cell);
        match dialect {
            Dialect::Postgres => format!("CAST(CAST({placeholder} AS text) AS timestamptz)"),
            Dialect::Sqlite | Dialect::MySql => placeholder,
        }
    };
    let at = bound(&mut statement, moment_cell(Kind::Instant, dialect, since, Tz::UTC));
    statement.push(&format!(" AND c.changed_at >= {at}"));
    let mut walk = vec!["c.changed_at".to_owned()];
    walk.extend(columns);
    if let Some((moment, key)) = after.and_then(<[Cell]>::split_first) {
        let text = is_after(&mut statement, &walk, &|statement, at| match at.checked_sub(1) {
            None => bound(statement, moment.clone()),
            Some(at) => bind_part(statement, table, at, key),
        });
        statement.push(" AND ").push(&text);
    }
    statement.push(&format!(" ORDER BY {} LIMIT {limit}", walk.join(", ")));
    statement
}

/// `key IN (…)`. An ID that is no key of this table matches nothing.
pub(super) fn key_in(
    statement: &mut Statement,
    table: &Table,
    from: &str,
    ids: &[RecordId],
) -> String {
    let dialect = statement.dialect;
    let columns: Vec<_> = table.key_columns().collect();
    let mut rows = Vec::with_capacity(ids.len());
    for id in ids {
        let Some(texts) = decode_key(id.as_str(), columns.len()) else { continue };
        let parts = columns.iter().zip(texts).map(|(column, text)| {
            let placeholder = statement.bind(key_cell(column, &text));
            dialect.write(&placeholder, column)
        });
        rows.push(parts.collect::<Vec<_>>().join(", "));
    }
    if rows.is_empty() {
        return "1 = 0".to_owned();
    }
    let names: Vec<_> =
        columns.iter().map(|column| format!("{from}{}", dialect.quote(&column.name))).collect();
    match (columns.len(), dialect) {
        (1, _) => format!("{} IN ({})", names[0], rows.join(", ")),
        (_, Dialect::Sqlite) => {
            format!("({}) IN (VALUES ({}))", names.join(", "), rows.join("), ("))
        }
        (_, Dialect::Postgres | Dialect::MySql) => {
            format!("({}) IN (({}))", names.join(", "), rows.join("), ("))
        }
    }
}

/// What an insert does with a row whose unique value is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Returning {
    /// Leaves it out of the answer, which names the keys of the others.
    Keys,
    /// Refuses the statement; the key is asked for afterwards.
    Nothing,
}

/// Inserts rows that all set the columns of `places`.
pub(super) fn insert(
    dialect: Dialect,
    table: &Table,
    places: &[usize],
    rows: &[&[Cell]],
    returning: Returning,
) -> Statement {
    let mut statement = Statement::new(dialect);
    statement.push(&format!("INSERT INTO {}", target(dialect, table)));
    if places.is_empty() {
        statement.push(if dialect == Dialect::MySql { " () VALUES ()" } else { " DEFAULT VALUES" });
    } else {
        let names: Vec<_> =
            places.iter().map(|at| dialect.quote(&table.columns[*at].name)).collect();
        statement.push(&format!(" ({}) VALUES ", names.join(", ")));
        for (count, row) in rows.iter().enumerate() {
            let parts: Vec<_> = places
                .iter()
                .zip(*row)
                .map(|(at, cell)| {
                    let placeholder = statement.bind(cell.clone());
                    dialect.write(&placeholder, &table.columns[*at])
                })
                .collect();
            let comma = if count == 0 { "" } else { ", " };
            statement.push(&format!("{comma}({})", parts.join(", ")));
        }
    }
    if returning == Returning::Keys {
        let keys: Vec<_> = table.key_columns().map(|column| dialect.read("", column)).collect();
        // MariaDB has no way to skip clashes that does not also swallow other refusals.
        let skip = if dialect == Dialect::MySql { "" } else { " ON CONFLICT DO NOTHING" };
        statement.push(&format!("{skip} RETURNING {}", keys.join(", ")));
    }
    statement
}

/// One column's new value, and what the update expects to find in it.
pub(super) struct Change {
    pub(super) at: usize,
    pub(super) new: Cell,
}

/// Updates one row if its `expected` cells are still what was read.
pub(super) fn update(
    dialect: Dialect,
    table: &Table,
    id: &RecordId,
    changes: &[Change],
    expected: &[(usize, Cell)],
) -> Statement {
    let mut statement = Statement::new(dialect);
    statement.push(&format!("UPDATE {} SET ", target(dialect, table)));
    let set: Vec<_> = changes
        .iter()
        .map(|change| {
            let column = &table.columns[change.at];
            let placeholder = statement.bind(change.new.clone());
            format!("{} = {}", dialect.quote(&column.name), dialect.write(&placeholder, column))
        })
        .collect();
    let key = key_in(&mut statement, table, "", std::slice::from_ref(id));
    let holds: Vec<_> = expected
        .iter()
        .map(|(at, cell)| {
            let placeholder = statement.bind(cell.clone());
            format!(" AND {}", dialect.holds(&table.columns[*at], &placeholder))
        })
        .collect();
    statement.push(&format!("{} WHERE {key}{}", set.join(", "), holds.concat()));
    statement
}

pub(super) fn delete(dialect: Dialect, table: &Table, ids: &[RecordId]) -> Statement {
    let mut statement = Statement::new(dialect);
    statement.push(&format!("DELETE FROM {} WHERE ", target(dialect, table)));
    let key = key_in(&mut statement, table, "", ids);
    statement.push(&key);
    statement
}

/// The key of the row that holds a value in a unique column.
pub(super) fn holder(dialect: Dialect, table: &Table, at: usize, cell: &Cell) -> Statement {
    let mut statement = Statement::new(dialect);
    let keys: Vec<_> = table.key_columns().map(|column| dialect.read("", column)).collect();
    let column = &table.columns[at];
    let placeholder = statement.bind(cell.clone());
    let condition = dialect.is_key("", column, &placeholder);
    statement.push(&format!(
        "SELECT {} FROM {} WHERE {condition} LIMIT 1",
        keys.join(", "),
        target(dialect, table)
    ));
    statement
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_a_place_in_a_walk_when_written_then_each_bound_is_bound_where_it_stands() {
        let columns = ["a", "b", "c"].map(str::to_owned);
        let write = |dialect| {
            let mut statement = Statement::new(dialect);
            let text = is_after(&mut statement, &columns, &|statement, at| {
                statement.bind(Cell::text(["x", "y", "z"][at]))
            });
            let binds: Vec<_> = statement.binds.iter().filter_map(Cell::to_text).collect();
            (text, binds.concat())
        };

        assert_eq!(write(Dialect::Postgres), ("(a, b, c) > ($1, $2, $3)".into(), "xyz".into()));
        let expected = "(a > ? OR (a = ? AND (b > ? OR (b = ? AND c > ?))))";
        assert_eq!(write(Dialect::MySql), (expected.into(), "xxyyz".into()));
    }
}
