//! From stored state to a plan: what the planner is shown, chunk by chunk, so that memory stays small.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use crmsync_core::engine::normalize::match_keys;
use crmsync_core::engine::plan::{EntityPlan, GuardInput, assemble, plan_entity};
use crmsync_core::model::state::{EntityState, PlanContext, Subject, SubjectKey};
use crmsync_core::model::{Entity, EntityName, LinkId, Pair, Plan, RecordId, Side};

use super::error::ServiceError;
use super::identities::{KnownIdentities, PlannedLinks};
use super::run::RunContext;
use crate::store::{RouteMeta, RouteReader, RouteStore};

/// Subjects planned at once.
const CHUNK: u64 = 5_000;

/// What the present configuration means for this run, held against the last one.
pub(super) struct Scope {
    /// Scope and mapping fingerprint by entity: `scope:fields`.
    pub fingerprints: BTreeMap<EntityName, String>,
    /// Filter, matching, user or fields differ: listings are read whole, and no deletes follow.
    pub changed: BTreeSet<EntityName>,
    /// Field mappings differ: every subject is looked at again.
    pub mapping_changed: BTreeSet<EntityName>,
}

impl Scope {
    /// # Errors
    /// When the store belongs to other accounts than the ones signed in.
    pub fn compare(run: &RunContext<'_>, meta: &RouteMeta) -> Result<Self, ServiceError> {
        let accounts = run.route.accounts.as_ref().map(|account| account.fingerprint.as_str());
        let mut scope =
            Self { fingerprints: BTreeMap::new(), changed: BTreeSet::new(), mapping_changed: BTreeSet::new() };
        for entity in run.entities() {
            let fields: Vec<_> = entity.fields.iter().map(|rule| rule.fingerprint.as_str()).collect();
            let fields = &blake3::hash(fields.join("\n").as_bytes()).to_hex()[..16];
            let limits = format!("{}|{}|{}", entity.scope_fingerprint, accounts.left, accounts.right);
            let limits = &blake3::hash(limits.as_bytes()).to_hex()[..16];
            if let Some((old_limits, old_fields)) = meta.scope.get(&entity.name).and_then(|old| old.split_once(':')) {
                if old_limits != limits || old_fields != fields {
                    scope.changed.insert(entity.name.clone());
                    scope.mapping_changed.insert(entity.name.clone());
                }
            }
            scope.fingerprints.insert(entity.name.clone(), format!("{limits}:{fields}"));
        }
        Ok(scope)
    }
}

/// A plan, before a person approved what its guards withhold.
pub(super) struct Planned {
    pub plan: Plan,
}

/// Plans everything that may need an op.
pub(super) async fn plan_route(
    run: &RunContext<'_>,
    store: &RouteStore,
    meta: &RouteMeta,
    scope: &Scope,
) -> Result<Planned, ServiceError> {
    plan(run, store, meta, scope, None).await
}

/// Plans the named subjects only.
pub(super) async fn plan_subjects(
    run: &RunContext<'_>,
    store: &RouteStore,
    meta: &RouteMeta,
    scope: &Scope,
    keys: &BTreeMap<EntityName, Vec<SubjectKey>>,
) -> Result<Planned, ServiceError> {
    plan(run, store, meta, scope, Some(keys)).await
}

async fn plan(
    run: &RunContext<'_>,
    store: &RouteStore,
    meta: &RouteMeta,
    scope: &Scope,
    only: Option<&BTreeMap<EntityName, Vec<SubjectKey>>>,
) -> Result<Planned, ServiceError> {
    let context = PlanContext { now: run.now(), guards: run.settings.guards.clone(), approved: only.is_some() };
    let mut planned_links = PlannedLinks::new();
    let (mut plans, mut inputs) = (Vec::new(), BTreeMap::new());
    for entity in run.entities() {
        run.progress.phase(&format!("planning {}", entity.name), Some(store.attention_count(&entity.name).await?));
        let frame = frame(run, store, meta, scope, entity).await?;
        let mut whole = EntityPlan::new(entity.name.clone());
        let mut cursor = Chunks { entity: &entity.name, only: only.map(|keys| keys.get(&entity.name).map_or(&[][..], Vec::as_slice)), after: None };
        while let Some(subjects) = cursor.next(run, store).await? {
            run.check_cancelled()?;
            let count = subjects.len() as u64;
            let keys: Vec<_> = subjects.iter().map(Subject::key).collect();
            let identities = KnownIdentities::load(store, entity, &subjects, &planned_links).await?;
            let state = EntityState { subjects, ..frame.clone() };
            let state = with_candidates(store, entity, state, &identities).await?;
            let chunk = plan_entity(entity, &state, &identities, &context);
            store.settle(&entity.name, &chunk.settled, &chunk.rows, &keys, &run.id, run.now()).await?;
            remember_links(&mut planned_links, entity, &chunk.planned_links);
            whole.absorb(chunk);
            run.progress.advance(count);
        }
        inputs.insert(entity.name.clone(), guard_input(&frame));
        plans.push(whole);
    }
    let plan = assemble(run.route.name.clone(), plans, &inputs, &run.route.entities, &context);
    Ok(Planned { plan })
}

