//! Our own state, one set of tables for all routes of a store: sea-orm stops here.
//!
//! What lives here: saving and loading what semantics §3 names, each method one local transaction. What may not:
//! deciding anything. Reading order: this file (the nouns that cross the door), `lease.rs`, `observations.rs`,
//! `links.rs`, `journal.rs`. Every write goes through a [`RouteStore`], which holds the route's lease and is
//! fenced: a writer whose lease was taken over gets [`StoreError::LeaseLost`] and changes nothing.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use crmsync_core::model::journal::LinkBefore;
use crmsync_core::model::link::Deletion;
use crmsync_core::model::state::{MatchKey, SubjectKey};
use crmsync_core::model::{
    Baseline, Code, EntityName, FieldName, LinkId, ModuleName, Observation, Op, OpenRow, Pair,
    RecordId, RecordKey, RouteName, Side, Value,
};
use serde::{Deserialize, Serialize};

mod absences;
mod attention;
mod codec;
mod commits;
mod copy;
mod inbox;
mod journal;
mod lease;
mod links;
mod lookups;
mod observations;
mod open;
mod people;
mod route;
mod rows;
mod runs;
mod secrets;
mod tables;

pub use inbox::{Message, Waiting};
pub use open::Store;
pub use people::{ApiToken, Deed, Person, Role};
pub use route::{RouteReader, RouteStore};

/// What a route remembers about itself between runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RouteMeta {
    /// Identity of both connections (type, organization, API user): another one is a foreign store.
    pub identity: Option<Pair<String>>,
    /// `Entity::scope_fingerprint` and the account fingerprints, by entity.
    pub scope: BTreeMap<EntityName, String>,
    /// Entities whose first plan a person approved.
    pub approved: Vec<EntityName>,
    /// When every listing was last read whole.
    pub last_full: Option<DateTime<Utc>>,
    /// Set by `runs undo`: nothing runs until `redo` or `accept`.
    pub paused: Option<String>,
    /// Plan hash that a person approved, for one run.
    pub approved_plan: Option<String>,
}

/// Where reading goes on, per entity and side.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cursor {
    /// W: every change stamped before it is in an observation or dirty.
    pub watermark: Option<DateTime<Utc>>,
    /// The same for the deletion feed.
    pub deleted_watermark: Option<DateTime<Utc>>,
    /// A full listing under way: its page key (absent: start anew), epoch and the server time at its start.
    pub scan: Option<Scan>,
    /// The snapshot is complete: the precondition of "no match".
    pub complete: bool,
    /// Last epoch of a complete listing.
    pub epoch: u64,
    /// The newest record that was listed, for the next listing to show again.
    #[serde(default)]
    pub canary: Option<Canary>,
    /// The last listing lacked its canary: nothing follows from what else it lacks.
    #[serde(default)]
    pub blind: bool,
}

/// A record that a listing must show again: one without it shows less than it did, and proves nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Canary {
    pub id: RecordId,
    pub modified_at: DateTime<Utc>,
    /// Listings in a row that lacked it although it, or others, could be read by id.
    pub missed: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scan {
    pub epoch: u64,
    pub page: Option<String>,
    /// A scan that restarted goes on from this modified time.
    pub since: Option<DateTime<Utc>>,
    pub started_at: DateTime<Utc>,
}

/// One record to store, with its match keys.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    pub observation: Observation,
    pub keys: Vec<MatchKey>,
}

/// One page of a scan or one batch of reads by id: one transaction.
#[derive(Clone, Debug)]
pub struct PageCommit<'a> {
    pub entity: &'a EntityName,
    pub side: Side,
    pub module: &'a ModuleName,
    pub observed: Vec<Observed>,
    /// Ids to be read by id, with the reason (`undecodable`, `deleted-feed`, `webhook`, …).
    pub dirty: Vec<(RecordId, String)>,
    /// Ids that this batch settled: no longer dirty.
    pub clean: Vec<RecordId>,
    /// Replaces the cursor, in the same transaction.
    pub cursor: Option<Cursor>,
    /// Reads by id are authoritative; listed rows are accepted by semantics §11.2 only.
    pub authoritative: bool,
    /// Full listing: marks the rows as seen in this epoch.
    pub epoch: Option<u64>,
    pub now: DateTime<Utc>,
}

/// What became of a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// Rows that are new or differ from the stored observation.
    pub changed: u64,
    /// Rows equal to it: nothing was written.
    pub unchanged: u64,
    /// Rows refused as older than, or contradicting, the stored one: now dirty.
    pub stale: u64,
    /// Content differs although the modified time does not: `UNSTAMPED_CHANGE` (authoritative or full reads).
    pub unstamped: u64,
}

/// A record that must be read by id before it is planned again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dirty {
    pub id: RecordId,
    pub reason: String,
    pub attempts: u32,
    /// First time that a read found nothing: weak evidence needs a second one `H` later.
    pub missing_since: Option<DateTime<Utc>>,
    pub next_at: DateTime<Utc>,
}

/// What a read by id found when the record was not there.
#[derive(Clone, Debug, PartialEq)]
pub enum Absence {
    /// Proven, or proven enough: a tombstone is written (the observation becomes `Deleted`).
    Deleted(Deletion),
    /// X: kept dirty until `next_at`; the subject holds with this code.
    Unknown {
        id: RecordId,
        code: Code,
        next_at: DateTime<Utc>,
        missing_since: Option<DateTime<Utc>>,
    },
}

