//! Puts decisions together: one entity's plan from its subjects, and a run's plan from its entities'.
//! Semantics §4, §9.4, §16.

use std::collections::{BTreeMap, BTreeSet};

use super::create::Creation;
use super::fields::Meeting;
use super::guard::{GuardCounters, GuardInput, Guarded, guard_ops, strip_references};
use super::matching::{Decision, Matcher};
use super::merge::{Ends, Unit};
use super::rows::{About, fingerprint};
use crate::model::link::TombstoneCause;
use crate::model::plan::GuardTrip;
use crate::model::row::{RowId, RowKind};
use crate::model::state::{EntityState, Identities, PlanContext, Subject, SubjectKey};
use crate::model::{
    Code, Entity, EntityName, LinkId, LinkState, Observation, Op, OpKind, OpenRow, Pair, Plan,
    Presence, RecordId, RecordKey, RouteName, Side,
};

/// What one entity, or a chunk of its subjects, asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct EntityPlan {
    pub entity: EntityName,
    pub ops: Vec<Op>,
    pub rows: Vec<OpenRow>,
    /// Nothing is left to do: no op, no open row.
    pub settled: Vec<SubjectKey>,
    /// Records to be read by ID before they are planned again: ends without an observation, unknown successors.
    pub unseen: Vec<RecordKey>,
    /// Linked pairs found unchanged.
    pub unchanged: u64,
    /// Creates: source record → link.
    pub planned_links: BTreeMap<(Side, RecordId), LinkId>,
    pub counters: GuardCounters,
}

impl EntityPlan {
    /// A plan of nothing.
    pub fn new(entity: EntityName) -> Self {
        Self {
            entity,
            ops: Vec::new(),
            rows: Vec::new(),
            settled: Vec::new(),
            unseen: Vec::new(),
            unchanged: 0,
            planned_links: BTreeMap::new(),
            counters: GuardCounters::default(),
        }
    }

    /// Adds the plan of another chunk of the same entity.
    pub fn absorb(&mut self, other: Self) {
        self.ops.extend(other.ops);
        self.rows.extend(other.rows);
        self.settled.extend(other.settled);
        self.unseen.extend(other.unseen);
        self.unchanged += other.unchanged;
        self.planned_links.extend(other.planned_links);
        self.counters.absorb(other.counters);
    }
}

/// What every decision about one chunk may look at.
pub(super) struct Planning<'a> {
    pub(super) entity: &'a Entity,
    pub(super) state: &'a EntityState,
    pub(super) ids: &'a dyn Identities,
    pub(super) context: &'a PlanContext,
    pub(super) units: Vec<Unit<'a>>,
    matcher: Matcher<'a>,
    unlinked: BTreeMap<(Side, &'a RecordId), &'a Subject>,
}

/// Plans one entity from a chunk (or all) of its subjects. Pure; the order of the subjects does not matter.
pub fn plan_entity(
    entity: &Entity,
    state: &EntityState,
    ids: &dyn Identities,
    context: &PlanContext,
) -> EntityPlan {
    let planning = Planning::new(entity, state, ids, context);
    let mut plan = EntityPlan::new(entity.name.clone());
    for subject in &state.subjects {
        match &subject.link {
            Some(link) => {
                let known = plan.ops.len();
                planning.reconcile(subject, link, &mut plan);
                for op in &plan.ops[known..] {
                    plan.counters.count(op);
                }
            }
            None => planning.match_record(subject, &mut plan),
        }
    }
    plan
}

impl<'a> Planning<'a> {
    fn new(
        entity: &'a Entity,
        state: &'a EntityState,
        ids: &'a dyn Identities,
        context: &'a PlanContext,
    ) -> Self {
        let unlinked = state.subjects.iter().filter(|subject| subject.link.is_none());
        let unlinked = unlinked.filter_map(|subject| {
            let seen = own(subject)?;
            Some(((seen.key.side, &seen.key.id), subject))
        });
        let matcher = Matcher::new(entity, state);
        let mut units = Unit::all(entity);
        for unit in &mut units {
            unit.added = unit.members.iter().any(|rule| state.added_fields.contains(&rule.name));
        }
        Self { entity, state, ids, context, units, matcher, unlinked: unlinked.collect() }
    }

    /// Plans one unlinked record.
    fn match_record(&self, subject: &'a Subject, plan: &mut EntityPlan) {
        let Some(seen) = own(subject) else { return plan.settled.push(subject.key()) };
        if let Some(code) = subject.unknown[seen.key.side] {
            let row = About::record(seen, None).row(RowKind::Hold, code, None);
            return plan.rows.push(row);
        }
        if seen.presence != Presence::Alive || !seen.in_scope {
            return plan.settled.push(subject.key());
        }
        match Self::past(subject, seen) {
            Past::Alone => self.carry_out(subject, seen, plan),
            Past::Ended => plan.settled.push(subject.key()),
            Past::Revived(link) => {
                let (side, id) = (seen.key.side, seen.key.id.clone());
                plan.ops.push(self.op(link, Code::Revived, OpKind::Revive { side, id }));
            }
        }
    }

