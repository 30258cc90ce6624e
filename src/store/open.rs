//! Opening a store: pools, the checks that keep us out of other people's databases, and the schema steps.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crmsync_core::model::{EntityName, RouteName};
use crmsync_migrations::{Migrator, MigratorTrait, STEPS_TABLE};
use sea_orm::sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};
use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DatabaseTransaction, DbBackend,
    DbErr, IsolationLevel, SqliteTransactionMode, Statement, TransactionOptions, TransactionTrait,
};

use super::{RouteReader, StoreError};

/// Rows of one answer that SQLite's thread may be ahead of the reader: more than any statement names keys.
const ROWS_AHEAD: usize = 1_024;

/// A scope's number and its entity's name, as other tables carry them.
pub(super) type Scopes = BTreeMap<(RouteName, EntityName), i32>;

/// Our own state: one set of tables for all routes. Clones share their connections.
#[derive(Clone)]
pub struct Store {
    pub(super) pools: Arc<Pools>,
    /// Seals secrets; without it none can be saved or read.
    pub(super) key: Option<[u8; 32]>,
}

pub(super) struct Pools {
    pub(super) reader: DatabaseConnection,
    /// SQLite knows one writer at a time: its pool has one connection. Elsewhere it is the reader's pool.
    writer: DatabaseConnection,
    pub(super) scopes: Mutex<Scopes>,
}

impl Store {
    /// Opens the store at `url` and brings its schema up to date: `sqlite://path` (made when missing),
    /// `postgres://…` or `mysql://…`.
    ///
    /// # Errors
    /// [`StoreError::Open`] when nothing answers there, [`StoreError::Foreign`] when the database holds tables but
    /// no store, [`StoreError::TooNew`] when a newer program made the store.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        let place = place(url);
        let unreachable = |error: DbErr| StoreError::Open(place.clone(), plain(&error));
        let (writer, reader) = match url.split_once(':').map(|(scheme, _)| scheme) {
            Some("sqlite") => {
                let writer = Database::connect(sqlite(url, 1)).await.map_err(unreachable)?;
                (writer, Database::connect(sqlite(url, 4)).await.map_err(unreachable)?)
            }
            Some("postgres" | "postgresql" | "mysql" | "mariadb") => {
                let pool = Database::connect(server(url)).await.map_err(unreachable)?;
                (pool.clone(), pool)
            }
            Some(_) | None => {
                let known = "expected `sqlite://`, `postgres://` or `mysql://`";
                return Err(StoreError::Open(place, known.into()));
            }
        };
        refuse_others(&writer, &place).await?;
        migrate(&writer).await?;
        let pools = Pools { reader, writer, scopes: Mutex::default() };
        Ok(Self { pools: Arc::new(pools), key: None })
    }

    /// The same store, able to seal and open secrets with `key`.
    #[must_use]
    pub fn with_key(mut self, key: [u8; 32]) -> Self {
        self.key = Some(key);
        self
    }

    /// Reads one route.
    pub fn route(&self, route: &RouteName) -> RouteReader {
        RouteReader { store: self.clone(), route: route.clone() }
    }

    /// Ends all connections. A store that is merely dropped ends them too, but later.
    ///
    /// # Errors
    /// When the database cannot be told.
    pub async fn close(self) -> Result<(), StoreError> {
        self.pools.reader.close_by_ref().await?;
        Ok(self.pools.writer.close_by_ref().await?)
    }

    /// Begins a write that sees everything committed before it.
    pub(super) async fn begin(&self) -> Result<DatabaseTransaction, StoreError> {
        let is_sqlite = self.pools.writer.get_database_backend() == DbBackend::Sqlite;
        let options = TransactionOptions {
            // Each statement sees what others committed while we waited for the lease's row.
            isolation_level: (!is_sqlite).then_some(IsolationLevel::ReadCommitted),
            access_mode: None,
            sqlite_transaction_mode: is_sqlite.then_some(SqliteTransactionMode::Immediate),
        };
        Ok(self.pools.writer.begin_with_options(options).await?)
    }

    pub(super) fn writer(&self) -> &DatabaseConnection {
        &self.pools.writer
    }

    pub(super) fn known_scopes(&self) -> std::sync::MutexGuard<'_, Scopes> {
        self.pools.scopes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn sqlite(url: &str, connections: u32) -> ConnectOptions {
    let separator = if url.contains('?') { '&' } else { '?' };
    let mut options = quiet(&format!("{url}{separator}mode=rwc"));
    options.max_connections(connections).map_sqlx_sqlite_opts(move |options| {
        options
            .journal_mode(SqliteJournalMode::Wal)
            // An armed intent must survive a power cut, not only a killed process: assumption A5.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(30))
            // A whole answer: its thread need not wait for us row by row.
            .row_buffer_size(ROWS_AHEAD)
            // Kilobytes. Keys are as good as random, so what does not fit is read again and again.
            .pragma("cache_size", if connections == 1 { "-32768" } else { "-8192" })
            // Pages: a page that many transactions change is copied back once for all of them.
            .pragma("wal_autocheckpoint", "16384")
            .pragma("temp_store", "memory")
    });
    options
}

