//! The door to the service: everything here needs a running route, an open store or a signed-in connection.
//!
//! Commands know this file and nothing behind it. Read the functions at the end first: one an operation.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use crmsync_core::mapping::Diagnostic;
use crmsync_core::model::row::Resolution;
use crmsync_core::model::{
    EntityName, Link, LinkId, Observation, OpenRow, Pair, Plan, RecordId, RecordKey, RouteName,
};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::args::ModuleTarget;
use super::context::Context;
use super::exit::{Exit, Failure};
use super::progress::Progress;
use crate::config::{Config, Route};
use crate::connectors::{Connector, Cost};
use crate::store::{Effect, Quarantine, RouteMeta, RowFilter, RunRecord, StoreError, StoredRow};

/// What kind of run it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    #[default]
    Sync,
    /// Reads every listing whole.
    Full,
    /// Forgets the baselines and agrees anew: semantics §14.2.
    Resync,
}

/// Asks a person whether a plan may run.
pub type Ask = Arc<dyn Fn(&Plan) -> bool + Send + Sync>;

/// What a command asks of a run.
#[derive(Clone, Default)]
pub struct RunOptions {
    /// Empty: all entities of the route.
    pub entities: Vec<EntityName>,
    /// Hash of a plan that a person approved.
    pub approve: Option<String>,
    /// Asked when guards trip and no hash was given.
    pub ask: Option<Ask>,
    pub mode: Mode,
    /// Only this record, by its ID on either side.
    pub record: Option<String>,
    /// Only these ops, from a saved plan.
    pub only: Option<Plan>,
    pub cancel: CancellationToken,
}

/// A dry run: what would happen, and what it would cost.
#[derive(Clone, Debug, Serialize)]
pub struct PlanOutcome {
    pub plan: Plan,
    /// Cost of applying it, by side.
    pub forecast: Pair<Cost>,
    /// What planning itself cost.
    pub spent: Pair<Cost>,
}

/// What a run did.
#[derive(Clone, Debug, Serialize)]
pub struct RunReport {
    pub run: RunRecord,
    pub plan: Plan,
    /// Rows that still wait, after the run.
    pub open_rows: u64,
    /// Conflicts and questions of this run, decided ones too.
    pub rows: Vec<OpenRow>,
    pub cost: Pair<Cost>,
    #[serde(skip)]
    pub exit: Exit,
}

/// What the store tells a person, and what a person tells the store.
#[async_trait]
pub(super) trait History: Send + Sync {
    async fn rows(&self, route: &RouteName, filter: &RowFilter) -> Result<Vec<StoredRow>, StoreError>;
    /// Stores decisions; the next run carries them out while their fingerprints still match.
    async fn decide(&self, route: &RouteName, decisions: &[Resolution]) -> Result<(), StoreError>;
    async fn quarantines(&self, route: &RouteName) -> Result<Vec<Quarantine>, StoreError>;
    /// Lets a quarantined record or field try again in the next run.
    async fn release(&self, route: &RouteName, quarantine: &Quarantine) -> Result<(), StoreError>;
    /// Newest first.
    async fn runs(&self, route: &RouteName, limit: u64) -> Result<Vec<RunRecord>, StoreError>;
    async fn run(&self, id: &str) -> Result<Option<RunRecord>, StoreError>;
    /// In the order they were made.
    async fn effects(&self, route: &RouteName, run: &str) -> Result<Vec<Effect>, StoreError>;
    async fn effects_of(&self, route: &RouteName, link: &LinkId) -> Result<Vec<Effect>, StoreError>;
    /// The live link that holds record `id` on either side.
    async fn link(
        &self,
        route: &RouteName,
        entity: &EntityName,
        id: &RecordId,
    ) -> Result<Option<Link>, StoreError>;
    async fn observation(
        &self,
        route: &RouteName,
        key: &RecordKey,
    ) -> Result<Option<Observation>, StoreError>;
    async fn meta(&self, route: &RouteName) -> Result<RouteMeta, StoreError>;
}
