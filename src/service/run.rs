//! The order of a run, on one page: semantics §4.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use crmsync_core::model::plan::GuardTrip;
use crmsync_core::model::state::{GuardLimits, SubjectKey};
use crmsync_core::model::{
    Code, Entity, EntityName, FieldName, OpKind, OpenRow, Pair, Plan, RecordId, RecordKey,
    RouteName, Side,
};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tracing::instrument;

use super::apply::{Applier, Tally};
use super::error::{Exit, ServiceError};
use super::inbox::take_in;
use super::labels::{Labels, Words};
use super::observe::{Extent, Observer};
use super::planning::{Consent, Planner, Scope};
use super::recover::recover;
use super::spending::hour;
use crate::clock::Ambient;
use crate::connectors::{Account, Connector, Cost};
use crate::store::{RouteMeta, RouteStore, RunRecord, StoreError};

/// How long a lease holds without renewal.
pub const LEASE: Duration = Duration::from_mins(1);
/// Passes that settle what a first pass made possible: references to new records, values that servers filled in.
const SETTLING_PASSES: u32 = 3;

/// A route with everything it needs to run: compiled mappings, connections, settings.
pub struct OpenRoute {
    pub name: RouteName,
    pub connectors: Pair<Arc<dyn Connector>>,
    /// Names of the connections in the configuration.
    pub connections: Pair<String>,
    pub accounts: Pair<Account>,
    /// Parents first.
    pub entities: Vec<Entity>,
    /// Self-references and cycles: always written in a second pass.
    pub deferred: Vec<(EntityName, FieldName)>,
    /// What its values are called.
    pub words: Words,
}

/// Numbers of semantics.md that configuration may change.
#[derive(Clone, Debug)]
pub struct RunSettings {
    /// `H`: an open intent is acted on only after it.
    pub settle: TimeDelta,
    /// Seconds read again before the watermark.
    pub overlap_seconds: i64,
    /// Every listing is read whole after this long.
    pub full_every: TimeDelta,
    /// `auto` write mode updates conditionally up to this many records of an entity and side.
    pub conditional_up_to: usize,
    pub quarantine_retry: TimeDelta,
    pub guards: GuardLimits,
    pub safety: Safety,
}

/// Rules that keep data safe, each with the law it serves. No configuration reaches them: the simulation switches
/// them off one at a time to show that it would notice, and that none of them is there in vain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each rule is switched alone")]
pub struct Safety {
    /// A write is written down before it is sent: semantics §10.1 (4).
    pub arms_intents: bool,
    /// A target is read again right before it is written: semantics §10.1 (2).
    pub rereads_targets: bool,
    /// A create carries the ID of its source: semantics §6.1.
    pub sends_external_ids: bool,
    /// A listed row never replaces a newer observation: semantics §11.2.
    pub doubts_listed_rows: bool,
    /// A pass that met rows newer than itself is repeated: semantics §11.3.
    pub repeats_unsafe_scans: bool,
    /// A live link without an observation is read by id: semantics §7.2.
    pub rereads_lost_ends: bool,
    /// A link with a write in doubt is left alone on both sides: semantics §10.3.
    pub freezes_links_in_doubt: bool,
    /// An update found to have happened was an agreement: semantics §10.3.
    pub agrees_in_recovery: bool,
    /// Guards withhold what is unlikely to be meant: semantics §9.4.
    pub keeps_guards: bool,
}

impl Default for Safety {
    fn default() -> Self {
        Self {
            arms_intents: true,
            rereads_targets: true,
            sends_external_ids: true,
            doubts_listed_rows: true,
            repeats_unsafe_scans: true,
            rereads_lost_ends: true,
            freezes_links_in_doubt: true,
            agrees_in_recovery: true,
            keeps_guards: true,
        }
    }
}

impl Default for RunSettings {
    fn default() -> Self {
        Self {
            settle: TimeDelta::seconds(120),
            overlap_seconds: 300,
            full_every: TimeDelta::days(7),
            conditional_up_to: 50,
            quarantine_retry: TimeDelta::hours(24),
            guards: GuardLimits::default(),
            safety: Safety::default(),
        }
    }
}

