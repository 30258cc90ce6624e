//! Connections to the database, and statements sent over them.

use std::str::FromStr as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
#[cfg(feature = "mysql")]
use sqlx::mysql::{MySql, MySqlConnectOptions, MySqlPool, MySqlPoolOptions};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions, Postgres};
use sqlx::sqlite::{
    Sqlite, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Row as _, TypeInfo as _, ValueRef as _};

use super::super::ErrorKind;
use super::super::retry::{Failure, Jitter, Policy, retry};
use super::codec::Cell;
use super::dialect::Dialect;
use super::refusal::classify;
use super::statement::Statement;
use crate::clock::Clock;

/// Pools of one database.
enum Pool {
    Sqlite(SqlitePool),
    Postgres(PgPool),
    #[cfg(feature = "mysql")]
    MySql(MySqlPool),
}

/// A transaction; rolled back when it is dropped.
pub(super) enum Transaction {
    Sqlite(sqlx::Transaction<'static, Sqlite>),
    Postgres(sqlx::Transaction<'static, Postgres>),
    #[cfg(feature = "mysql")]
    MySql(sqlx::Transaction<'static, MySql>),
}

pub(super) struct Client {
    pub(super) dialect: Dialect,
    pool: Pool,
    policy: Policy,
    jitter: Jitter,
    clock: Clock,
    statements: AtomicU64,
}

/// Host, port, database and user, without the password.
pub(super) struct Address {
    pub(super) host: String,
    pub(super) database: String,
    pub(super) user: String,
}

/// How to open a database.
pub(super) struct Opening<'a> {
    pub(super) url: &'a SecretString,
    pub(super) connections: u32,
    pub(super) connect_timeout: Duration,
    pub(super) policy: Policy,
    pub(super) seed: u64,
    pub(super) clock: &'a Clock,
    /// The database is ours to fill: a SQLite file is made when it is missing.
    pub(super) copies_into: bool,
}

impl Client {
    /// Makes the pool; connects nothing yet.
    pub(super) fn new(opening: &Opening<'_>) -> Result<(Self, Address), ErrorKind> {
        let url = opening.url.expose_secret();
        let dialect = Dialect::of(url).ok_or_else(|| {
            ErrorKind::Misconfigured(
                "`url` begins with none of sqlite://, postgres:// and mysql://".into(),
            )
        })?;
        let (pool, address) = match dialect {
            Dialect::Sqlite => sqlite(url, opening)?,
            Dialect::Postgres => postgres(url, opening)?,
            Dialect::MySql => mysql(url, opening)?,
        };
        let client = Self {
            dialect,
            pool,
            policy: opening.policy,
            jitter: Jitter::new(opening.seed),
            clock: opening.clock.clone(),
            statements: AtomicU64::new(0),
        };
        Ok((client, address))
    }

    /// Statements sent so far.
    pub(super) fn sent(&self) -> u64 {
        self.statements.load(Ordering::Relaxed)
    }

    /// Reads rows; tried again while the database is out of reach.
    pub(super) async fn rows(&self, statement: &Statement) -> Result<Vec<Vec<Cell>>, ErrorKind> {
        retry(&self.policy, &self.jitter, &self.clock, || async {
            self.statements.fetch_add(1, Ordering::Relaxed);
            let rows = match &self.pool {
                Pool::Sqlite(pool) => sqlite_rows(pool, statement).await,
                Pool::Postgres(pool) => postgres_rows(pool, statement).await,
                #[cfg(feature = "mysql")]
                Pool::MySql(pool) => mysql_rows(pool, statement).await,
            };
            rows.map_err(|error| passing(&error))
        })
        .await
    }

    /// Begins to write; tried again while the database is out of reach.
    pub(super) async fn begin(&self) -> Result<Transaction, ErrorKind> {
        retry(&self.policy, &self.jitter, &self.clock, || async {
            let begun = match &self.pool {
                // Asks for the one writer's place at once, instead of failing in the middle.
                Pool::Sqlite(pool) => {
                    pool.begin_with("BEGIN IMMEDIATE").await.map(Transaction::Sqlite)
                }
                Pool::Postgres(pool) => pool.begin().await.map(Transaction::Postgres),
                #[cfg(feature = "mysql")]
                Pool::MySql(pool) => pool.begin().await.map(Transaction::MySql),
            };
            begun.map_err(|error| passing(&error))
        })
        .await
    }

    /// Rows of a statement inside a transaction.
    pub(super) async fn rows_in(
        &self,
        transaction: &mut Transaction,
        statement: &Statement,
    ) -> Result<Vec<Vec<Cell>>, sqlx::Error> {
        self.statements.fetch_add(1, Ordering::Relaxed);
        match transaction {
            Transaction::Sqlite(inner) => sqlite_rows(&mut **inner, statement).await,
            Transaction::Postgres(inner) => postgres_rows(&mut **inner, statement).await,
            #[cfg(feature = "mysql")]
            Transaction::MySql(inner) => mysql_rows(&mut **inner, statement).await,
        }
    }

    /// Rows that a statement found.
    pub(super) async fn execute_in(
        &self,
        transaction: &mut Transaction,
        statement: &Statement,
    ) -> Result<Done, sqlx::Error> {
        self.statements.fetch_add(1, Ordering::Relaxed);
        let sql = AssertSqlSafe(statement.sql.clone());
        match transaction {
            Transaction::Sqlite(inner) => {
                let query = bound(&statement.binds, sqlx::query::<Sqlite>(sql));
                let done = query.execute(&mut **inner).await?;
                Ok(Done { rows: done.rows_affected(), last_id: None })
            }
            Transaction::Postgres(inner) => {
                let query = bound_texts(&statement.binds, sqlx::query::<Postgres>(sql));
                let done = query.execute(&mut **inner).await?;
                Ok(Done { rows: done.rows_affected(), last_id: None })
            }
            #[cfg(feature = "mysql")]
            Transaction::MySql(inner) => {
                let query = bound(&statement.binds, sqlx::query::<MySql>(sql));
                let done = query.execute(&mut **inner).await?;
                Ok(Done { rows: done.rows_affected(), last_id: Some(done.last_insert_id()) })
            }
        }
    }

    /// The same for a statement of many values, which are handed over rather than copied.
    pub(super) async fn send_in(
        &self,
        transaction: &mut Transaction,
        sql: &Arc<str>,
        binds: Vec<Cell>,
    ) -> Result<(), sqlx::Error> {
        self.statements.fetch_add(1, Ordering::Relaxed);
        let sql = AssertSqlSafe(Arc::clone(sql));
        match transaction {
            Transaction::Sqlite(inner) => {
                handed(binds, sqlx::query::<Sqlite>(sql)).execute(&mut **inner).await.map(|_| ())
            }
            Transaction::Postgres(inner) => {
                let query = bound_texts(&binds, sqlx::query::<Postgres>(sql));
                query.execute(&mut **inner).await.map(|_| ())
            }
            #[cfg(feature = "mysql")]
            Transaction::MySql(inner) => {
                handed(binds, sqlx::query::<MySql>(sql)).execute(&mut **inner).await.map(|_| ())
            }
        }
    }

    /// Runs statements that define tables and triggers, all or none of them. MySQL commits each by itself.
    pub(super) async fn define(&self, statements: &[String]) -> Result<(), ErrorKind> {
        let mut transaction = self.begin().await?;
        for sql in statements {
            self.statements.fetch_add(1, Ordering::Relaxed);
            // Not prepared: MySQL prepares no triggers.
            let sql = sqlx::raw_sql(AssertSqlSafe(sql.clone()));
            let done = match &mut transaction {
                Transaction::Sqlite(inner) => sql.execute(&mut **inner).await.map(|_| ()),
                Transaction::Postgres(inner) => sql.execute(&mut **inner).await.map(|_| ()),
                #[cfg(feature = "mysql")]
                Transaction::MySql(inner) => sql.execute(&mut **inner).await.map(|_| ()),
            };
            done.map_err(|error| classify(&error))?;
        }
        transaction.commit().await.map_err(|error| classify(&error))
    }
}

/// What a write did.
#[derive(Clone, Copy, Debug)]
pub(super) struct Done {
    /// Rows that the condition found, changed or not.
    pub(super) rows: u64,
    pub(super) last_id: Option<u64>,
}

impl Transaction {
    pub(super) async fn commit(self) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(inner) => inner.commit().await,
            Self::Postgres(inner) => inner.commit().await,
            #[cfg(feature = "mysql")]
            Self::MySql(inner) => inner.commit().await,
        }
    }

