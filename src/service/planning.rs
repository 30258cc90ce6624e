//! From stored state to a plan: what the planner is shown, chunk by chunk, so that memory stays small.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use crmsync_core::engine::guard::GuardInput;
use crmsync_core::engine::normalize::match_keys;
use crmsync_core::engine::plan::{EntityPlan, assemble, plan_entity};
use crmsync_core::model::state::{EntityState, MatchKey, PlanContext, Subject, SubjectKey};
use crmsync_core::model::{
    Entity, EntityName, Observation, Op, OpKind, Pair, Plan, RecordId, RecordKey, Side,
};

use super::error::ServiceError;
use super::history::tell_field_times;
use super::identities::{KnownIdentities, PlannedLinks};
use super::run::RunContext;
use crate::store::{RouteMeta, RouteReader, RouteStore};

/// Subjects planned at once: two statements' worth of keys, so that a chunk with its candidates stays small.
const CHUNK: u64 = 1_000;

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
    pub(super) fn compare(run: &RunContext<'_>, meta: &RouteMeta) -> Self {
        let accounts = run.route.accounts.as_ref().map(|account| account.fingerprint.as_str());
        let mut scope = Self {
            fingerprints: BTreeMap::new(),
            changed: BTreeSet::new(),
            mapping_changed: BTreeSet::new(),
        };
        for entity in run.entities() {
            let fields: Vec<_> =
                entity.fields.iter().map(|rule| rule.fingerprint.as_str()).collect();
            let fields = &blake3::hash(fields.join("\n").as_bytes()).to_hex()[..16];
            let limits =
                format!("{}|{}|{}", entity.scope_fingerprint, accounts.left, accounts.right);
            let limits = &blake3::hash(limits.as_bytes()).to_hex()[..16];
            if let Some((old_limits, old_fields)) =
                meta.scope.get(&entity.name).and_then(|old| old.split_once(':'))
                && (old_limits != limits || old_fields != fields)
            {
                scope.changed.insert(entity.name.clone());
                scope.mapping_changed.insert(entity.name.clone());
            }
            scope.fingerprints.insert(entity.name.clone(), format!("{limits}:{fields}"));
        }
        scope
    }
}

/// Whether a person consented to what guards would withhold in this run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Consent {
    Given,
    NotAsked,
}

/// Plans the passes of one run, all against the same state before the run.
pub(super) struct Planner<'a> {
    run: &'a RunContext<'a>,
    store: &'a RouteStore,
    meta: &'a RouteMeta,
    scope: &'a Scope,
    /// How the entities stood before the run wrote anything; looked up for those that have subjects.
    standings: BTreeMap<EntityName, Standing>,
}

/// What guards compare an entity's ops with, before the run: semantics §9.4.
#[derive(Clone)]
struct Standing {
    live_links: u64,
    complete: Pair<bool>,
    unhealthy: Pair<bool>,
}

impl<'a> Planner<'a> {
    pub(super) const fn new(
        run: &'a RunContext<'a>,
        store: &'a RouteStore,
        meta: &'a RouteMeta,
        scope: &'a Scope,
    ) -> Self {
        Self { run, store, meta, scope, standings: BTreeMap::new() }
    }

    /// Plans everything that may need an op.
    pub(super) async fn route(&mut self) -> Result<Plan, ServiceError> {
        self.plan(None, Consent::NotAsked).await
    }

    /// Plans the named subjects only. What a person approved of the run's plan holds for them too, nothing else
    /// does.
    pub(super) async fn subjects(
        &mut self,
        keys: &BTreeMap<EntityName, Vec<SubjectKey>>,
        consent: Consent,
    ) -> Result<Plan, ServiceError> {
        self.plan(Some(keys), consent).await
    }

    async fn plan(
        &mut self,
        only: Option<&BTreeMap<EntityName, Vec<SubjectKey>>>,
        consent: Consent,
    ) -> Result<Plan, ServiceError> {
        let run = self.run;
        let context = PlanContext {
            now: run.now(),
            guards: run.settings.guards.clone(),
            approved: consent == Consent::Given || !run.settings.safety.keeps_guards,
        };
        let mut planned_links = PlannedLinks::default();
        let (mut plans, mut inputs) = (Vec::new(), BTreeMap::new());
        for entity in run.entities() {
            let keys = only.map(|keys| keys.get(&entity.name).map_or(&[][..], Vec::as_slice));
            let (plan, input) = self.entity(entity, keys, &context, &mut planned_links).await?;
            inputs.insert(entity.name.clone(), input);
            plans.push(plan);
        }
        Ok(assemble(run.route.name.clone(), plans, &inputs, &run.route.entities, &context))
    }

