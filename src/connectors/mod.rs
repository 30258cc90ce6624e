//! Connections to business systems: each speaks one API and decides nothing.
//!
//! What lives here: reading, writing, decoding, pacing. What may not: matching, merging, state of a sync. A
//! connector answers in the engine's nouns (`RemoteRecord`, `Value`, `ModuleSchema`); everything it cannot
//! decode is an error, never a default. Read this file, then `http.rs`, then one connector's `docs.md`.

pub mod hooks;
pub mod http;
pub mod landing;
pub mod memory;
pub mod oauth;
pub mod pacing;
pub mod pipedrive;
pub mod retry;
pub mod sql;
pub mod streams;
pub mod zoho;

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use crmsync_core::model::schema::{ModuleSchema, User};
use crmsync_core::model::{ModuleName, RecordId, RemoteField, RemoteRecord, Value};

/// The signed-in account, for people to recognize and for times to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// `authorised as …`: name and e-mail of the API user.
    pub user: String,
    pub organization: String,
    /// Edition or plan, in the vendor's words; empty where the API does not tell.
    pub plan: String,
    pub time_zone: Option<chrono_tz::Tz>,
    pub currency: Option<String>,
    /// The user may see every record: only then can one that is not found count as deleted (semantics §9.1).
    pub sees_all: bool,
    /// Things a person should know: not an admin, cannot see everything, trial.
    pub warnings: Vec<String>,
    /// Identifies organization and user: another one under the same connection is a scope change.
    pub fingerprint: String,
}

/// What a side can do: semantics §2. A capability that conformance has not proven counts as absent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Capabilities {
    /// Updates can carry the version they were planned on.
    pub conditional_update: bool,
    /// The side refuses a second record with the same external ID and names the first.
    pub unique_external_id: bool,
    /// Rows per create, update, delete call and per read by ids.
    pub create_batch: usize,
    pub update_batch: usize,
    pub delete_batch: usize,
    pub fetch_batch: usize,
    /// Rows per list page.
    pub page: usize,
    /// Rows that one scan can walk; beyond, a scan restarts from the last modified time seen.
    pub scan_limit: Option<usize>,
    /// [`Connector::list`] tells what changed since a time; else every listing shows everything.
    pub delta: bool,
    /// [`Connector::deleted`] answers for this module.
    pub deletion_feed: bool,
    /// Writes answer with the stored record, so that no read-back is needed.
    pub writes_return_record: bool,
    /// How long the side remembers deletions.
    pub deletion_retention: Duration,
    pub restore: bool,
    /// Writes in flight at once that make sense for this side.
    pub concurrency: usize,
}

/// In which order a scan walks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// By immutable ID, ascending.
    Id,
    /// By modified time, ascending.
    Modified,
}

/// Where a list goes on; opaque outside its connector.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct PageKey(pub String);

/// One page to read.
#[derive(Clone, Debug)]
pub struct ListRequest<'a> {
    pub module: &'a ModuleName,
    pub fields: &'a [RemoteField],
    /// Only records modified at or after this instant, by the side's clock.
    pub since: Option<DateTime<Utc>>,
    pub order: Order,
    pub page: Option<&'a PageKey>,
}

/// One page as read.
#[derive(Clone, Debug, Default)]
pub struct Page {
    pub records: Vec<RemoteRecord>,
    /// Rows that did not decode: to be read by id later, never a reason to stop.
    pub undecodable: Vec<Undecodable>,
    pub next: Option<PageKey>,
    /// The answer's `Date`, and our clock when it came: their difference is the side's clock error.
    pub server_time: Option<DateTime<Utc>>,
    pub received_at: DateTime<Utc>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undecodable {
    pub id: Option<RecordId>,
    pub reason: String,
}

/// One row of a deletion feed: a hint until [`Connector::probe`] finds nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletedRow {
    pub id: RecordId,
    pub at: Option<DateTime<Utc>>,
}

#[derive(Clone, Debug, Default)]
pub struct DeletedPage {
    pub rows: Vec<DeletedRow>,
    pub next: Option<PageKey>,
    pub server_time: Option<DateTime<Utc>>,
}

/// What a read by id found: semantics §2.
#[derive(Clone, Debug, PartialEq)]
pub enum Probe {
    Present(Box<RemoteRecord>),
    /// Proven gone: a deleted flag, or the side says so unambiguously.
    Deleted {
        at: Option<DateTime<Utc>>,
        merged_into: Option<RecordId>,
        converted_to: Option<RecordId>,
    },
    Forbidden,
    /// Not there, or not visible: ambiguous.
    NotFound,
    Unknown(String),
}

/// Changes of one record's fields, newest first.
#[derive(Clone, Debug, Default)]
pub struct History {
    pub changes: Vec<PastChange>,
    /// As in [`Page`].
    pub server_time: Option<DateTime<Utc>>,
    pub received_at: DateTime<Utc>,
}