    /// Takes everything back. That the connection is gone takes it back too.
    pub(super) async fn abandon(self) {
        let _ = match self {
            Self::Sqlite(inner) => inner.rollback().await,
            Self::Postgres(inner) => inner.rollback().await,
            #[cfg(feature = "mysql")]
            Self::MySql(inner) => inner.rollback().await,
        };
    }
}

/// Before a commit nothing has happened: what may pass may be tried again.
fn passing(error: &sqlx::Error) -> Failure {
    let kind = classify(error);
    if let ErrorKind::Unavailable(_) = kind { Failure::Passing(kind) } else { Failure::Final(kind) }
}

fn misconfigured(error: &sqlx::Error) -> ErrorKind {
    // The text of a parse error may repeat the URL, password and all.
    let reason = if let sqlx::Error::Configuration(_) = error {
        "is no database URL".to_owned()
    } else {
        error.to_string()
    };
    ErrorKind::Misconfigured(format!("`url` {reason}"))
}

fn sqlite(url: &str, opening: &Opening<'_>) -> Result<(Pool, Address), ErrorKind> {
    let options = SqliteConnectOptions::from_str(url).map_err(|error| misconfigured(&error))?;
    let options = options
        .busy_timeout(Duration::from_secs(10))
        .foreign_keys(true)
        .disable_statement_logging();
    let options = if opening.copies_into {
        let wal = options.create_if_missing(true).journal_mode(SqliteJournalMode::Wal);
        wal.synchronous(SqliteSynchronous::Normal).statement_cache_capacity(32)
    } else {
        options
    };
    let file = options.get_filename().display().to_string();
    let pool = SqlitePoolOptions::new()
        .max_connections(opening.connections)
        .acquire_timeout(opening.connect_timeout)
        .connect_lazy_with(options);
    let address = Address { host: "file".into(), database: file, user: "file".into() };
    Ok((Pool::Sqlite(pool), address))
}