    /// Plans the subjects of one entity in chunks. Without subjects nothing is counted.
    async fn entity(
        &mut self,
        entity: &Entity,
        only: Option<&[SubjectKey]>,
        context: &PlanContext,
        planned_links: &mut PlannedLinks,
    ) -> Result<(EntityPlan, GuardInput), ServiceError> {
        let (run, store) = (self.run, self.store);
        let mut whole = EntityPlan::new(entity.name.clone());
        let mut chunks = Chunks { entity: &entity.name, only, after: None };
        let Some(mut subjects) = chunks.next(run, store).await? else {
            return Ok((whole, GuardInput::default()));
        };
        let count = store.attention_count(&entity.name).await?;
        run.progress.phase(&format!("planning {}", entity.name), Some(count));
        let frame = self.frame(entity).await?;
        // A route's first plan runs as a whole; that of an entity which came later may wait while others run.
        let alone = frame.first_sync && !self.meta.approved.is_empty();
        let mut claimed = BTreeSet::new();
        loop {
            run.check_cancelled()?;
            let count = subjects.len() as u64;
            subjects.retain(|subject| !is_claimed(subject, &claimed));
            for subject in &mut subjects {
                subject.in_doubt &= run.settings.safety.freezes_links_in_doubt;
            }
            let chunk = self.chunk(entity, subjects, &frame, context, planned_links).await?;
            remember_links(planned_links, entity, &chunk, alone);
            claimed.extend(chunk.ops.iter().flat_map(bound));
            whole.absorb(chunk);
            run.progress.advance(count);
            match chunks.next(run, store).await? {
                Some(next) => subjects = next,
                None => return Ok((whole, GuardInput::from(&frame))),
            }
        }
    }

    /// Plans one chunk and stores what it came to: settled subjects, open rows, records to be read.
    async fn chunk(
        &self,
        entity: &Entity,
        subjects: Vec<Subject>,
        frame: &EntityState,
        context: &PlanContext,
        planned_links: &PlannedLinks,
    ) -> Result<EntityPlan, ServiceError> {
        let (run, store) = (self.run, self.store);
        let keys: Vec<_> = subjects.iter().map(Subject::key).collect();
        let identities = KnownIdentities::load(store, entity, &subjects, planned_links).await?;
        let state = EntityState { subjects, ..frame.clone() };
        let mut state = with_candidates(store, entity, state, &identities).await?;
        let mut chunk = plan_entity(entity, &state, &identities, context);
        if tell_field_times(run, store, entity, &chunk, &mut state).await? {
            chunk = plan_entity(entity, &state, &identities, context);
        }
        let settled = std::mem::take(&mut chunk.settled);
        store.settle(&entity.name, &settled, &chunk.rows, &keys, &run.id, run.now()).await?;
        for RecordKey { side, id, .. } in std::mem::take(&mut chunk.unseen) {
            let hint = (id, "unseen-end".into());
            store.mark_dirty(&entity.name, side, &[hint], run.now()).await?;
        }
        Ok(chunk)
    }

    /// The parts of an entity's state that do not depend on the chunk.
    async fn frame(&mut self, entity: &Entity) -> Result<EntityState, ServiceError> {
        let name = &entity.name;
        let since = self.run.now() - TimeDelta::hours(24);
        let (recent_deletes, recent_creates) = self.store.recent(name, since).await?;
        let Standing { live_links, complete, unhealthy } = self.standing(name).await?;
        Ok(EntityState {
            complete,
            unhealthy,
            scope_changed: self.scope.changed.contains(name),
            live_links,
            recent_deletes,
            recent_creates,
            first_sync: !self.meta.approved.contains(name),
            ..EntityState::default()
        })
    }

