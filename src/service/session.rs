//! One route, opened from the configuration: what every command works with.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use crmsync_core::mapping::Diagnostic;
use crmsync_core::model::{EntityName, ModuleName, Pair, Plan, RecordId, RouteName, Side};

use super::audit::{AuditReport, audit};
use super::error::ServiceError;
use super::labels::{Labels, Words};
use super::links::Bound;
use super::metadata::{Metadata, compile, modules, read_folder};
use super::run::{
    LEASE, Mode, OpenRoute, Progress, RunContext, RunOptions, RunReport, RunSettings, Safety,
    Silent, sync,
};
use super::topology::refuse_circles;
use super::{connect, forecast, links, review};
use crate::clock::{Ambient, Order};
use crate::config::Config;
use crate::connectors::{Account, Connector, Cost};
use crate::store::{RouteStore, Store, StoreError};

/// A route with its store and both connections open.
pub struct Session {
    pub store: Store,
    pub route: OpenRoute,
    pub settings: RunSettings,
    pub ambient: Ambient,
    /// What the mapping files do not say clearly; shown by `check` and before a run.
    pub warnings: Vec<Diagnostic>,
}

/// A dry run: what would happen, and what it would cost.
#[derive(Clone, Debug, serde::Serialize)]
pub struct PlanOutcome {
    pub plan: Plan,
    /// What its records and values are called.
    #[serde(skip)]
    pub labels: Labels,
    /// Cost of applying it, by side.
    pub forecast: Pair<Cost>,
    /// What planning itself cost.
    pub spent: Pair<Cost>,
}

impl Session {
    /// Opens the store, signs in on both sides and compiles the mapping files.
    ///
    /// # Errors
    /// What is wrong with store, connections or mapping files.
    pub async fn open(
        config: &Config,
        name: &RouteName,
        ambient: &Ambient,
    ) -> Result<Self, ServiceError> {
        let route = config.routes.get(name).ok_or_else(|| unknown_route(config, name))?;
        refuse_circles(config)?;
        let store = connect::open_store(config).await?;
        let left = connect::connector(config, &route.sides.left, &store, ambient).await?;
        let right = connect::connector(config, &route.sides.right, &store, ambient).await?;
        let mut sources = read_folder(&route.mappings)?;
        for source in &mut sources {
            let policy = &mut source.file.conflicts.policy;
            *policy = policy.or(route.conflicts);
        }
        let modules = Pair::new(modules(&sources, Side::Left), modules(&sources, Side::Right));
        let (left_side, right_side) = ambient
            .order
            .both(
                describe(left.as_ref(), &modules.left, ambient.order),
                describe(right.as_ref(), &modules.right, ambient.order),
            )
            .await?;
        let metadata = Pair::new(left_side.0, right_side.0);
        let compiled = compile(&sources, &metadata)?;
        let route = OpenRoute {
            name: name.clone(),
            connectors: Pair::new(left, right),
            connections: route.sides.clone(),
            accounts: Pair::new(left_side.1, right_side.1),
            words: Words::of(&compiled.entities, &metadata),
            entities: compiled.entities,
            deferred: compiled.deferred,
        };
        let settings = RunSettings {
            settle: delta(config.sync.settle),
            overlap_seconds: delta(config.sync.overlap).num_seconds(),
            full_every: delta(config.sync.full_every),
            conditional_up_to: usize::try_from(config.sync.conditional_up_to).unwrap_or(usize::MAX),
            quarantine_retry: delta(config.sync.retry_refused),
            guards: config.guards.clone(),
            safety: Safety::default(),
        };
        Ok(Self { store, route, settings, ambient: ambient.clone(), warnings: compiled.warnings })
    }

    /// Plans and applies in one go.
    ///
    /// # Errors
    /// What ended the run early.
    pub async fn sync(
        &self,
        options: &RunOptions,
        progress: &dyn Progress,
    ) -> Result<RunReport, ServiceError> {
        let store = self.lock().await?;
        let run = self.context(options, progress);
        // Boxed: a run is a deep stack of futures, and callers hold theirs on top of it.
        let report = Box::pin(sync(&run, &store)).await;
        let released = store.release().await;
        let report = report?;
        released?;
        self.keep_metadata().await?;
        Ok(report)
    }

