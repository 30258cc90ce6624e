//! A database that streams are copied into: tables, columns and rows of ours, and the bookkeeping beside them.
//!
//! Rows, columns and the place where reading goes on change in one transaction, so a copy that stops anywhere goes
//! on where it was, and nobody ever sees half a batch.

mod ddl;
mod encode;
mod postgres;
mod rows;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use crmsync_core::model::RecordId;
use crmsync_core::replica::rows::{Batch, PARENT, Sheet};
use crmsync_core::replica::shape::Shape;

use self::ddl::{COLUMNS, DELETED, STREAMS, SYNCED, key_of};
use super::super::{ConnectorError, ErrorKind};
use super::Settings;
use super::client::{Client, Opening, Transaction};
use super::codec::{self, Cell};
use super::dialect::Dialect;
use super::refusal::{classify, is_unique_violation};
use super::statement::{Statement, qualified};
use crate::clock::Clock;

/// How rows meet those that are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meeting {
    /// There are none of these: the first load.
    New,
    /// By key.
    Replace,
}

/// What becomes of a row whose record is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Mark,
    Remove,
    Keep,
}

/// What ends a walk through everything: rows not stored since are of records that are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Last {
    pub unseen_since: DateTime<Utc>,
    pub fate: Fate,
}

/// What a batch came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    pub rows: u64,
    /// Rows marked or removed.
    pub buried: u64,
}

/// A database to copy into.
pub struct Warehouse {
    connection: String,
    client: Client,
    schema: Option<String>,
    /// Columns that the tables have.
    made: BTreeMap<String, BTreeMap<String, Shape>>,
}

impl Warehouse {
    /// Connects, and makes the tables of the bookkeeping. A SQLite file is made when it is missing.
    ///
    /// # Errors
    /// When the database is out of reach, or may not be written.
    pub async fn open(settings: &Settings, clock: &Clock) -> Result<Self, ConnectorError> {
        let error = |kind| ConnectorError {
            connection: settings.connection.clone(),
            operation: "open the database".into(),
            kind,
        };
        let opening = Opening {
            url: &settings.url,
            connections: 2,
            connect_timeout: settings.connect_timeout,
            policy: settings.retry,
            seed: settings.seed,
            clock,
            copies_into: true,
        };
        let (client, _) = Client::new(&opening).map_err(error)?;
        let schema = settings.schema.clone();
        let tables = ddl::bookkeeping(client.dialect, schema.as_deref());
        client.define(&tables).await.map_err(error)?;
        let connection = settings.connection.clone();
        Ok(Self { connection, client, schema, made: BTreeMap::new() })
    }

    fn error(&self, operation: &str, table: &str, kind: ErrorKind) -> ConnectorError {
        let operation = format!("{operation} {table}");
        ConnectorError { connection: self.connection.clone(), operation, kind }
    }

    fn table(&self, name: &str) -> String {
        qualified(self.client.dialect, self.schema.as_deref(), name)
    }

    /// The database's clock.
    ///
    /// # Errors
    /// When it is out of reach.
    pub async fn now(&self) -> Result<DateTime<Utc>, ConnectorError> {
        let dialect = self.client.dialect;
        let rows = self.client.rows(&Statement::of(dialect, dialect.now(), &[])).await;
        let rows = rows.map_err(|kind| self.error("ask the time of", "the database", kind))?;
        let now = rows.first().and_then(|row| codec::moment(row.first()?, chrono_tz::Tz::UTC));
        now.ok_or_else(|| {
            let kind = ErrorKind::Undecodable("its time".into());
            self.error("ask the time of", "the database", kind)
        })
    }

    /// What an earlier run left of a stream: where it goes on, as the caller wrote it.
    ///
    /// # Errors
    /// When the database is out of reach.
    pub async fn state(&self, stream: &str) -> Result<Option<String>, ConnectorError> {
        let sql = format!(
            "SELECT state FROM {} WHERE stream = {}",
            self.table(STREAMS),
            self.client.dialect.placeholder(1)
        );
        let rows = self.client.rows(&Statement::of(self.client.dialect, sql, &[stream])).await;
        let rows = rows.map_err(|kind| self.error("read the state of", stream, kind))?;
        Ok(rows.first().and_then(|row| row.first()?.to_text()))
    }