/// One field as it changed at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct PastChange {
    /// As it was asked for.
    pub field: RemoteField,
    /// By the side's clock.
    pub at: DateTime<Utc>,
    /// Values before and after; `None` where the side tells them in words that are no value of the field.
    pub before: Option<Value>,
    pub after: Option<Value>,
}

/// One row of an update, made right after the record was read again.
#[derive(Clone, Debug)]
pub struct UpdateRow {
    pub id: RecordId,
    /// Only the fields that change; [`Value::Empty`] clears.
    pub fields: BTreeMap<RemoteField, Value>,
    /// The record as just re-read, with its raw JSON: lists and composites are sent merged and whole.
    pub current: RemoteRecord,
    /// Refuse with [`ErrorKind::Stale`] when the record was modified after this instant.
    pub unmodified_since: Option<DateTime<Utc>>,
}

/// A write that took effect.
#[derive(Clone, Debug, PartialEq)]
pub struct Written {
    pub id: RecordId,
    pub modified_at: Option<DateTime<Utc>>,
    /// The stored record, where the answer carries it.
    pub stored: Option<RemoteRecord>,
}

/// The outcome of one row: a multi-row call is judged row by row (I31).
pub type RowResult = Result<Written, ConnectorError>;

/// What a call costs, for budgets and forecasts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Cost {
    pub calls: u64,
    /// Credits (Zoho) or tokens (Pipedrive).
    pub units: u64,
}

/// A kind of call whose price is known beforehand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    ListPage,
    DeletedPage,
    Fetch,
    Create,
    Update,
    Delete,
}

/// A side of a route.
#[async_trait]
pub trait Connector: Send + Sync {
    fn capabilities(&self, module: &ModuleName) -> Capabilities;

    /// Price of `operation` on `rows` rows: calls made and units charged.
    fn price(&self, operation: Operation, rows: usize) -> Cost;

    /// Price of `operation` on `rows` rows of `module`, where prices differ by module.
    fn price_for(&self, _module: &ModuleName, operation: Operation, rows: usize) -> Cost {
        self.price(operation, rows)
    }

    /// Calls made and units spent by this process since it started.
    fn spent(&self) -> Cost;

    /// What was spent since the last call: to be remembered for the next process.
    fn take_spent(&self) -> Cost {
        Cost::default()
    }

    async fn account(&self) -> Result<Account, ConnectorError>;

    /// Modules that can be mapped: API name and label.
    async fn modules(&self) -> Result<Vec<(ModuleName, String)>, ConnectorError>;

    /// A module with its fields and options; reads may be cached for the connection's metadata lifetime.
    async fn describe(&self, module: &ModuleName) -> Result<ModuleSchema, ConnectorError>;

    /// Metadata answers worth keeping for the next process.
    fn memory(&self) -> Option<&memory::Memory> {
        None
    }

    /// Drops cached metadata: the next [`Connector::describe`] asks the side again.
    fn forget_metadata(&self) {}

    /// Its lists as they are, where they can be copied.
    fn streams(&self) -> Option<&dyn streams::Streams> {
        None
    }

    /// Its webhooks, where it has any.
    fn hooks(&self) -> Option<&dyn hooks::Hooks> {
        None
    }

    async fn users(&self) -> Result<Vec<User>, ConnectorError>;