    /// Takes run `undone` back where nobody changed anything since; the route is paused afterwards.
    ///
    /// # Errors
    /// What ended it early: what was taken back until then stays so, and undoing again goes on from there.
    pub async fn undo(
        &self,
        undone: &str,
        options: &RunOptions,
        progress: &dyn Progress,
    ) -> Result<RunReport, ServiceError> {
        let store = self.lock().await?;
        let run = self.context(options, progress);
        let report = Box::pin(review::undo(&run, &store, undone)).await;
        let released = store.release().await;
        let report = report?;
        released?;
        Ok(report)
    }

    /// After an undo: lets the next run do it again.
    ///
    /// # Errors
    /// When the route is not paused by that undo, or the store fails.
    pub async fn redo(
        &self,
        undone: &str,
        progress: &dyn Progress,
    ) -> Result<RunReport, ServiceError> {
        let store = self.lock().await?;
        let options = RunOptions::default();
        let run = self.context(&options, progress);
        let report = Box::pin(review::redo(&run, &store, undone)).await;
        let released = store.release().await;
        let report = report?;
        released?;
        Ok(report)
    }

    /// After an undo: keeps the present state of everything that the undone run wrote.
    ///
    /// # Errors
    /// When the route is not paused by that undo, a side is out of reach, or the store fails.
    pub async fn accept(
        &self,
        undone: &str,
        progress: &dyn Progress,
    ) -> Result<RunReport, ServiceError> {
        let store = self.lock().await?;
        let options = RunOptions::default();
        let run = self.context(&options, progress);
        let report = Box::pin(review::accept(&run, &store, undone)).await;
        let released = store.release().await;
        let report = report?;
        released?;
        Ok(report)
    }

    /// Plans without a writer, on a copy of the store: the real store and both sides stay as they are.
    ///
    /// # Errors
    /// What ended planning early.
    pub async fn plan(
        &self,
        options: &RunOptions,
        progress: &dyn Progress,
    ) -> Result<PlanOutcome, ServiceError> {
        let (copy, _folder) = connect::copy_of(&self.store).await?;
        let now = self.ambient.clock.now();
        let store = copy
            .lock(&self.route.name, &self.ambient.holder, now, Duration::from_hours(24))
            .await?;
        let run = self.context(options, progress);
        let before = self.spent();
        let plan = Box::pin(super::run::dry_run(&run, &store)).await?;
        let after = self.spent();
        let forecast = forecast::forecast(&self.route, &self.settings, &plan);
        let spent = Pair::new(Side::Left, Side::Right).map(|side| Cost {
            calls: after[side].calls - before[side].calls,
            units: after[side].units - before[side].units,
        });
        let labels = Labels::of_plan(&self.route.words, &store, &plan).await?;
        Ok(PlanOutcome { plan, labels, forecast, spent })
    }

    /// Reads both sides whole, on a copy of the store, and compares them.
    ///
    /// # Errors
    /// What ended reading early.
    pub async fn audit(
        &self,
        options: &RunOptions,
        progress: &dyn Progress,
    ) -> Result<AuditReport, ServiceError> {
        let (copy, _folder) = connect::copy_of(&self.store).await?;
        let now = self.ambient.clock.now();
        let store = copy
            .lock(&self.route.name, &self.ambient.holder, now, Duration::from_hours(24))
            .await?;
        let options = RunOptions { mode: Mode::Full, ..options.clone() };
        let before = self.spent();
        let entities = Box::pin(audit(&self.context(&options, progress), &store)).await?;
        let after = self.spent();
        let spent = Pair::new(Side::Left, Side::Right).map(|side| Cost {
            calls: after[side].calls - before[side].calls,
            units: after[side].units - before[side].units,
        });
        Ok(AuditReport { entities, spent })
    }

    /// Binds two records that a person says are one.
    ///
    /// # Errors
    /// When a record is unknown or, unless it moves, linked with another; or the store fails.
    pub async fn link(
        &self,
        entity: &EntityName,
        ends: &Pair<RecordId>,
        bound: Bound,
    ) -> Result<RunReport, ServiceError> {
        let store = self.lock().await?;
        let options = RunOptions::default();
        let run = self.context(&options, &Silent);
        let report = Box::pin(links::link(&run, &store, entity, ends, bound)).await;
        let released = store.release().await;
        let report = report?;
        released?;
        Ok(report)
    }