    /// A stream's tables as earlier runs made them.
    ///
    /// # Errors
    /// When the database is out of reach.
    pub async fn sheet(
        &mut self,
        stream: &str,
        table: &str,
        key: &str,
    ) -> Result<Sheet, ConnectorError> {
        let dialect = self.client.dialect;
        let text = |name: &str| match dialect {
            Dialect::Sqlite => name.to_owned(),
            Dialect::Postgres => format!("CAST({name} AS text)"),
            Dialect::MySql => format!("CAST({name} AS CHAR)"),
        };
        let sql = format!(
            "SELECT list, table_name, column_name, source, shape, {} FROM {} WHERE stream = {} ORDER BY list, place",
            text("place"),
            self.table(COLUMNS),
            dialect.placeholder(1)
        );
        let rows = self.client.rows(&Statement::of(dialect, sql, &[stream])).await;
        let rows = rows.map_err(|kind| self.error("read the columns of", stream, kind))?;
        let mut sheet = Sheet::new(table, key);
        for row in rows {
            let texts: Vec<String> = row.iter().filter_map(Cell::to_text).collect();
            let [list, table, name, source, shape, _] = texts.as_slice() else { continue };
            let shape: Option<Shape> = serde_json::from_value(shape.as_str().into()).ok();
            if let Some(shape) = shape {
                self.made.entry(table.clone()).or_default().insert(name.clone(), shape);
            }
            let owner = if list.is_empty() {
                &mut sheet
            } else {
                sheet.children.entry(list.clone()).or_insert_with(|| Sheet::new(table, PARENT))
            };
            owner.insert(name, source, shape);
        }
        Ok(sheet)
    }