    /// What an earlier link or tombstone says about an unlinked record that is alive.
    fn past(subject: &'a Subject, seen: &Observation) -> Past<'a> {
        let side = seen.key.side;
        let Some(tombstone) = &subject.tombstones[side] else {
            // The survivor of a closed link stays alone until a person decides.
            return if subject.generation == 0 { Past::Alone } else { Past::Ended };
        };
        match (tombstone.cause, &tombstone.link) {
            (TombstoneCause::Deleted, Some(link)) if subject.tombstones[side.other()].is_none() => {
                Past::Revived(link)
            }
            // Brought back after both were gone: its counterpart is found or made anew.
            (TombstoneCause::Deleted, _) => Past::Alone,
            (
                TombstoneCause::MergedAway | TombstoneCause::Converted | TombstoneCause::Unlinked,
                _,
            ) => Past::Ended,
        }
    }

    fn carry_out(&self, subject: &'a Subject, seen: &'a Observation, plan: &mut EntityPlan) {
        match self.matcher.decide(subject, seen) {
            Decision::Create => {
                let link = LinkId::derive(&seen.key, subject.generation);
                self.create_counterpart(subject, seen, &link, plan);
            }
            Decision::Link { partner, code } => self.link(seen, &partner, code, plan),
            Decision::Relink { link, partner } => {
                let side = seen.key.side;
                let ends = Pair::from_side(side, Some(seen.key.id.clone()), Some(partner));
                let (state, tombstones) = (LinkState::Live, Vec::new());
                let kind = OpKind::Relate { state, ends, tombstones, keep_baseline: false };
                plan.ops.push(self.op(&link, Code::Relink, kind));
            }
            Decision::Ask(row) => plan.rows.push(*row),
            Decision::Wait => plan.counters.deferred[seen.key.side] += 1,
            Decision::Leave(_) => plan.settled.push(subject.key()),
        }
    }

    fn create_counterpart(
        &self,
        subject: &'a Subject,
        source: &'a Observation,
        link: &LinkId,
        plan: &mut EntityPlan,
    ) {
        self.create(&Creation { subject, source, link, code: Code::Create }, plan);
    }

    /// Binds two records and merges them without a baseline: semantics §14.1.
    fn link(&self, seen: &'a Observation, partner: &RecordId, code: Code, plan: &mut EntityPlan) {
        let side = seen.key.side;
        let link = self.link_id(seen, partner, code);
        let ends = Pair::from_side(side, seen.key.id.clone(), partner.clone());
        let Some(other) = self.observed(side.other(), partner) else {
            let kind = OpKind::Link { ends, agreed: BTreeMap::new() };
            return plan.ops.push(self.op(&link, code, kind));
        };
        let both = Pair::from_side(side, seen, other);
        let meeting = Meeting {
            entity: &self.entity.name,
            conflicts: &self.entity.conflicts,
            ids: self.ids,
            link: &link,
            ends: Ends { link: None, left: both.left, right: both.right },
            memory: None,
            oscillation_writes: self.context.guards.oscillation_writes,
        };
        let mut merged = meeting.merge(&self.units);
        let agreed = std::mem::take(&mut merged.agreed);
        plan.ops.push(self.op(&link, code, OpKind::Link { ends, agreed }));
        self.write(&link, &both, merged, plan);
    }

    /// A link starts at its left record, unless that had a link before which this plan does not know.
    fn link_id(&self, seen: &Observation, partner: &RecordId, code: Code) -> LinkId {
        let side = seen.key.side;
        let generation = |side: Side, id: &RecordId| {
            self.unlinked.get(&(side, id)).map_or(0, |subject| subject.generation)
        };
        if side == Side::Left || code == Code::Relink {
            return LinkId::derive(&seen.key, generation(side, &seen.key.id));
        }
        let entity = self.entity.name.clone();
        let origin = RecordKey { entity, side: Side::Left, id: partner.clone() };
        LinkId::derive(&origin, generation(Side::Left, partner))
    }

    fn observed(&self, side: Side, id: &RecordId) -> Option<&'a Observation> {
        let subject = self.unlinked.get(&(side, id)).copied().and_then(own);
        subject.or_else(|| self.state.partners.get(&(side, id.clone())))
    }
}