/// What kind of run it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    #[default]
    Sync,
    /// Reads every listing whole.
    Full,
    /// Forgets the baselines of the chosen entities and agrees anew: semantics §14.2.
    Resync,
    /// Reads only the records that are known to have changed: what webhooks hinted at. Lists are left to the next
    /// run that is due, and so is everything where something else than records changed.
    Hints,
}

impl Mode {
    /// As runs are stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::Full => "full",
            Self::Resync => "resync",
            Self::Hints => "hints",
        }
    }
}

/// Asks a person whether a plan may run.
pub type Ask = Arc<dyn Fn(&Proposal) -> bool + Send + Sync>;

/// A plan that waits for a person, with what its records and values are called.
pub struct Proposal {
    pub plan: Plan,
    pub labels: Labels,
}

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
    /// Only this record: `entity` and ID on either side.
    pub record: Option<String>,
    /// Only these ops, from a saved plan.
    pub only: Option<Plan>,
    /// Wait until intents of an interrupted run may be settled, instead of leaving them to a later run.
    pub wait_for_settling: bool,
    pub cancel: CancellationToken,
}

/// Shows a person how a run gets on.
pub trait Progress: Send + Sync {
    fn phase(&self, name: &str, total: Option<u64>);
    fn advance(&self, by: u64);
    fn note(&self, line: &str);
}

/// Shows nothing.
pub struct Silent;

impl Progress for Silent {
    fn phase(&self, _: &str, _: Option<u64>) {}
    fn advance(&self, _: u64) {}
    fn note(&self, _: &str) {}
}

/// What a run did.
#[derive(Clone, Debug, Serialize)]
pub struct RunReport {
    pub run: RunRecord,
    pub plan: Plan,
    pub tally: Tally,
    /// Rows that still wait, after the run.
    pub open_rows: u64,
    /// Conflicts and questions of this run, decided ones too.
    pub rows: Vec<OpenRow>,
    pub cost: Pair<Cost>,
    #[serde(skip)]
    pub exit: Exit,
}

/// What every step of one run shares.
pub struct RunContext<'a> {
    pub id: String,
    pub route: &'a OpenRoute,
    pub settings: &'a RunSettings,
    pub options: &'a RunOptions,
    pub progress: &'a dyn Progress,
    pub ambient: &'a Ambient,
}

impl RunContext<'_> {
    pub fn now(&self) -> DateTime<Utc> {
        self.ambient.clock.now()
    }

    /// # Errors
    /// [`ServiceError::Cancelled`] once the person asked to stop: called only where stopping is safe.
    pub fn check_cancelled(&self) -> Result<(), ServiceError> {
        if self.options.cancel.is_cancelled() { Err(ServiceError::Cancelled) } else { Ok(()) }
    }

    /// The entities this run is about, parents first.
    pub fn entities(&self) -> impl Iterator<Item = &Entity> {
        let chosen = &self.options.entities;
        self.route
            .entities
            .iter()
            .filter(move |entity| chosen.is_empty() || chosen.contains(&entity.name))
    }
}

/// Makes one run under a lease that is renewed while it works.
///
/// # Errors
/// What ended it early; everything committed until then stays.
#[instrument(skip_all, fields(run.id = %run.id, route = %run.route.name))]
pub async fn sync(run: &RunContext<'_>, store: &RouteStore) -> Result<RunReport, ServiceError> {
    let steps = async |record: &mut RunRecord| steps(run, store, record).await;
    recorded(run, store, run.options.mode.as_str(), steps).await
}