    /// Stores a batch and where the stream goes on: all of it, or nothing. Answers the rows stored.
    ///
    /// # Errors
    /// A value that the database refuses, or a database out of reach. [`ErrorKind::Duplicate`] when rows that were
    /// said to be new are there already.
    pub async fn store(
        &mut self,
        stream: &str,
        sheet: &Sheet,
        batch: &Batch,
        meeting: Meeting,
        last: Option<Last>,
        state: &str,
    ) -> Result<Stored, ConnectorError> {
        let mut made = self.made.clone();
        let mut transaction = match self.client.begin().await {
            Ok(transaction) => transaction,
            Err(kind) => return Err(self.error("write", &sheet.table, kind)),
        };
        let stored = self
            .steps(&mut transaction, &mut made, stream, sheet, batch, meeting, last, state)
            .await;
        let done = match stored {
            Ok(rows) => transaction.commit().await.map(|()| rows),
            Err(error) => {
                transaction.abandon().await;
                Err(error)
            }
        };
        match done {
            Ok(rows) => {
                self.made = made;
                Ok(rows)
            }
            Err(error) if is_unique_violation(&error) => {
                let (field, existing) = (sheet.key.clone(), RecordId::new("?"));
                Err(self.error("write", &sheet.table, ErrorKind::Duplicate { field, existing }))
            }
            Err(error) => Err(self.error("write", &sheet.table, classify(&error))),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one transaction's worth, from one place")]
    async fn steps(
        &self,
        transaction: &mut Transaction,
        made: &mut BTreeMap<String, BTreeMap<String, Shape>>,
        stream: &str,
        sheet: &Sheet,
        batch: &Batch,
        meeting: Meeting,
        last: Option<Last>,
        state: &str,
    ) -> Result<Stored, sqlx::Error> {
        let mut rows = 0;
        if !batch.is_empty() && key_of(sheet).is_some() {
            self.agree_on_columns(transaction, made, stream, "", sheet, None).await?;
            for (list, child) in &sheet.children {
                if key_of(child).is_some() {
                    self.agree_on_columns(transaction, made, stream, list, child, Some(sheet))
                        .await?;
                }
            }
            rows = match self.client.dialect {
                Dialect::Postgres => self.copy(transaction, sheet, batch, meeting).await?,
                Dialect::Sqlite | Dialect::MySql => {
                    self.insert(transaction, sheet, batch, meeting).await?
                }
            };
        }
        let mut buried = 0;
        if let Some(last) =
            last.filter(|last| last.fate != Fate::Keep && made.contains_key(&sheet.table))
        {
            let unseen = self.unseen(sheet, last);
            buried = self.client.execute_in(transaction, &unseen).await?.rows;
        }
        let mut statement = Statement::new(self.client.dialect);
        let (name, text) = (statement.bind(Cell::text(stream)), statement.bind(Cell::text(state)));
        let upsert = match self.client.dialect {
            Dialect::Sqlite | Dialect::Postgres => {
                "ON CONFLICT (stream) DO UPDATE SET state = excluded.state"
            }
            Dialect::MySql => "ON DUPLICATE KEY UPDATE state = VALUES(state)",
        };
        statement.push(&format!(
            "INSERT INTO {} (stream, state) VALUES ({name}, {text}) {upsert}",
            self.table(STREAMS)
        ));
        self.client.execute_in(transaction, &statement).await?;
        Ok(Stored { rows, buried })
    }

    /// Makes and widens columns until the table has what the sheet has.
    async fn agree_on_columns(
        &self,
        transaction: &mut Transaction,
        made: &mut BTreeMap<String, BTreeMap<String, Shape>>,
        stream: &str,
        list: &str,
        sheet: &Sheet,
        parent: Option<&Sheet>,
    ) -> Result<(), sqlx::Error> {
        let (dialect, schema) = (self.client.dialect, self.schema.as_deref());
        let is_new = !made.contains_key(&sheet.table);
        let known = made.entry(sheet.table.clone()).or_default();
        let mut statements = Vec::new();
        if is_new {
            statements.extend(ddl::create(dialect, schema, sheet, parent));
        }
        let mut changed = Vec::new();
        for (place, column) in sheet.columns.iter().enumerate() {
            let Some(shape) = column.shape else { continue };
            match known.insert(column.name.clone(), shape) {
                Some(before) if before == shape => continue,
                Some(_) => statements.extend(ddl::widen(
                    dialect,
                    schema,
                    &sheet.table,
                    &column.name,
                    shape,
                )),
                None if is_new => {}
                None => {
                    statements.push(ddl::add(dialect, schema, &sheet.table, &column.name, shape));
                }
            }
            changed.push((place, column, shape));
        }
        for sql in statements {
            let done = self.client.execute_in(transaction, &Statement::of(dialect, sql, &[])).await;
            // MySQL commits each of these by itself: a run that was stopped has left some behind.
            if let Err(error) = done
                && !(dialect == Dialect::MySql && is_there_already(&error))
            {
                return Err(error);
            }
        }
        for (place, column, shape) in changed {
            let shape = serde_json::to_value(shape).ok();
            let shape = shape.as_ref().and_then(|shape| shape.as_str()).unwrap_or_default();
            let row = [&sheet.table, &column.name, stream, list, &column.source, shape];
            let mut statement = Statement::new(dialect);
            let values: Vec<_> = row.iter().map(|text| statement.bind(Cell::text(*text))).collect();
            let upsert = match dialect {
                Dialect::Sqlite | Dialect::Postgres => {
                    "ON CONFLICT (table_name, column_name) DO UPDATE SET shape = excluded.shape"
                }
                Dialect::MySql => "ON DUPLICATE KEY UPDATE shape = VALUES(shape)",
            };
            statement.push(&format!(
                "INSERT INTO {} (table_name, column_name, stream, list, source, shape, place) \
                 VALUES ({}, {place}) {upsert}",
                self.table(COLUMNS),
                values.join(", ")
            ));
            self.client.execute_in(transaction, &statement).await?;
        }
        Ok(())
    }

    /// Marks or removes rows that the walk did not see.
    fn unseen(&self, sheet: &Sheet, last: Last) -> Statement {
        let dialect = self.client.dialect;
        let mut statement = Statement::new(dialect);
        let time = last.unseen_since.format("%Y-%m-%d %H:%M:%S%.6f").to_string();
        // SQLite's stamps have milliseconds, and compare as texts.
        let time =
            if dialect == Dialect::Sqlite { time[..time.len() - 3].to_owned() } else { time };
        let bound = statement.bind(Cell::Text(time));
        let bound = match dialect {
            Dialect::Postgres => format!("CAST(CAST({bound} AS text) AS timestamptz)"),
            Dialect::Sqlite | Dialect::MySql => bound,
        };
        let condition = format!("{} < {bound}", dialect.quote(SYNCED));
        statement.push(&self.burial(sheet, last.fate, &condition));
        statement
    }

    /// Marks or removes the rows of records that the side calls deleted. Answers how many.
    ///
    /// # Errors
    /// As [`Warehouse::store`].
    pub async fn gone(
        &self,
        sheet: &Sheet,
        ids: &[RecordId],
        fate: Fate,
    ) -> Result<u64, ConnectorError> {
        let (dialect, mut count) = (self.client.dialect, 0);
        let Some(key) = key_of(sheet).filter(|_| self.made.contains_key(&sheet.table)) else {
            return Ok(0);
        };
        if fate == Fate::Keep {
            return Ok(0);
        }
        let name = dialect.quote(&key.name);
        let text = match dialect {
            Dialect::Postgres => format!("CAST({name} AS text)"),
            Dialect::Sqlite | Dialect::MySql => name,
        };
        for ids in ids.chunks(1_000) {
            let mut statement = Statement::new(dialect);
            let bound: Vec<_> =
                ids.iter().map(|id| statement.bind(Cell::text(id.as_str()))).collect();
            let condition = format!("{text} IN ({})", bound.join(", "));
            statement.push(&self.burial(sheet, fate, &condition));
            let failed = |kind| self.error("mark deletions in", &sheet.table, kind);
            let mut transaction = self.client.begin().await.map_err(failed)?;
            let done = self.client.execute_in(&mut transaction, &statement).await;
            count += done.map_err(|error| failed(classify(&error)))?.rows;
            transaction.commit().await.map_err(|error| failed(classify(&error)))?;
        }
        Ok(count)
    }

    fn burial(&self, sheet: &Sheet, fate: Fate, condition: &str) -> String {
        let (table, deleted) = (self.table(&sheet.table), self.client.dialect.quote(DELETED));
        let now = match self.client.dialect {
            Dialect::Sqlite => "strftime('%Y-%m-%d %H:%M:%f', 'now')",
            Dialect::Postgres => "now()",
            Dialect::MySql => "UTC_TIMESTAMP(6)",
        };
        match fate {
            Fate::Remove => format!("DELETE FROM {table} WHERE {condition}"),
            Fate::Mark | Fate::Keep => {
                format!(
                    "UPDATE {table} SET {deleted} = {now} WHERE {deleted} IS NULL AND {condition}"
                )
            }
        }
    }

    /// Rows of a table whose records are there.
    ///
    /// # Errors
    /// When the database is out of reach.
    pub async fn count(&self, sheet: &Sheet) -> Result<u64, ConnectorError> {
        if !self.made.contains_key(&sheet.table) {
            return Ok(0);
        }
        let dialect = self.client.dialect;
        let count = match dialect {
            Dialect::Sqlite => "COUNT(*)",
            Dialect::Postgres => "CAST(COUNT(*) AS text)",
            Dialect::MySql => "CAST(COUNT(*) AS CHAR)",
        };
        let (table, deleted) = (self.table(&sheet.table), dialect.quote(DELETED));
        let sql = format!("SELECT {count} FROM {table} WHERE {deleted} IS NULL");
        let rows = self.client.rows(&Statement::of(dialect, sql, &[])).await;
        let rows = rows.map_err(|kind| self.error("count", &sheet.table, kind))?;
        let text = rows.first().and_then(|row| row.first()?.to_text());
        Ok(text.and_then(|text| text.parse().ok()).unwrap_or(0))
    }
}

/// A table or column of that name.
fn is_there_already(error: &sqlx::Error) -> bool {
    let refused = error.as_database_error();
    refused.is_some_and(|refused| {
        let message = refused.message();
        message.contains("already exists") || message.contains("Duplicate column name")
    })
}