/// The past of an unlinked record.
enum Past<'a> {
    Alone,
    Ended,
    Revived(&'a LinkId),
}

fn own(subject: &Subject) -> Option<&Observation> {
    subject.observations.left.as_ref().or(subject.observations.right.as_ref())
}

/// Guards whole entities, orders their ops and hashes the plan. `plans` stand parents-first.
///
/// With `context.approved` the withheld ops run and the trips stay for the report; the hash is the same.
pub fn assemble(
    route: RouteName,
    plans: Vec<EntityPlan>,
    states: &BTreeMap<EntityName, GuardInput>,
    entities: &[Entity],
    context: &PlanContext,
) -> Plan {
    let mut plan = Plan {
        route,
        ops: Vec::new(),
        rows: Vec::new(),
        guards: Vec::new(),
        unchanged: BTreeMap::new(),
        hash: String::new(),
    };
    let mut missing = BTreeSet::new();
    let mut ranks = BTreeMap::new();
    for (rank, part) in plans.into_iter().enumerate() {
        let Some(entity) = entities.iter().find(|entity| entity.name == part.entity) else {
            continue;
        };
        ranks.insert(part.entity.clone(), rank);
        *plan.unchanged.entry(part.entity.clone()).or_default() += part.unchanged;
        let counters = part.counters.clone();
        let (ops, rows) = tidy(part);
        let input = states.get(&entity.name).cloned().unwrap_or_default();
        let mut guarded = guard_ops(entity, ops, &input, &counters, &context.guards);
        strip_references(entity, &mut guarded, &mut missing);
        plan.rows.extend(rows);
        let Guarded { ops, trips } = guarded;
        plan.ops.extend(ops);
        plan.guards.extend(trips);
    }
    plan.ops.sort_by_cached_key(|op| place(op, &ranks));
    plan.hash = plan.compute_hash();
    if context.approved {
        release(&mut plan, &ranks);
    }
    plan
}

/// Lets a plan run whole that a person approved by its hash; `entities` stand parents-first.
pub fn approve(plan: &mut Plan, entities: &[Entity]) {
    let ranks = entities.iter().enumerate().map(|(rank, entity)| (entity.name.clone(), rank));
    release(plan, &ranks.collect());
}

/// Lets an approved plan run whole: an update that a guard split becomes one again.
fn release(plan: &mut Plan, ranks: &BTreeMap<EntityName, usize>) {
    for GuardTrip { withheld, .. } in &mut plan.guards {
        plan.ops.append(withheld);
    }
    plan.ops.sort_by_cached_key(|op| place(op, ranks));
    plan.ops.dedup_by(|next, kept| {
        let same = next.entity == kept.entity && next.link == kept.link;
        let (
            OpKind::Update { side, changes, .. },
            OpKind::Update { side: kept_side, changes: all, .. },
        ) = (&mut next.kind, &mut kept.kind)
        else {
            return false;
        };
        let one = same && side == kept_side;
        if one {
            all.append(changes);
        }
        one
    });
}

/// Where an op stands: local steps, creates parents-first, updates, deletes children-first.
fn place(
    op: &Op,
    ranks: &BTreeMap<EntityName, usize>,
) -> (u8, usize, EntityName, LinkId, u8, Option<Side>) {
    let (stage, step) = match &op.kind {
        OpKind::Link { .. } => (0, 0),
        OpKind::Relate { .. } => (0, 1),
        OpKind::Revive { .. } => (0, 2),
        OpKind::Agree { pinned: false, .. } => (0, 3),
        OpKind::Agree { pinned: true, .. } => (0, 4),
        OpKind::Create { .. } => (1, 0),
        OpKind::Update { .. } => (2, 0),
        OpKind::Archive { .. } => (3, 0),
        OpKind::Delete { .. } => (3, 1),
    };
    let rank = ranks.get(&op.entity).copied().unwrap_or(usize::MAX);
    let rank = if stage == 3 { usize::MAX - rank } else { rank };
    (stage, rank, op.entity.clone(), op.link.clone(), step, op.writes())
}

/// Joins what several subjects or chunks say about the same link or record.
fn tidy(part: EntityPlan) -> (Vec<Op>, Vec<OpenRow>) {
    let EntityPlan { entity, mut ops, mut rows, counters, .. } = part;
    let ranks = BTreeMap::new();
    ops.sort_by_cached_key(|op| (place(op, &ranks), thin(op)));
    ops.dedup_by(|next, kept| same(next, kept));
    cancel_relinked(&mut ops, &mut rows);
    rows.extend(claim_once(&entity, &mut ops));
    rows.extend(deferred(&entity, &counters));
    rows.sort_by(|one, other| (&one.entity, &one.id).cmp(&(&other.entity, &other.id)));
    rows.dedup_by(|next, kept| next.id == kept.id);
    (ops, rows)
}