/// Runs `steps` under the lease, from the run's record to its report.
pub(super) async fn recorded(
    run: &RunContext<'_>,
    store: &RouteStore,
    mode: &str,
    steps: impl AsyncFnOnce(&mut RunRecord) -> Result<(Plan, Tally), ServiceError>,
) -> Result<RunReport, ServiceError> {
    let mut record = RunRecord {
        id: run.id.clone(),
        route: run.route.name.clone(),
        mode: mode.to_owned(),
        started_at: run.now(),
        finished_at: None,
        plan_hash: None,
        phase: "observe".into(),
        counts: BTreeMap::new(),
        exit: None,
        error: None,
    };
    store.save_run(&record).await?;
    let spent_before = spent(run);
    let result = tokio::select! {
        result = steps(&mut record) => result,
        lost = keep_lease(run, store) => Err(lost.into()),
    };
    record.finished_at = Some(run.now());
    let kept = keep_spent(run, store).await;
    let cost = difference(&spent(run), &spent_before);
    for side in Side::BOTH {
        record.counts.insert(format!("{side}.calls"), cost[side].calls);
        record.counts.insert(format!("{side}.units"), cost[side].units);
    }
    match result {
        Ok((plan, tally)) => {
            kept?;
            let open_rows = store.open_row_count().await?;
            let exit = exit_of(&plan, &tally, open_rows);
            record.phase = "done".into();
            record.exit = Some(exit.code());
            tally.count_into(&mut record.counts);
            store.save_run(&record).await?;
            let rows = plan.rows.clone();
            Ok(RunReport { run: record, plan, tally, open_rows, rows, cost, exit })
        }
        Err(error) => {
            record.exit = Some(error.exit().code());
            record.error = Some(error.to_string());
            // The first error is the one to report; a store that is gone cannot be told about it.
            let _ = store.save_run(&record).await;
            Err(error)
        }
    }
}

/// The steps of semantics §4, in order.
async fn steps(
    run: &RunContext<'_>,
    store: &RouteStore,
    record: &mut RunRecord,
) -> Result<(Plan, Tally), ServiceError> {
    let meta = store.meta().await?;
    if let Some(undone) = &meta.paused {
        return Err(ServiceError::Paused {
            route: run.route.name.to_string(),
            run: undone.clone(),
        });
    }
    let scope = prepare(run, store, &meta).await?;
    recover(run, store).await?;
    let unstamped = observe_all(run, store, &meta, &scope).await?;
    if unstamped > 0 {
        record.counts.insert("unstamped".into(), unstamped);
    }
    record.phase = "plan".into();
    let mut planner = Planner::new(run, store, &meta, &scope);
    let mut plan = planner.route().await?;
    if run.options.mode == Mode::Hints && look_for_counterparts(run, store, &plan).await? {
        planner = Planner::new(run, store, &meta, &scope);
        plan = planner.route().await?;
    }
    let (plan, approved) = approve(run, store, plan).await?;
    record.plan_hash = Some(plan.hash.clone());
    record.phase = "apply".into();
    store.save_run(record).await?;
    let applier = Applier::new(run, store);
    let mut tally = applier.apply(&plan).await?;
    let consent = if approved { Consent::Given } else { Consent::NotAsked };
    settle_passes(run, store, &mut planner, consent, &mut tally).await?;
    finish_meta(run, store, &meta, &scope, &plan, approved).await?;
    Ok((plan, tally))
}

/// The same steps up to the plan, for a copy of the store that is thrown away afterwards.
pub(super) async fn dry_run(
    run: &RunContext<'_>,
    store: &RouteStore,
) -> Result<Plan, ServiceError> {
    let meta = store.meta().await?;
    let scope = prepare(run, store, &meta).await?;
    observe_all(run, store, &meta, &scope).await?;
    Planner::new(run, store, &meta, &scope).route().await
}

/// Plans from what the store knows, reading neither side.
pub(super) async fn plan_known(
    run: &RunContext<'_>,
    store: &RouteStore,
) -> Result<Plan, ServiceError> {
    let meta = store.meta().await?;
    let scope = Scope::compare(run, &meta);
    Planner::new(run, store, &meta, &scope).route().await
}