fn postgres(url: &str, opening: &Opening<'_>) -> Result<(Pool, Address), ErrorKind> {
    let options = PgConnectOptions::from_str(url).map_err(|error| misconfigured(&error))?;
    let options = options
        .application_name("crmsync")
        .options([("DateStyle", "ISO"), ("TimeZone", "UTC")])
        .disable_statement_logging();
    let address = Address {
        host: format!("{}:{}", options.get_host(), options.get_port()),
        database: options.get_database().unwrap_or_default().to_owned(),
        user: options.get_username().to_owned(),
    };
    let pool = PgPoolOptions::new()
        .max_connections(opening.connections)
        .acquire_timeout(opening.connect_timeout)
        .connect_lazy_with(options);
    Ok((Pool::Postgres(pool), address))
}

#[cfg(feature = "mysql")]
fn mysql(url: &str, opening: &Opening<'_>) -> Result<(Pool, Address), ErrorKind> {
    let options = MySqlConnectOptions::from_str(url).map_err(|error| misconfigured(&error))?;
    let options = options.timezone(Some("+00:00".to_owned())).disable_statement_logging();
    let address = Address {
        host: format!("{}:{}", options.get_host(), options.get_port()),
        database: options.get_database().unwrap_or_default().to_owned(),
        user: options.get_username().to_owned(),
    };
    let pool = MySqlPoolOptions::new()
        .max_connections(opening.connections)
        .acquire_timeout(opening.connect_timeout)
        .after_connect(|connection, _| {
            Box::pin(async move {
                // Without it a text that is too long is cut, and a number out of range clipped, in silence.
                let strict = "SET SESSION sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES')";
                sqlx::query(strict).execute(connection).await.map(|_| ())
            })
        })
        .connect_lazy_with(options);
    Ok((Pool::MySql(pool), address))
}

#[cfg(not(feature = "mysql"))]
fn mysql(_url: &str, _opening: &Opening<'_>) -> Result<(Pool, Address), ErrorKind> {
    Err(ErrorKind::Misconfigured("this crmsync was built without MySQL".into()))
}

type Query<'q, DB> = sqlx::query::Query<'q, DB, <DB as sqlx::Database>::Arguments>;

/// Binds a copy of cells that are needed again.
fn bound<'q, DB>(cells: &[Cell], query: Query<'q, DB>) -> Query<'q, DB>
where
    DB: sqlx::Database,
    Option<String>: sqlx::Encode<'q, DB> + sqlx::Type<DB>,
    String: sqlx::Encode<'q, DB> + sqlx::Type<DB>,
    i64: sqlx::Encode<'q, DB> + sqlx::Type<DB>,
    f64: sqlx::Encode<'q, DB> + sqlx::Type<DB>,
{
    handed(cells.to_vec(), query)
}