/// A link planned without its partner's observation comes after the same link planned with it.
fn thin(op: &Op) -> bool {
    matches!(&op.kind, OpKind::Link { agreed, .. } if agreed.is_empty())
}

/// Both ends of a new link ask for it; it is one op.
fn same(next: &Op, kept: &Op) -> bool {
    match (&next.kind, &kept.kind) {
        (OpKind::Link { .. }, OpKind::Link { .. }) => next.link == kept.link,
        _ => next == kept,
    }
}

/// A link that takes a re-created record has no deletion to spread any more. A record that was brought back
/// comes before one that was made again.
fn cancel_relinked(ops: &mut Vec<Op>, rows: &mut Vec<OpenRow>) {
    let relinks = |op: &Op| op.code == Code::Relink && matches!(op.kind, OpKind::Relate { .. });
    let revives = |op: &&Op| matches!(op.kind, OpKind::Revive { .. });
    let back: BTreeSet<_> = ops.iter().filter(revives).map(|op| op.link.clone()).collect();
    ops.retain(|op| !(relinks(op) && back.contains(&op.link)));
    let links: BTreeSet<_> =
        ops.iter().filter(|op| relinks(op)).map(|op| op.link.clone()).collect();
    if !links.is_empty() {
        ops.retain(|op| relinks(op) || !links.contains(&op.link));
        rows.retain(|row| row.link.as_ref().is_none_or(|link| !links.contains(link)));
    }
}

/// Two new links never hold the same record (I11): where chunks claim one twice, a person decides.
fn claim_once(entity: &EntityName, ops: &mut Vec<Op>) -> Vec<OpenRow> {
    let mut claims: BTreeMap<(Side, &RecordId), BTreeSet<&LinkId>> = BTreeMap::new();
    for op in ops.iter() {
        for (side, id) in claimed(op) {
            claims.entry((side, id)).or_default().insert(&op.link);
        }
    }
    let twice: Vec<_> = claims.into_iter().filter(|(_, links)| links.len() > 1).collect();
    let row = |((side, id), _): &((Side, &RecordId), BTreeSet<&LinkId>)| {
        let records = Pair::from_side(*side, Some((*id).clone()), None);
        let about = About { entity, link: None, records, modified_at: Pair::default() };
        about.row(RowKind::Match, Code::Ambiguous, None)
    };
    let rows = twice.iter().map(row).collect();
    let links: BTreeSet<LinkId> =
        twice.iter().flat_map(|(_, links)| links.iter().map(|link| (*link).clone())).collect();
    ops.retain(|op| !links.contains(&op.link));
    rows
}

/// Records that an op newly binds.
fn claimed(op: &Op) -> Vec<(Side, &RecordId)> {
    match &op.kind {
        OpKind::Relate { ends, .. } if op.code == Code::Relink => named_ends(ends),
        OpKind::Link { ends, .. } => vec![(Side::Left, &ends.left), (Side::Right, &ends.right)],
        OpKind::Create { side, source, .. } => vec![(side.other(), source)],
        OpKind::Relate { .. }
        | OpKind::Update { .. }
        | OpKind::Delete { .. }
        | OpKind::Archive { .. }
        | OpKind::Agree { .. }
        | OpKind::Revive { .. } => Vec::new(),
    }
}

fn named_ends(ends: &Pair<Option<RecordId>>) -> Vec<(Side, &RecordId)> {
    let end = |side: Side| ends[side].as_ref().map(|id| (side, id));
    Side::BOTH.into_iter().filter_map(end).collect()
}

/// One row for all records that wait for a complete listing.
fn deferred(entity: &EntityName, counters: &GuardCounters) -> Vec<OpenRow> {
    let row = |side: Side| {
        let count = counters.deferred[side];
        let about =
            About { entity, link: None, records: Pair::default(), modified_at: Pair::default() };
        let row = about.row(RowKind::Hold, Code::Deferred, None);
        let id = RowId(fingerprint(&(entity, Code::Deferred, side)));
        let listing = side.other();
        let message = format!("{count} {side} records wait for a complete listing of {listing}");
        (count > 0).then_some(OpenRow { id, message, ..row })
    };
    Side::BOTH.into_iter().filter_map(row).collect()
}

/// Exit code of a plan: 3 when a guard withholds something, 1 with open rows, else 0. Semantics §16.
pub fn exit_code(rows: &[OpenRow], guards: &[GuardTrip]) -> u8 {
    if guards.iter().any(|trip| !trip.withheld.is_empty()) {
        return 3;
    }
    u8::from(rows.iter().any(OpenRow::is_open))
}