/// Fingerprints, mode and what they force, before anything is read.
pub(super) async fn prepare(
    run: &RunContext<'_>,
    store: &RouteStore,
    meta: &RouteMeta,
) -> Result<Scope, ServiceError> {
    refuse_other_accounts(run, meta)?;
    take_in(run, store).await?;
    for entity in &run.route.entities {
        let prints = entity.fields.iter().map(|rule| (rule.name.clone(), rule.fingerprint.clone()));
        store.agree_under(&entity.name, prints.collect());
    }
    let scope = Scope::compare(run, meta);
    for entity in run.entities() {
        if scope.mapping_changed.contains(&entity.name) {
            store.touch_all(&entity.name).await?;
        }
        if run.options.mode == Mode::Resync {
            store.drop_baselines(Some(&entity.name)).await?;
        }
    }
    Ok(scope)
}

/// A store remembers records of two organizations; under others, all of them would look deleted or new.
fn refuse_other_accounts(run: &RunContext<'_>, meta: &RouteMeta) -> Result<(), ServiceError> {
    let now = identity(run);
    let Some(known) = meta.identity.as_ref().filter(|known| **known != now) else { return Ok(()) };
    let why = format!(
        "route `{}` was synced between {} and {}, and its connections now lead to {} and {}; \
         give these a store of their own, or sign in where the route was before",
        run.route.name, known.left, known.right, now.left, now.right
    );
    Err(StoreError::Foreign("`store.url`".into(), why).into())
}

/// Both organizations, without the users: another user is a change of scope.
fn identity(run: &RunContext<'_>) -> Pair<String> {
    run.route.accounts.as_ref().map(|account| {
        let organization = account.fingerprint.rsplit_once(':').map(|(before, _)| before);
        organization.unwrap_or(&account.fingerprint).to_owned()
    })
}

/// Reads both sides of every entity; the two sides of one entity at the same time. Answers how many records had
/// changed without a new modified time (`UNSTAMPED_CHANGE`): a sign that assumption A3 does not hold.
pub(super) async fn observe_all(
    run: &RunContext<'_>,
    store: &RouteStore,
    meta: &RouteMeta,
    scope: &Scope,
) -> Result<u64, ServiceError> {
    let mut unstamped = 0;
    let due = meta.last_full.is_none_or(|last| run.now() - last >= run.settings.full_every);
    for entity in run.entities() {
        run.progress.phase(&format!("reading {}", entity.name), None);
        let changed = scope.changed.contains(&entity.name);
        let whole = match run.options.mode {
            Mode::Full | Mode::Resync => true,
            Mode::Sync => due || changed,
            Mode::Hints => changed,
        };
        let extent = if whole { Extent::Full } else { Extent::Delta };
        let (left, right) = (
            Observer::new(run, store, entity, Side::Left),
            Observer::new(run, store, entity, Side::Right),
        );
        if let Some(record) = &run.options.record {
            mark_record(run, store, entity, record).await?;
            run.ambient.order.both(left.drain_dirty(), right.drain_dirty()).await?;
        } else if run.options.mode == Mode::Hints && !whole {
            run.ambient.order.both(left.drain_dirty(), right.drain_dirty()).await?;
        } else {
            if run.settings.safety.rereads_lost_ends {
                reread_lost_ends(run, store, entity).await?;
            }
            let observed = run.ambient.order.both(left.observe(extent), right.observe(extent));
            let (left, right) = observed.await?;
            unstamped += left.unstamped + right.unstamped;
        }
    }
    if unstamped > 0 {
        tracing::warn!(code = %Code::UnstampedChange, unstamped, "changed without a new modified time");
    }
    Ok(unstamped)
}