    async fn standing(&mut self, entity: &EntityName) -> Result<Standing, ServiceError> {
        if let Some(known) = self.standings.get(entity) {
            return Ok(known.clone());
        }
        let live_links = self.store.live_links(entity).await?;
        let mut complete = Pair::new(false, false);
        let mut unhealthy = Pair::new(false, false);
        for side in Side::BOTH {
            let cursor = self.store.cursor(entity, side).await?;
            complete[side] = cursor.complete && !cursor.blind;
            unhealthy[side] = cursor.complete
                && live_links > 0
                && self.store.alive(entity, side).await? * 100
                    < live_links * self.run.settings.guards.empty_side_percent;
        }
        let standing = Standing { live_links, complete, unhealthy };
        self.standings.insert(entity.clone(), standing.clone());
        Ok(standing)
    }
}

/// Adds, for the unlinked subjects, every record that could be their counterpart or their double.
async fn with_candidates(
    store: &RouteReader,
    entity: &Entity,
    mut state: EntityState,
    identities: &KnownIdentities,
) -> Result<EntityState, ServiceError> {
    let wanted = Wanted::of(entity, &state.subjects, identities);
    state.by_key = store.candidates(&entity.name, &wanted.keys).await?;
    let strangers = strangers(&state);
    let partners = store.observations(&strangers).await?;
    // A match must be mutual: the candidates' own keys may lead to others.
    let their_keys = partners.iter().flat_map(|partner| match_keys(entity, partner, identities));
    let more: BTreeSet<_> = their_keys.filter(|key| !state.by_key.contains_key(key)).collect();
    state.by_key.extend(store.candidates(&entity.name, &more).await?);
    for side in Side::BOTH {
        let theirs = partners
            .iter()
            .filter(|partner| partner.key.side == side)
            .map(|partner| partner.key.id.clone());
        let ids: Vec<_> = wanted.ids[side].iter().cloned().chain(theirs).collect();
        let holders = store.by_external_id(&entity.name, side.other(), &ids).await?;
        state
            .by_external_id
            .extend(holders.into_iter().map(|(id, holders)| ((side.other(), id), holders)));
        let (named, gone) = store.named(&entity.name, side, &wanted.names[side]).await?;
        state.named.extend(named.into_iter().map(|(id, candidate)| ((side, id), candidate)));
        state.named_gone.extend(gone.into_iter().map(|id| (side, id)));
    }
    state.heirs = heirs(entity, &state, identities);
    let found = store.observations(&holders_unseen(&state, &partners)).await?;
    state.partners = partners
        .into_iter()
        .chain(found)
        .map(|seen| ((seen.key.side, seen.key.id.clone()), seen))
        .collect();
    Ok(state)
}

/// What the subjects of a chunk ask the store about.
#[derive(Default)]
struct Wanted {
    keys: BTreeSet<MatchKey>,
    ids: Pair<Vec<RecordId>>,
    /// Records that external IDs name, and successors of merged or converted ends.
    names: Pair<Vec<RecordId>>,
}

impl Wanted {
    fn of(entity: &Entity, subjects: &[Subject], identities: &KnownIdentities) -> Self {
        let mut wanted = Self::default();
        for subject in subjects {
            for side in Side::BOTH {
                let tombstone = subject.tombstones[side].as_ref();
                wanted.names[side]
                    .extend(tombstone.and_then(|tombstone| tombstone.successor.clone()));
                let Some(observation) = &subject.observations[side] else { continue };
                if subject.link.as_ref().is_none_or(|link| !link.is_live()) {
                    wanted.ids[side].push(observation.key.id.clone());
                }
                if subject.link.is_none() {
                    wanted.names[side.other()].extend(observation.external_id.clone());
                }
                if subject.link.is_none() || tombstone.is_some() {
                    wanted.keys.extend(match_keys(entity, observation, identities));
                }
            }
        }
        wanted
    }
}

/// Candidates that are no subjects of this chunk.
fn strangers(state: &EntityState) -> Vec<RecordKey> {
    let own = |subject: &Subject| {
        Side::BOTH
            .map(|side| subject.observations[side].as_ref().map(|seen| (side, seen.key.id.clone())))
    };
    let own: BTreeSet<_> = state.subjects.iter().flat_map(own).flatten().collect();
    let Some(entity) = state.subjects.iter().find_map(Subject::entity) else { return Vec::new() };
    let all: BTreeSet<_> =
        state.by_key.values().flatten().map(|one| (one.side, one.id.clone())).collect();
    all.difference(&own)
        .map(|(side, id)| RecordKey { entity: entity.clone(), side: *side, id: id.clone() })
        .collect()
}

