//! A run's plan from its entities' plans: joined, guarded, ordered, hashed. Semantics §4, §9.4, §16.

use std::collections::{BTreeMap, BTreeSet};

use super::guard::{GuardCounters, GuardInput, Guarded, guard_ops, strip_references};
use super::plan::EntityPlan;
use super::rows::{About, fingerprint};
use crate::model::plan::GuardTrip;
use crate::model::row::{RowId, RowKind};
use crate::model::state::PlanContext;
use crate::model::{
    Code, Entity, EntityName, LinkId, Op, OpKind, OpenRow, Pair, Plan, RecordId, RouteName, Side,
};

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
    let side = match &op.kind {
        OpKind::Revive { side, .. } => Some(*side),
        OpKind::Create { .. }
        | OpKind::Update { .. }
        | OpKind::Delete { .. }
        | OpKind::Archive { .. }
        | OpKind::Link { .. }
        | OpKind::Relate { .. }
        | OpKind::Agree { .. } => op.writes(),
    };
    let rank = ranks.get(&op.entity).copied().unwrap_or(usize::MAX);
    let rank = if stage == 3 { usize::MAX - rank } else { rank };
    (stage, rank, op.entity.clone(), op.link.clone(), step, side)
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
    let claim = |op| claimed(op).into_iter().map(move |(side, id)| (side, id, &op.link));
    let mut claims: Vec<_> = ops.iter().flat_map(claim).collect();
    claims.sort_unstable();
    claims.dedup();
    let same_record = |one: &(Side, &RecordId, &LinkId), next: &(Side, &RecordId, &LinkId)| {
        (one.0, one.1) == (next.0, next.1)
    };
    let twice: Vec<_> = claims.chunk_by(same_record).filter(|claims| claims.len() > 1).collect();
    let row = |claims: &&[(Side, &RecordId, &LinkId)]| {
        let (side, id, _) = claims[0];
        let records = Pair::from_side(side, Some(id.clone()), None);
        let about = About { entity, link: None, records, modified_at: Pair::default() };
        about.row(RowKind::Match, Code::Ambiguous, None)
    };
    let rows = twice.iter().map(row).collect();
    let links: BTreeSet<LinkId> =
        twice.iter().flat_map(|claims| claims.iter().map(|(_, _, link)| (*link).clone())).collect();
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
