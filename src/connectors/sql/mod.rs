//! Tables of SQLite, PostgreSQL and MySQL/MariaDB as modules.
//!
//! What lives here: statements, types and quirks of three databases. What may not: matching, merging, the store
//! (that is ours; these tables are the user's). Read `docs.md` first, then `statement.rs` and `codec.rs`;
//! `read.rs` and `write.rs` are the calls.

mod catalog;
mod client;
mod codec;
mod dialect;
mod install;
mod read;
mod refusal;
mod schema;
mod statement;
mod tables;
pub mod warehouse;
mod write;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use crmsync_core::model::schema::{ModuleSchema, User};
use crmsync_core::model::{ModuleName, RecordId, RemoteField, Value};
use secrecy::SecretString;
use tokio::sync::OnceCell;

use self::client::{Address, Client, Opening};
pub use self::dialect::Dialect;
use self::schema::Table;
use self::tables::Known;
use super::retry::Policy;
use super::{
    Account, Capabilities, Connector, ConnectorError, Cost, DeletedPage, ErrorKind, ListRequest,
    Operation, Page, PageKey, Probe, RowResult, UpdateRow,
};
use crate::clock::Clock;

/// How to reach one database, and what is to be known about its tables.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name of the connection in the configuration.
    pub connection: String,
    pub url: SecretString,
    /// Schema whose tables go by their bare names; else the database's own.
    pub schema: Option<String>,
    /// The column that says when a row was last changed, in whichever table has it; `none` to use none.
    pub modified: Option<String>,
    /// Zone of times without one.
    pub time_zone: Tz,
    /// How long a transaction may stay open after it stamped a row.
    pub commit_lag: Duration,
    /// No filter hides rows from this user: a row that is not there is deleted.
    pub complete: bool,
    /// Whether installing makes triggers.
    pub triggers: bool,
    /// What single tables differ in, by module.
    pub tables: BTreeMap<String, TableSettings>,
    /// Rows of a page, of a read by keys, and of a write.
    pub page: usize,
    pub batch: usize,
    pub connections: u32,
    pub connect_timeout: Duration,
    pub retry: Policy,
    /// Seed of the pauses' jitter.
    pub seed: u64,
}

/// What one table differs in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableSettings {
    /// For a view, or a table without a primary key.
    pub key: Option<Vec<String>>,
    pub modified: Option<String>,
    pub complete: Option<bool>,
}

impl Settings {
    pub fn new(connection: impl Into<String>, url: SecretString, seed: u64) -> Self {
        Self {
            connection: connection.into(),
            url,
            schema: None,
            modified: None,
            time_zone: Tz::UTC,
            commit_lag: Duration::from_mins(1),
            complete: false,
            triggers: true,
            tables: BTreeMap::new(),
            page: 5_000,
            batch: 500,
            connections: 4,
            connect_timeout: Duration::from_secs(10),
            retry: Policy { tries: 3, first: Duration::from_millis(100), ..Policy::default() },
            seed,
        }
    }
}

/// A database as a side.
pub struct Sql {
    settings: Settings,
    clock: Clock,
    client: Client,
    address: Address,
    known: tokio::sync::Mutex<Option<Arc<Known>>>,
    tables: Mutex<BTreeMap<ModuleName, Arc<Table>>>,
    version: OnceCell<String>,
}

impl Sql {
    /// Makes the connector; connects nothing yet.
    ///
    /// # Errors
    /// [`ErrorKind::Misconfigured`] when the URL is none.
    pub fn connect(settings: Settings, clock: Clock) -> Result<Self, ConnectorError> {
        let opening = Opening {
            url: &settings.url,
            connections: settings.connections,
            connect_timeout: settings.connect_timeout,
            policy: settings.retry,
            seed: settings.seed,
            clock: &clock,
            copies_into: false,
        };
        let (client, address) = Client::new(&opening).map_err(|kind| ConnectorError {
            connection: settings.connection.clone(),
            operation: "open the database".into(),
            kind,
        })?;
        let (known, tables, version) = Default::default();
        Ok(Self { settings, clock, client, address, known, tables, version })
    }