    /// Parts a record from its counterpart for good.
    ///
    /// # Errors
    /// When no such record is linked, or the store fails.
    pub async fn unlink(
        &self,
        entity: &EntityName,
        id: &RecordId,
    ) -> Result<RunReport, ServiceError> {
        let store = self.lock().await?;
        let options = RunOptions::default();
        let run = self.context(&options, &Silent);
        let report = Box::pin(links::unlink(&run, &store, entity, id)).await;
        let released = store.release().await;
        let report = report?;
        released?;
        Ok(report)
    }

    /// What the records and values of a plan are called, as far as the store knows them.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn labels(&self, plan: &Plan) -> Result<Labels, ServiceError> {
        let reader = self.store.route(&self.route.name);
        Ok(Labels::of_plan(&self.route.words, &reader, plan).await?)
    }

    /// Plans from what the store knows, reading neither side: what planning alone costs.
    ///
    /// # Errors
    /// What the store says.
    pub async fn plan_from_store(&self) -> Result<Plan, ServiceError> {
        let store = self.lock().await?;
        let options = RunOptions::default();
        let plan =
            super::run::plan_known(&self.context(&options, &super::run::Silent), &store).await;
        store.release().await?;
        plan
    }

    /// Takes the route's lease; one whose holder was killed is taken over before it ends.
    async fn lock(&self) -> Result<RouteStore, StoreError> {
        let (name, ambient) = (&self.route.name, &self.ambient);
        match self.store.lock(name, &ambient.holder, ambient.clock.now(), LEASE).await {
            Err(StoreError::Leased { holder, until, .. }) if (ambient.is_gone)(&holder) => {
                self.store.lock(name, &ambient.holder, until, LEASE).await
            }
            other => other,
        }
    }

    /// Ends all connections to the store, and leaves it in one file.
    ///
    /// # Errors
    /// What the store says.
    pub async fn close(self) -> Result<(), ServiceError> {
        Ok(self.store.close().await?)
    }

    fn context<'a>(
        &'a self,
        options: &'a RunOptions,
        progress: &'a dyn Progress,
    ) -> RunContext<'a> {
        RunContext {
            id: self.ambient.ids.next(),
            route: &self.route,
            settings: &self.settings,
            options,
            progress,
            ambient: &self.ambient,
        }
    }

    fn spent(&self) -> Pair<Cost> {
        self.route.connectors.as_ref().map(|connector: &Arc<dyn Connector>| connector.spent())
    }

    /// Stores what both connectors know of their metadata, so that the next process need not ask again.
    async fn keep_metadata(&self) -> Result<(), ServiceError> {
        for side in Side::BOTH {
            let connector = self.route.connectors[side].as_ref();
            connect::keep_metadata(
                &self.store,
                &self.route.connections[side],
                connector,
                &self.ambient,
            )
            .await?;
            let account = &self.route.accounts[side];
            let connection = &self.route.connections[side];
            connect::keep_edition(&self.store, connection, account, &self.ambient).await?;
        }
        self.route.words.keep(&self.store, &self.route.name, &self.ambient).await
    }
}

/// What a side is made of, and who is signed in to it.
async fn describe(
    connector: &dyn Connector,
    modules: &BTreeSet<ModuleName>,
    order: Order,
) -> Result<(Metadata, Account), ServiceError> {
    Ok(order.both(Metadata::load(connector, modules), connector.account()).await?)
}

/// A hundred years are for ever.
fn delta(length: Duration) -> TimeDelta {
    let longest = TimeDelta::days(36_500);
    TimeDelta::from_std(length).unwrap_or(longest).min(longest)
}

fn unknown_route(config: &Config, name: &RouteName) -> ServiceError {
    let known: Vec<_> = config.routes.keys().map(RouteName::as_str).collect();
    ServiceError::Config(format!(
        "there is no route `{name}` in {}; it has: {}",
        config.file.display(),
        known.join(", ")
    ))
}