/// Binds cells by their storage class, without a copy.
fn handed<'q, DB>(cells: Vec<Cell>, mut query: Query<'q, DB>) -> Query<'q, DB>
where
    DB: sqlx::Database,
    Option<String>: sqlx::Encode<'q, DB> + sqlx::Type<DB>,
    String: sqlx::Encode<'q, DB> + sqlx::Type<DB>,
    i64: sqlx::Encode<'q, DB> + sqlx::Type<DB>,
    f64: sqlx::Encode<'q, DB> + sqlx::Type<DB>,
{
    for cell in cells {
        query = match cell {
            Cell::Null | Cell::Bytes => query.bind(None::<String>),
            Cell::Integer(number) => query.bind(number),
            Cell::Real(number) => query.bind(number),
            Cell::Text(text) => query.bind(text),
        };
    }
    query
}

/// PostgreSQL takes every value as text; the statement casts it.
fn bound_texts<'q>(cells: &[Cell], mut query: Query<'q, Postgres>) -> Query<'q, Postgres> {
    for cell in cells {
        query = query.bind(cell.to_text());
    }
    query
}

async fn postgres_rows<'e, E>(
    executor: E,
    statement: &Statement,
) -> Result<Vec<Vec<Cell>>, sqlx::Error>
where
    E: sqlx::Executor<'e, Database = Postgres>,
{
    let query = sqlx::query::<Postgres>(AssertSqlSafe(statement.sql.clone()));
    let rows = bound_texts(&statement.binds, query).fetch_all(executor).await?;
    let cell = |row: &sqlx::postgres::PgRow, at: usize| match row.try_get_raw(at) {
        Ok(raw) if raw.is_null() => Cell::Null,
        Ok(raw) => raw.as_str().map_or(Cell::Bytes, Cell::text),
        Err(_) => Cell::Bytes,
    };
    Ok(rows.iter().map(|row| (0..row.len()).map(|at| cell(row, at)).collect()).collect())
}

#[cfg(feature = "mysql")]
async fn mysql_rows<'e, E>(
    executor: E,
    statement: &Statement,
) -> Result<Vec<Vec<Cell>>, sqlx::Error>
where
    E: sqlx::Executor<'e, Database = MySql>,
{
    let query = sqlx::query::<MySql>(AssertSqlSafe(statement.sql.clone()));
    let rows = bound(&statement.binds, query).fetch_all(executor).await?;
    let cell = |row: &sqlx::mysql::MySqlRow, at: usize| {
        // Unchecked: whatever the collation, the server has transcoded to UTF-8.
        match row.try_get_unchecked::<Option<String>, _>(at) {
            Ok(text) => text.map_or(Cell::Null, Cell::Text),
            Err(_) => Cell::Bytes,
        }
    };
    Ok(rows.iter().map(|row| (0..row.len()).map(|at| cell(row, at)).collect()).collect())
}

async fn sqlite_rows<'e, E>(
    executor: E,
    statement: &Statement,
) -> Result<Vec<Vec<Cell>>, sqlx::Error>
where
    E: sqlx::Executor<'e, Database = Sqlite>,
{
    let query = sqlx::query::<Sqlite>(AssertSqlSafe(statement.sql.clone()));
    let rows = bound(&statement.binds, query).fetch_all(executor).await?;
    Ok(rows.iter().map(|row| (0..row.len()).map(|at| sqlite_cell(row, at)).collect()).collect())
}

/// Told by the value's own storage class: a column's declared type binds nobody there.
fn sqlite_cell(row: &sqlx::sqlite::SqliteRow, at: usize) -> Cell {
    let Ok(raw) = row.try_get_raw(at) else { return Cell::Bytes };
    if raw.is_null() {
        return Cell::Null;
    }
    let class = raw.type_info().name().to_owned();
    match class.as_str() {
        "INTEGER" | "BOOLEAN" => row.try_get_unchecked(at).map_or(Cell::Bytes, Cell::Integer),
        "REAL" => row.try_get_unchecked(at).map_or(Cell::Bytes, Cell::Real),
        "BLOB" => Cell::Bytes,
        _ => row.try_get_unchecked(at).map_or(Cell::Bytes, Cell::Text),
    }
}