    fn described(&self) -> MutexGuard<'_, BTreeMap<ModuleName, Arc<Table>>> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn error(&self, operation: String, kind: ErrorKind) -> ConnectorError {
        ConnectorError { connection: self.settings.connection.clone(), operation, kind }
    }

    fn fail(&self, operation: &str, module: &ModuleName) -> impl Fn(ErrorKind) -> ConnectorError {
        let operation = format!("{operation} {module}");
        move |kind| self.error(operation.clone(), kind)
    }

    fn signed(
        &self,
        operation: &str,
        module: &ModuleName,
        outcomes: write::Outcomes,
    ) -> Vec<RowResult> {
        let fail = self.fail(operation, module);
        outcomes.into_iter().map(|outcome| outcome.map_err(&fail)).collect()
    }

    /// Answers as many errors as rows were to be written. A table that moved is described anew next time.
    async fn none(
        &self,
        operation: &str,
        module: &ModuleName,
        rows: usize,
        kind: ErrorKind,
    ) -> Vec<RowResult> {
        self.drifted(&kind).await;
        let fail = self.fail(operation, module);
        (0..rows).map(|_| Err(fail(kind.clone()))).collect()
    }

    async fn drifted(&self, kind: &ErrorKind) {
        if matches!(kind, ErrorKind::UnknownName(_)) {
            self.forget().await;
        }
    }

    async fn answered<T>(
        &self,
        operation: &str,
        module: &ModuleName,
        answer: Result<T, ErrorKind>,
    ) -> Result<T, ConnectorError> {
        match answer {
            Ok(answer) => Ok(answer),
            Err(kind) => {
                self.drifted(&kind).await;
                Err(self.fail(operation, module)(kind))
            }
        }
    }
}

/// Triggers keep a deletion's row for good.
const DELETION_RETENTION: Duration = Duration::from_hours(24 * 365 * 10);

#[async_trait]
impl Connector for Sql {
    /// As far as the table has been described.
    fn capabilities(&self, module: &ModuleName) -> Capabilities {
        let table = self.described().get(module).cloned();
        let table = table.as_deref();
        let has_changes = table.is_some_and(|table| table.changes.is_some());
        Capabilities {
            conditional_update: true,
            unique_external_id: table.is_some_and(|table| table.columns.iter().any(|it| it.unique)),
            create_batch: self.settings.batch,
            update_batch: self.settings.batch,
            delete_batch: self.settings.batch,
            fetch_batch: self.settings.batch,
            page: self.settings.page,
            scan_limit: None,
            delta: table.is_none_or(|table| has_changes || table.modified.is_some()),
            deletion_feed: has_changes,
            writes_return_record: true,
            deletion_retention: DELETION_RETENTION,
            restore: false,
            // SQLite has one writer at a time.
            concurrency: if self.client.dialect == Dialect::Sqlite { 1 } else { 2 },
        }
    }

    /// A call is a statement; nothing else is charged.
    fn price(&self, operation: Operation, rows: usize) -> Cost {
        let calls = match operation {
            Operation::ListPage
            | Operation::DeletedPage
            | Operation::Fetch
            | Operation::Create
            | Operation::Delete => 2,
            Operation::Update => rows as u64 + 1,
        };
        Cost { calls, units: 0 }
    }

    fn spent(&self) -> Cost {
        Cost { calls: self.client.sent(), units: 0 }
    }

    async fn account(&self) -> Result<Account, ConnectorError> {
        let version = self.version().await.map_err(|kind| self.error("connect".into(), kind))?;
        let Address { host, database, user } = &self.address;
        let name = self.client.dialect.name();
        let place = if host == "file" { database.clone() } else { format!("{database} on {host}") };
        Ok(Account {
            user: user.clone(),
            organization: place.clone(),
            plan: format!("{name} {version}"),
            time_zone: Some(self.settings.time_zone),
            currency: None,
            // A row filter hides rows without a word.
            sees_all: self.settings.complete,
            warnings: Vec::new(),
            fingerprint: format!("{name} {place}:{user}"),
        })
    }