/// "No match" rests on what the other side was last seen to hold, which hints alone leave old: where something would
/// be created, that side is read up to now first. Answers whether there was need to.
async fn look_for_counterparts(
    run: &RunContext<'_>,
    store: &RouteStore,
    plan: &Plan,
) -> Result<bool, ServiceError> {
    let created = plan.ops.iter().filter_map(|op| match &op.kind {
        OpKind::Create { side, .. } => Some((op.entity.clone(), *side)),
        OpKind::Link { .. }
        | OpKind::Update { .. }
        | OpKind::Delete { .. }
        | OpKind::Archive { .. }
        | OpKind::Agree { .. }
        | OpKind::Relate { .. }
        | OpKind::Revive { .. } => None,
    });
    let created: BTreeSet<_> = created.collect();
    for entity in run.entities() {
        for side in Side::BOTH {
            if created.contains(&(entity.name.clone(), side)) {
                Observer::new(run, store, entity, side).observe(Extent::Delta).await?;
            }
        }
    }
    Ok(!created.is_empty())
}

/// A live link without an observation on a side is never skipped silently: semantics §7.2.
async fn reread_lost_ends(
    run: &RunContext<'_>,
    store: &RouteStore,
    entity: &Entity,
) -> Result<(), ServiceError> {
    for RecordKey { side, id, .. } in store.link_ends_without_observation(&entity.name).await? {
        store
            .mark_dirty(&entity.name, side, &[(id, "link-without-observation".into())], run.now())
            .await?;
    }
    Ok(())
}

async fn mark_record(
    run: &RunContext<'_>,
    store: &RouteStore,
    entity: &Entity,
    record: &str,
) -> Result<(), ServiceError> {
    for side in Side::BOTH {
        let key = RecordKey { entity: entity.name.clone(), side, id: RecordId::new(record) };
        let Some(subject) = store.subject_of(&key).await? else { continue };
        for subject in store.subjects(&entity.name, &[subject], run.now()).await? {
            for side in Side::BOTH {
                if let Some(observation) = &subject.observations[side] {
                    let hint = (observation.key.id.clone(), "asked-for".to_owned());
                    store.mark_dirty(&entity.name, side, &[hint], run.now()).await?;
                }
            }
        }
    }
    Ok(())
}

/// Releases guarded ops when a person approved exactly this plan.
pub(super) async fn approve(
    run: &RunContext<'_>,
    store: &RouteStore,
    mut plan: Plan,
) -> Result<(Plan, bool), ServiceError> {
    let needs_approval = plan.guards.iter().any(|guard| !guard.withheld.is_empty());
    let by_hash = run.options.approve.as_deref() == Some(plan.hash.as_str());
    let approved = match &run.options.ask {
        Some(_) | None if !needs_approval => false,
        Some(_) | None if by_hash => true,
        Some(ask) => {
            let labels = Labels::of_plan(&run.route.words, store, &plan).await?;
            let proposal = Proposal { plan, labels };
            let answer = ask(&proposal);
            plan = proposal.plan;
            answer
        }
        None => false,
    };
    if approved {
        crmsync_core::engine::plan::approve(&mut plan, &run.route.entities);
    }
    if let Some(only) = &run.options.only {
        plan.keep_only(only);
    }
    Ok((plan, approved))
}

/// Plans again what the applied ops made possible: second-pass references, values that servers filled in.
async fn settle_passes(
    run: &RunContext<'_>,
    store: &RouteStore,
    planner: &mut Planner<'_>,
    consent: Consent,
    tally: &mut Tally,
) -> Result<(), ServiceError> {
    for _ in 0..SETTLING_PASSES {
        let touched = std::mem::take(&mut tally.touched);
        if touched.is_empty() || run.options.only.is_some() {
            return Ok(());
        }
        for entity in run.entities() {
            let sides = [
                Observer::new(run, store, entity, Side::Left),
                Observer::new(run, store, entity, Side::Right),
            ];
            for side in sides {
                side.drain_dirty().await?;
            }
        }
        let keys = still_marked(store, touched).await?;
        let plan = planner.subjects(&keys, consent).await?;
        let later = Applier::new(run, store).apply(&plan).await?;
        tally.absorb(later);
    }
    Ok(())
}