/// The parts of an entity's state that do not depend on the chunk.
async fn frame(
    run: &RunContext<'_>,
    store: &RouteStore,
    meta: &RouteMeta,
    scope: &Scope,
    entity: &Entity,
) -> Result<EntityState, ServiceError> {
    let (recent_deletes, recent_creates) = store.recent(&entity.name, run.now() - TimeDelta::hours(24)).await?;
    let live_links = store.live_links(&entity.name).await?;
    let mut complete = Pair::new(false, false);
    let mut unhealthy = Pair::new(false, false);
    for side in Side::BOTH {
        complete[side] = store.cursor(&entity.name, side).await?.complete;
        unhealthy[side] = complete[side] && live_links > 0 && store.alive(&entity.name, side).await? * 2 < live_links;
    }
    Ok(EntityState {
        complete,
        unhealthy,
        scope_changed: scope.changed.contains(&entity.name),
        live_links,
        recent_deletes,
        recent_creates,
        first_sync: !meta.approved.contains(&entity.name),
        ..EntityState::default()
    })
}

/// Adds, for the unlinked subjects, every record that could be their counterpart or their double.
async fn with_candidates(
    store: &RouteReader,
    entity: &Entity,
    mut state: EntityState,
    identities: &KnownIdentities,
) -> Result<EntityState, ServiceError> {
    let mut keys = BTreeSet::new();
    let mut ids: Pair<Vec<RecordId>> = Pair::default();
    let mut names: Pair<Vec<RecordId>> = Pair::default();
    for subject in state.subjects.iter().filter(|subject| subject.link.is_none()) {
        for side in Side::BOTH {
            let Some(observation) = &subject.observations[side] else { continue };
            keys.extend(match_keys(entity, observation, identities));
            ids[side].push(observation.key.id.clone());
            names[side.other()].extend(observation.external_id.clone());
        }
    }
    state.by_key = store.candidates(&entity.name, &keys).await?;
    for side in Side::BOTH {
        let holders = store.by_external_id(&entity.name, side.other(), &ids[side]).await?;
        state.by_external_id.extend(holders.into_iter().map(|(id, holders)| ((side.other(), id), holders)));
        let (named, gone) = store.named(&entity.name, side, &names[side]).await?;
        state.named.extend(named.into_iter().map(|(id, candidate)| ((side, id), candidate)));
        state.named_gone.extend(gone.into_iter().map(|id| (side, id)));
    }
    Ok(state)
}

/// Walks the subjects of one entity, or a given list of them.
struct Chunks<'a> {
    entity: &'a EntityName,
    only: Option<&'a [SubjectKey]>,
    after: Option<SubjectKey>,
}

impl Chunks<'_> {
    async fn next(&mut self, run: &RunContext<'_>, store: &RouteStore) -> Result<Option<Vec<Subject>>, ServiceError> {
        let subjects = match &mut self.only {
            Some(rest) => {
                let (now, later) = rest.split_at(rest.len().min(usize::try_from(CHUNK).unwrap_or(usize::MAX)));
                *rest = later;
                if now.is_empty() { Vec::new() } else { store.subjects(self.entity, now, run.now()).await? }
            }
            None => store.attention(self.entity, self.after.as_ref(), CHUNK, run.now()).await?,
        };
        self.after = subjects.last().map(Subject::key);
        Ok((!subjects.is_empty()).then_some(subjects))
    }
}

fn remember_links(all: &mut PlannedLinks, entity: &Entity, planned: &BTreeMap<(Side, RecordId), LinkId>) {
    for ((side, id), link) in planned {
        all.insert((entity.name.clone(), *side, id.clone()), link.clone());
    }
}

fn guard_input(frame: &EntityState) -> GuardInput {
    GuardInput {
        live_links: frame.live_links,
        recent_deletes: frame.recent_deletes.clone(),
        recent_creates: frame.recent_creates.clone(),
        unhealthy: frame.unhealthy.clone(),
        scope_changed: frame.scope_changed,
        first_sync: frame.first_sync,
    }
}