/// Records that external IDs bring in and that are not loaded yet.
fn holders_unseen(state: &EntityState, partners: &[Observation]) -> Vec<RecordKey> {
    let Some(entity) = state.subjects.iter().find_map(Subject::entity) else { return Vec::new() };
    let known: BTreeSet<_> = partners.iter().map(|seen| (seen.key.side, &seen.key.id)).collect();
    let holders = state.by_external_id.values().flatten().chain(state.named.values());
    let unseen: BTreeSet<_> = holders
        .filter(|one| !known.contains(&(one.side, &one.id)))
        .map(|one| (one.side, one.id.clone()))
        .collect();
    unseen.into_iter().map(|(side, id)| RecordKey { entity: entity.clone(), side, id }).collect()
}

/// Alive records that now carry key values of a deleted one: a merge may hide behind the deletion.
fn heirs(
    entity: &Entity,
    state: &EntityState,
    identities: &KnownIdentities,
) -> BTreeMap<(Side, RecordId), Vec<RecordId>> {
    let mut heirs: BTreeMap<(Side, RecordId), Vec<RecordId>> = BTreeMap::new();
    for subject in state.subjects.iter().filter(|subject| subject.link.is_some()) {
        for side in Side::BOTH.into_iter().filter(|side| subject.tombstones[*side].is_some()) {
            let Some(seen) = &subject.observations[side] else { continue };
            let keys = match_keys(entity, seen, identities);
            let same = keys.iter().filter_map(|key| state.by_key.get(key)).flatten();
            let same: BTreeSet<_> = same
                .filter(|one| one.side == side && one.id != seen.key.id)
                .map(|one| one.id.clone())
                .collect();
            if !same.is_empty() {
                heirs.insert((side, seen.key.id.clone()), same.into_iter().collect());
            }
        }
    }
    heirs
}

/// Walks the subjects of one entity, or a given list of them.
struct Chunks<'a> {
    entity: &'a EntityName,
    only: Option<&'a [SubjectKey]>,
    after: Option<SubjectKey>,
}

impl Chunks<'_> {
    async fn next(
        &mut self,
        run: &RunContext<'_>,
        store: &RouteStore,
    ) -> Result<Option<Vec<Subject>>, ServiceError> {
        let subjects = match &mut self.only {
            Some(rest) => {
                let (now, later) =
                    rest.split_at(rest.len().min(usize::try_from(CHUNK).unwrap_or(usize::MAX)));
                *rest = later;
                if now.is_empty() {
                    Vec::new()
                } else {
                    store.subjects(self.entity, now, run.now()).await?
                }
            }
            None => store.attention(self.entity, self.after.as_ref(), CHUNK, run.now()).await?,
        };
        self.after = subjects.last().map(Subject::key);
        Ok((!subjects.is_empty()).then_some(subjects))
    }
}

/// Records that an op of this plan binds: planned already when they come up as subjects of their own.
fn bound(op: &Op) -> Vec<(Side, RecordId)> {
    match &op.kind {
        OpKind::Link { ends, .. } => {
            vec![(Side::Left, ends.left.clone()), (Side::Right, ends.right.clone())]
        }
        OpKind::Create { .. }
        | OpKind::Update { .. }
        | OpKind::Delete { .. }
        | OpKind::Archive { .. }
        | OpKind::Agree { .. }
        | OpKind::Relate { .. }
        | OpKind::Revive { .. } => Vec::new(),
    }
}

fn is_claimed(subject: &Subject, claimed: &BTreeSet<(Side, RecordId)>) -> bool {
    let is_it = |side: Side| {
        subject.observations[side]
            .as_ref()
            .is_some_and(|seen| claimed.contains(&(side, seen.key.id.clone())))
    };
    subject.link.is_none() && (is_it(Side::Left) || is_it(Side::Right))
}

fn remember_links(all: &mut PlannedLinks, entity: &Entity, chunk: &EntityPlan, alone: bool) {
    for ((side, id), link) in &chunk.planned_links {
        all.creates(&entity.name, *side, id, link);
    }
    // It may be withheld: nothing is to rest on its links yet.
    if alone {
        return;
    }
    for op in &chunk.ops {
        if let OpKind::Link { ends, .. } = &op.kind {
            all.links(&entity.name, ends);
        }
    }
}