fn server(url: &str) -> ConnectOptions {
    let mut options = quiet(url);
    options.max_connections(8).connect_timeout(Duration::from_secs(10));
    options
}

/// No statement, and with it no personal data, in logs or traces.
fn quiet(url: &str) -> ConnectOptions {
    let mut options = ConnectOptions::new(url.to_owned());
    options.sqlx_logging(false).record_stmt_in_spans(false).acquire_timeout(Duration::from_mins(1));
    options
}

/// Refuses a database that is not ours and a store made by a newer program.
async fn refuse_others(db: &DatabaseConnection, place: &str) -> Result<(), StoreError> {
    let unreadable = |error: DbErr| StoreError::Open(place.to_owned(), plain(&error));
    let tables = tables(db).await.map_err(unreadable)?;
    if tables.is_empty() {
        return Ok(());
    }
    if !tables.contains(STEPS_TABLE) {
        let named: Vec<_> = tables.iter().take(3).map(String::as_str).collect();
        let why = format!("it holds the tables {} and no store", named.join(", "));
        return Err(StoreError::Foreign(place.to_owned(), why));
    }
    let ours: BTreeSet<_> =
        Migrator::migrations().iter().map(|step| step.name().to_owned()).collect();
    let sql = format!("SELECT version FROM {STEPS_TABLE}");
    let applied = db.query_all_raw(Statement::from_string(db.get_database_backend(), sql)).await?;
    for row in applied {
        let version: String = row.try_get("", "version")?;
        if !ours.contains(&version) {
            return Err(StoreError::TooNew(version));
        }
    }
    Ok(())
}

async fn tables(db: &DatabaseConnection) -> Result<BTreeSet<String>, DbErr> {
    let backend = db.get_database_backend();
    let sql = if backend == DbBackend::Sqlite {
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
    } else if backend == DbBackend::Postgres {
        "SELECT CAST(table_name AS text) AS name FROM information_schema.tables \
             WHERE table_schema = current_schema()"
    } else {
        "SELECT CAST(table_name AS char) AS name FROM information_schema.tables \
             WHERE table_schema = DATABASE()"
    };
    let rows = db.query_all_raw(Statement::from_string(backend, sql)).await?;
    rows.iter().map(|row| row.try_get("", "name")).collect()
}

/// Runs the missing steps. Two processes may start at once: the slower one finds the steps done at its second try.
async fn migrate(db: &DatabaseConnection) -> Result<(), StoreError> {
    let Err(first) = run_steps(db).await else { return Ok(()) };
    tokio::time::sleep(Duration::from_millis(200)).await;
    run_steps(db).await.map_err(|_| first)
}

async fn run_steps(db: &DatabaseConnection) -> Result<(), StoreError> {
    if Migrator::get_pending_migrations_read_only(db).await?.is_empty() {
        return Ok(());
    }
    Ok(Migrator::up(db, None).await?)
}

/// The address without its password.
fn place(url: &str) -> String {
    match url::Url::parse(url) {
        Ok(mut parsed) if parsed.password().is_some() => {
            // Fails only for addresses that cannot have a password.
            let _ = parsed.set_password(Some("…"));
            parsed.to_string()
        }
        Ok(_) | Err(_) => url.to_owned(),
    }
}

/// What a database error says, without our library's own words around it.
pub(super) fn plain(error: &DbErr) -> String {
    let text = if let DbErr::Conn(inner) | DbErr::Exec(inner) | DbErr::Query(inner) = error {
        inner.to_string()
    } else {
        error.to_string()
    };
    let text = text.strip_prefix("error returned from database: ").unwrap_or(&text).to_owned();
    if text.contains("database or disk is full") || text.contains("No space left") {
        return format!("the disk is full; nothing was written ({text})");
    }
    text
}

impl From<DbErr> for StoreError {
    fn from(error: DbErr) -> Self {
        Self::Database(plain(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn given_a_full_disk_when_writing_then_it_is_said_and_nothing_is_half_done() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("store.db").display());
        let store = Store::open(&url).await.unwrap();
        store.pools.writer.execute_unprepared("PRAGMA max_page_count = 1").await.unwrap();
        let large = serde_json::Value::String("x".repeat(1_000_000));

        let refused =
            store.save_metadata("zoho", "Contacts", &large, chrono::DateTime::UNIX_EPOCH).await;

        let Err(StoreError::Database(text)) = refused else { panic!("it fitted") };
        assert!(text.starts_with("the disk is full; nothing was written"), "{text}");
        assert_eq!(store.metadata("zoho", "Contacts").await.unwrap(), None);
    }
}