/// A remote write about to be made: written before it (semantics §10.1).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Intent {
    pub id: String,
    pub run: String,
    pub op: Op,
    pub side: Side,
    pub module: ModuleName,
    pub armed_at: DateTime<Utc>,
    /// The target's mapped values as re-read right before, in normal form; empty for creates.
    pub before: BTreeMap<FieldName, Value>,
    pub state: IntentState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IntentState {
    Armed,
    /// Its answer is missing.
    InDoubt,
}

/// How an intent, or a local op, ended: one transaction with everything that follows from it.
#[derive(Clone, Debug, PartialEq)]
pub struct Commit {
    /// `None` for a local op.
    pub intent: Option<String>,
    pub op: Op,
    pub ending: Ending,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Ending {
    /// It took effect.
    Done {
        /// The written record's ID (new for a create); `None` for local ops.
        id: Option<RecordId>,
        /// Modified time the write produced: no evidence of an edit later (P4).
        stamp: Option<DateTime<Utc>>,
        /// Baselines to move with it, both halves; `true` = pinned (`SERVER_REWRITE`). What a local op agrees on
        /// stands in the op itself.
        baseline: BTreeMap<FieldName, (Pair<Value>, bool)>,
        /// The written record as now known on its side, where known.
        observed: Option<Box<Observed>>,
        /// Values overwritten, for the journal and undo.
        before: BTreeMap<FieldName, Value>,
        /// Values written.
        after: BTreeMap<FieldName, Value>,
    },
    /// The answer is missing: the intent stays open, `in_doubt`.
    InDoubt,
    /// Surely no effect: the intent is dropped; the target becomes dirty if `dirty`.
    Dropped { dirty: bool },
    /// Refused for good: quarantined with the payload's fingerprint until it changes.
    Refused {
        code: Code,
        field: Option<FieldName>,
        message: String,
        fingerprint: String,
        retry_at: DateTime<Utc>,
    },
}

/// A run, from its start to its report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    pub id: String,
    pub route: RouteName,
    /// `sync`, `full`, `resync`, `resolve`, `undo`.
    pub mode: String,
    pub started_at: DateTime<Utc>,
    pub finished_at: Option<DateTime<Utc>>,
    pub plan_hash: Option<String>,
    pub phase: String,
    /// What it read, wrote, spent: shown by `runs list`.
    pub counts: BTreeMap<String, u64>,
    /// Exit code of semantics §16, once finished.
    pub exit: Option<u8>,
    pub error: Option<String>,
}

/// One finished write: the journal that `why`, `runs show` and `undo` read. Append-only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Effect {
    pub seq: i64,
    pub run: String,
    pub at: DateTime<Utc>,
    pub op: Op,
    pub record: Option<RecordId>,
    pub before: BTreeMap<FieldName, Value>,
    pub after: BTreeMap<FieldName, Value>,
    /// Baseline of the link before the write: undo brings it back.
    pub baseline_before: Baseline,
    /// State and ends of the link before; `None` when this made the link.
    #[serde(default)]
    pub link_before: Option<LinkBefore>,
}

/// Which rows to list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RowFilter {
    pub entity: Option<EntityName>,
    pub code: Option<Code>,
    /// Only rows still waiting.
    pub open_only: bool,
    pub link: Option<LinkId>,
    /// Only rows about one of these; empty: about anything.
    pub about: Vec<SubjectKey>,
    pub after: Option<String>,
    pub limit: Option<u64>,
}

/// A stored row with its life.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredRow {
    pub row: OpenRow,
    pub run: String,
    pub first_seen: DateTime<Utc>,
    pub last_seen: DateTime<Utc>,
    /// Set when it closed: converged, reverted, resolved, or decided by policy.
    pub closed_at: Option<DateTime<Utc>>,
    pub closed_by: Option<String>,
}

/// A quarantined record or field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quarantine {
    pub subject: SubjectKey,
    pub key: RecordKey,
    pub field: Option<FieldName>,
    pub code: Code,
    pub message: String,
    pub fingerprint: String,
    pub attempts: u32,
    pub next_at: DateTime<Utc>,
}

/// How much the store holds of an entity.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntityCounts {
    /// Alive records.
    pub left: u64,
    pub right: u64,
    /// Live links.
    pub links: u64,
    pub open_rows: u64,
    /// Subjects that the next plan looks at.
    pub attention: u64,
}

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("route `{route}` is in use by {holder} until {until}")]
    Leased { route: RouteName, holder: String, until: DateTime<Utc> },
    #[error("the lease of route `{0}` was lost to another process; nothing was written")]
    LeaseLost(RouteName),
    #[error("the store at {0} belongs to something else: {1}")]
    Foreign(String, String),
    #[error("the store's schema is newer than this program: {0}; install the newer crmsync")]
    TooNew(String),
    #[error("cannot open the store at {0}: {1}")]
    Open(String, String),
    #[error("the store failed: {0}")]
    Database(String),
    #[error("the secret `{0}` stays sealed: {1}")]
    Sealed(String, String),
    #[error("the store holds something unreadable in {0}: {1}")]
    Corrupt(String, String),
}