    async fn modules(&self) -> Result<Vec<(ModuleName, String)>, ConnectorError> {
        let known = self.known().await.map_err(|kind| self.error("list tables".into(), kind))?;
        let mapped = known.places.iter().filter(|(_, place)| !catalog::is_own(place));
        Ok(mapped.map(|(module, place)| (module.clone(), place.name.clone())).collect())
    }

    async fn describe(&self, module: &ModuleName) -> Result<ModuleSchema, ConnectorError> {
        let table = self.table(module).await;
        Ok(self.answered("describe", module, table).await?.describe())
    }

    fn forget_metadata(&self) {
        self.described().clear();
        if let Ok(mut known) = self.known.try_lock() {
            *known = None;
        }
    }

    /// A database's users own no records.
    async fn users(&self) -> Result<Vec<User>, ConnectorError> {
        Ok(Vec::new())
    }

    async fn list(&self, request: &ListRequest<'_>) -> Result<Page, ConnectorError> {
        let page = self.list_page(request).await;
        self.answered("list", request.module, page).await
    }

    async fn deleted(
        &self,
        module: &ModuleName,
        since: DateTime<Utc>,
        page: Option<&PageKey>,
    ) -> Result<DeletedPage, ConnectorError> {
        let page = self.deleted_page(module, since, page).await;
        self.answered("list deleted", module, page).await
    }

    async fn fetch(
        &self,
        module: &ModuleName,
        ids: &[RecordId],
        fields: &[RemoteField],
    ) -> Result<Page, ConnectorError> {
        let page = self.fetch_page(module, ids, fields).await;
        self.answered(&format!("read {}", ids.len()), module, page).await
    }

    async fn probe(
        &self,
        module: &ModuleName,
        id: &RecordId,
        fields: &[RemoteField],
    ) -> Result<Probe, ConnectorError> {
        let probe = self.probe_one(module, id, fields).await;
        self.answered("read one of", module, probe).await
    }

    async fn create(
        &self,
        module: &ModuleName,
        rows: &[BTreeMap<RemoteField, Value>],
    ) -> Vec<RowResult> {
        match self.create_rows(module, rows).await {
            Ok(outcomes) => self.signed("create in", module, outcomes),
            Err(kind) => self.none("create in", module, rows.len(), kind).await,
        }
    }

    async fn update(&self, module: &ModuleName, rows: &[UpdateRow]) -> Vec<RowResult> {
        match self.update_rows(module, rows).await {
            Ok(outcomes) => self.signed("update in", module, outcomes),
            Err(kind) => self.none("update in", module, rows.len(), kind).await,
        }
    }

    async fn delete(&self, module: &ModuleName, ids: &[RecordId]) -> Vec<RowResult> {
        match self.delete_rows(module, ids).await {
            Ok(outcomes) => self.signed("delete in", module, outcomes),
            Err(kind) => self.none("delete in", module, ids.len(), kind).await,
        }
    }

    async fn restore(&self, module: &ModuleName, _id: &RecordId) -> RowResult {
        let kind = ErrorKind::Refused("a database has no recycle bin".into());
        Err(self.fail("restore one of", module)(kind))
    }

    fn record_url(&self, _module: &ModuleName, _id: &RecordId) -> Option<String> {
        None
    }

    async fn install_external_id(
        &self,
        module: &ModuleName,
        label: &str,
    ) -> Result<RemoteField, ConnectorError> {
        let column = self.install_column(module, label).await;
        self.answered("add a column to", module, column).await
    }

    async fn install_change_capture(
        &self,
        module: &ModuleName,
    ) -> Result<Option<String>, ConnectorError> {
        let installed = self.install_triggers(module).await;
        self.answered("make triggers on", module, installed).await
    }
}