/// Those of the touched subjects that their commits left something to do for.
async fn still_marked(
    store: &RouteStore,
    touched: BTreeSet<(EntityName, SubjectKey)>,
) -> Result<BTreeMap<EntityName, Vec<SubjectKey>>, ServiceError> {
    let mut by_entity: BTreeMap<EntityName, Vec<SubjectKey>> = BTreeMap::new();
    for (entity, subject) in touched {
        by_entity.entry(entity).or_default().push(subject);
    }
    for (entity, subjects) in &mut by_entity {
        *subjects = store.marked_among(entity, subjects).await?;
    }
    Ok(by_entity)
}

/// Remembers what this run was made under, once it is through.
async fn finish_meta(
    run: &RunContext<'_>,
    store: &RouteStore,
    before: &RouteMeta,
    scope: &Scope,
    plan: &Plan,
    approved: bool,
) -> Result<(), ServiceError> {
    let mut meta = before.clone();
    meta.identity = Some(identity(run));
    let whole = run.options.entities.is_empty() && run.options.record.is_none();
    let full = match run.options.mode {
        Mode::Full | Mode::Resync => true,
        Mode::Sync => meta.last_full.is_none_or(|at| run.now() - at >= run.settings.full_every),
        Mode::Hints => false,
    };
    if whole && full {
        meta.last_full = Some(run.now());
    }
    for entity in run.entities() {
        let is_held = |guard: &&GuardTrip| !guard.withheld.is_empty();
        let mut held = plan.guards.iter().filter(is_held);
        // A route's first plan is approved as a whole: an entity without ops does not go ahead of the others.
        let waits = held.any(|guard| guard.entity == entity.name || guard.code == Code::FirstSync);
        if !waits || approved {
            meta.scope.insert(entity.name.clone(), scope.fingerprints[&entity.name].clone());
            if !meta.approved.contains(&entity.name) {
                meta.approved.push(entity.name.clone());
            }
        }
    }
    if meta != *before {
        store.save_meta(&meta).await?;
    }
    Ok(())
}

/// A plan of nothing, for ops that no planning made.
pub(super) fn empty_plan(run: &RunContext<'_>) -> Plan {
    Plan {
        route: run.route.name.clone(),
        ops: Vec::new(),
        rows: Vec::new(),
        guards: Vec::new(),
        unchanged: BTreeMap::new(),
        hash: String::new(),
    }
}

/// Remembers what both connections cost until now: a process that is killed forgets little.
async fn keep_spent(run: &RunContext<'_>, store: &RouteStore) -> Result<(), StoreError> {
    for side in Side::BOTH {
        let Cost { calls, units } = run.route.connectors[side].take_spent();
        if calls > 0 {
            store.spend(&run.route.connections[side], &hour(run.now()), units, calls).await?;
        }
    }
    Ok(())
}

/// Renews the lease until it is lost.
async fn keep_lease(run: &RunContext<'_>, store: &RouteStore) -> StoreError {
    loop {
        tokio::time::sleep(LEASE / 3).await;
        let renewed = store.renew(run.now(), LEASE).await;
        if let Err(error) = renewed.and(keep_spent(run, store).await) {
            return error;
        }
    }
}

fn exit_of(plan: &Plan, tally: &Tally, open_rows: u64) -> Exit {
    if let Some(paused) = tally.paused_exit() {
        paused
    } else if plan.guards.iter().any(|guard| !guard.withheld.is_empty()) {
        Exit::Guard
    } else if open_rows > 0 || tally.failed > 0 || tally.in_doubt > 0 {
        Exit::Open
    } else {
        Exit::Clean
    }
}

fn spent(run: &RunContext<'_>) -> Pair<Cost> {
    run.route.connectors.as_ref().map(|connector| connector.spent())
}

fn difference(after: &Pair<Cost>, before: &Pair<Cost>) -> Pair<Cost> {
    let one = |side: Side| Cost {
        calls: after[side].calls - before[side].calls,
        units: after[side].units - before[side].units,
    };
    Pair::new(one(Side::Left), one(Side::Right))
}