    /// One page of alive records. `records` hold every requested field that the side returned.
    async fn list(&self, request: &ListRequest<'_>) -> Result<Page, ConnectorError>;

    /// Deletions at or after `since`; empty without a feed for this module.
    async fn deleted(
        &self,
        module: &ModuleName,
        since: DateTime<Utc>,
        page: Option<&PageKey>,
    ) -> Result<DeletedPage, ConnectorError>;

    /// Reads up to `fetch_batch` records by id, with `raw`. Ids that the answer leaves out are not proven absent.
    async fn fetch(
        &self,
        module: &ModuleName,
        ids: &[RecordId],
        fields: &[RemoteField],
    ) -> Result<Page, ConnectorError>;

    /// Finds out what became of one record.
    async fn probe(
        &self,
        module: &ModuleName,
        id: &RecordId,
        fields: &[RemoteField],
    ) -> Result<Probe, ConnectorError>;

    /// Creates up to `create_batch` records: one result a row, in order, always as many as rows.
    async fn create(
        &self,
        module: &ModuleName,
        rows: &[BTreeMap<RemoteField, Value>],
    ) -> Vec<RowResult>;

    /// Updates up to `update_batch` records: one result a row, in order, always as many as rows.
    async fn update(&self, module: &ModuleName, rows: &[UpdateRow]) -> Vec<RowResult>;

    /// Deletes up to `delete_batch` records into the side's recycle bin. A record already gone is a success.
    async fn delete(&self, module: &ModuleName, ids: &[RecordId]) -> Vec<RowResult>;

    /// Brings a deleted record back under its id, where the side can.
    async fn restore(&self, module: &ModuleName, id: &RecordId) -> RowResult;

    /// Link that opens the record in the side's own pages.
    fn record_url(&self, module: &ModuleName, id: &RecordId) -> Option<String>;

    /// Creates the external-ID field `label` on `module`, if it is missing; answers its API name.
    async fn install_external_id(
        &self,
        module: &ModuleName,
        label: &str,
    ) -> Result<RemoteField, ConnectorError>;

    /// Has the side note changes and deletions of `module` from now on, where that can be installed; answers where.
    async fn install_change_capture(
        &self,
        _module: &ModuleName,
    ) -> Result<Option<String>, ConnectorError> {
        Ok(None)
    }

    /// What the side itself remembers about changes of the named fields of one record: the newest, not all.
    /// `None` where it keeps no history of the module.
    async fn history(
        &self,
        _module: &ModuleName,
        _id: &RecordId,
        _fields: &[RemoteField],
    ) -> Result<Option<History>, ConnectorError> {
        Ok(None)
    }
}

/// A call that did not do what it should: who, what, why, and what may be done next.
#[derive(Debug, thiserror::Error)]
#[error("{connection}: {operation}: {kind}")]
pub struct ConnectorError {
    /// Name of the connection in the configuration.
    pub connection: String,
    /// What was tried, such as `update 12 Contacts`. Never a value or a token.
    pub operation: String,
    pub kind: ErrorKind,
}

/// Why a call failed; decides [`ConnectorError::recovery`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ErrorKind {
    /// 429 of a burst or concurrency limit.
    #[error("asked to slow down")]
    RateLimited { retry_after: Option<Duration> },
    /// The daily budget is used up, or our share of it.
    #[error("the daily budget is used up{}", resets_at.map(|at| format!("; it resets at {at}")).unwrap_or_default())]
    BudgetExhausted { resets_at: Option<DateTime<Utc>> },
    /// The request surely had no effect: never connected, or a gateway said so.
    #[error("not reachable: {0}")]
    Unavailable(String),
    /// The write may have happened, or may happen within `T_late`.
    #[error("the answer was lost: {0}")]
    ReplyLost(String),
    /// The token is refused, and a fresh one too.
    #[error("sign-in refused: {0}; run `crmsync connect` again")]
    Unauthorized(String),
    #[error("scope `{0}` is missing; run `crmsync connect` again and grant it")]
    ScopeMissing(String),
    #[error("no permission: {0}")]
    Forbidden(String),
    /// The record is not there for us.
    #[error("record not found")]
    Gone,
    /// The record moved past the version the write was planned on.
    #[error("the record was changed meanwhile")]
    Stale,
    /// A unique field is taken.
    #[error("field `{field}` is taken by record {existing}")]
    Duplicate { field: String, existing: RecordId },
    #[error("field `{field}` refused: {reason}")]
    Invalid { field: String, reason: String },
    /// The row as a whole is refused.
    #[error("refused: {0}")]
    Refused(String),
    /// Approval, blueprint or record lock: may pass later.
    #[error("the record is locked: {0}")]
    Locked(String),
    /// The page key is no longer valid: start the scan again from the last committed place.
    #[error("the page key has expired")]
    PageExpired,
    /// The scan is longer than the API walks: go on from the last modified time seen.
    #[error("the list is longer than one scan may be")]
    ScanLimit,
    /// A module or field is unknown: the metadata moved.
    #[error("unknown {0}")]
    UnknownName(String),
    #[error("the answer does not decode: {0}")]
    Undecodable(String),
    #[error("{0}")]
    Misconfigured(String),
}

/// What the caller may do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    Wait(Option<Duration>),
    /// Stop this side until the budget is back: exit 5.
    Pause,
    Backoff,
    Reauthorize,
    /// The write may have happened: read the record again before any repeat.
    Reread,
    /// Repeating cannot help: set the record aside, report it, go on.
    Quarantine,
    /// Plan again from a fresh read.
    Replan,
    RestartScan,
    /// The metadata must be read again.
    Redescribe,
    /// A person must change the configuration.
    Stop,
}

impl ConnectorError {
    pub const fn recovery(&self) -> Recovery {
        match &self.kind {
            ErrorKind::RateLimited { retry_after } => Recovery::Wait(*retry_after),
            ErrorKind::BudgetExhausted { .. } => Recovery::Pause,
            ErrorKind::Unavailable(_) => Recovery::Backoff,
            ErrorKind::ReplyLost(_) => Recovery::Reread,
            ErrorKind::Unauthorized(_) | ErrorKind::ScopeMissing(_) => Recovery::Reauthorize,
            ErrorKind::Gone | ErrorKind::Stale | ErrorKind::Duplicate { .. } => Recovery::Replan,
            ErrorKind::Forbidden(_)
            | ErrorKind::Invalid { .. }
            | ErrorKind::Refused(_)
            | ErrorKind::Locked(_)
            | ErrorKind::Undecodable(_) => Recovery::Quarantine,
            ErrorKind::PageExpired | ErrorKind::ScanLimit => Recovery::RestartScan,
            ErrorKind::UnknownName(_) => Recovery::Redescribe,
            ErrorKind::Misconfigured(_) => Recovery::Stop,
        }
    }
}
