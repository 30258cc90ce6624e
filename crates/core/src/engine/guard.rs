//! Guards: what a run must not do without a person's consent. Semantics §9.4.

use std::collections::{BTreeMap, BTreeSet};

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use crate::model::plan::{Change, GuardTrip};
use crate::model::state::{EntityState, GuardLimits};
use crate::model::{
    Code, Entity, EntityName, FieldName, LinkId, LinkState, Op, OpKind, Pair, Side, Value,
};

/// What the guards of one entity look at besides its ops.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GuardInput {
    /// Live links before the run.
    pub live_links: u64,
    /// Deletes + archives of the last 24 hours by target side.
    pub recent_deletes: Pair<u64>,
    /// Creates of the last 24 hours by target side.
    pub recent_creates: Pair<u64>,
    /// A complete listing of this side fell below half of the live links.
    pub unhealthy: Pair<bool>,
    /// Config, filter, user or permission changed since the last run.
    pub scope_changed: bool,
    /// No plan of this entity was applied yet.
    pub first_sync: bool,
}

impl From<&EntityState> for GuardInput {
    fn from(state: &EntityState) -> Self {
        Self {
            live_links: state.live_links,
            recent_deletes: state.recent_deletes.clone(),
            recent_creates: state.recent_creates.clone(),
            unhealthy: state.unhealthy.clone(),
            scope_changed: state.scope_changed,
            first_sync: state.first_sync,
        }
    }
}

/// What planning counted for the guards, summed over chunks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GuardCounters {
    /// Linked records whose field is to be written to the other side, by the side that changed.
    pub changed: Pair<BTreeMap<FieldName, u64>>,
    /// Unlinked records that wait for a complete listing, by their own side.
    pub deferred: Pair<u64>,
}

impl GuardCounters {
    /// Adds the counts of another chunk.
    pub fn absorb(&mut self, other: Self) {
        let Pair { left, right } = other.changed;
        for (side, changed) in [(Side::Left, left), (Side::Right, right)] {
            for (field, count) in changed {
                *self.changed[side].entry(field).or_default() += count;
            }
            self.deferred[side] += other.deferred[side];
        }
    }

    /// Counts the fields of an update of a pair that was linked before.
    pub fn count(&mut self, op: &Op) {
        let OpKind::Update { side, changes, .. } = &op.kind else { return };
        for field in changes.keys() {
            *self.changed[side.other()].entry(field.clone()).or_default() += 1;
        }
    }
}

/// The ops of one entity, split into those that may run and those that need consent.
#[derive(Debug, Default)]
pub struct Guarded {
    pub ops: Vec<Op>,
    pub trips: Vec<GuardTrip>,
}

/// Applies the guards to all ops of one entity. The first guard that catches an op withholds it.
pub fn guard_ops(
    entity: &Entity,
    ops: Vec<Op>,
    input: &GuardInput,
    counters: &GuardCounters,
    limits: &GuardLimits,
) -> Guarded {
    let mut guarded = Guarded { ops, trips: Vec::new() };
    for side in Side::BOTH {
        first_sync(&mut guarded, entity, side, input);
        changed_scope(&mut guarded, entity, side, input);
        empty_side(&mut guarded, entity, side, input, limits);
        delete_cap(&mut guarded, entity, side, input, limits);
        create_cap(&mut guarded, entity, side, input, limits);
        mass_change(&mut guarded, entity, side, input, counters, limits);
    }
    guarded
}

impl Guarded {
    fn withhold(
        &mut self,
        (code, entity, side): (Code, &EntityName, Side),
        limit: u64,
        caught: impl Fn(&Op) -> bool,
    ) {
        let all = std::mem::take(&mut self.ops);
        let (withheld, ops): (Vec<_>, Vec<_>) = all.into_iter().partition(|op| caught(op));
        self.ops = ops;
        self.trip((code, entity, side), limit, withheld);
    }

    fn trip(
        &mut self,
        (code, entity, side): (Code, &EntityName, Side),
        limit: u64,
        withheld: Vec<Op>,
    ) {
        if !withheld.is_empty() {
            let (entity, count) = (entity.clone(), withheld.len() as u64);
            self.trips.push(GuardTrip { code, entity, side, count, limit, withheld });
        }
    }
}

/// Nothing is written or linked before a person saw the first plan. A link counts for the left side.
fn first_sync(guarded: &mut Guarded, entity: &Entity, side: Side, input: &GuardInput) {
    if input.first_sync {
        let caught = |op: &Op| {
            let links = side == Side::Left && matches!(op.kind, OpKind::Link { .. });
            links || op.writes() == Some(side)
        };
        guarded.withhold((Code::FirstSync, &entity.name, side), 0, caught);
    }
}

/// No deletion is believed in the run after a change of scope.
fn changed_scope(guarded: &mut Guarded, entity: &Entity, side: Side, input: &GuardInput) {
    if input.scope_changed {
        let caught = |op: &Op| rests_on_deletion(op, side.other());
        guarded.withhold((Code::ScopeChange, &entity.name, side), 0, caught);
    }
}

/// Nothing is derived from the absences of a side whose listing shrank.
fn empty_side(
    guarded: &mut Guarded,
    entity: &Entity,
    side: Side,
    input: &GuardInput,
    limits: &GuardLimits,
) {
    if input.unhealthy[side] {
        let caught = |op: &Op| {
            let made = matches!(op.kind, OpKind::Create { side: target, .. } if target == side);
            made || rests_on_deletion(op, side) || matches!(op.kind, OpKind::Link { .. })
        };
        let fewest = input.live_links * limits.empty_side_percent / 100;
        guarded.withhold((Code::EmptySide, &entity.name, side), fewest, caught);
    }
}

/// All deletes of a side, or none: a part of a mistake is a mistake too.
fn delete_cap(
    guarded: &mut Guarded,
    entity: &Entity,
    side: Side,
    input: &GuardInput,
    limits: &GuardLimits,
) {
    let share = entity.deletes.max_percent * Decimal::from(input.live_links) / Decimal::from(100);
    let share = share.trunc().to_u64().unwrap_or(0);
    let limit = share.min(limits.delete_ceiling).max(limits.delete_floor);
    let caught = |op: &Op| deletes(op, side);
    let count = guarded.ops.iter().filter(|op| caught(op)).count() as u64;
    if count + input.recent_deletes[side] > limit {
        guarded.withhold((Code::DeleteCap, &entity.name, side), limit, caught);
    }
}

fn create_cap(
    guarded: &mut Guarded,
    entity: &Entity,
    side: Side,
    input: &GuardInput,
    limits: &GuardLimits,
) {
    let limit = limits.create_floor.max(input.live_links * limits.create_percent / 100);
    let caught = |op: &Op| matches!(op.kind, OpKind::Create { side: at, .. } if at == side);
    let count = guarded.ops.iter().filter(|op| caught(op)).count() as u64;
    if count + input.recent_creates[side] > limit {
        let anew = |op: &Op| {
            let emptied = matches!(&op.kind, OpKind::Relate { ends, .. } if ends[side].is_none());
            op.code == Code::NewId && emptied
        };
        let caught = |op: &Op| caught(op) || anew(op);
        guarded.withhold((Code::CreateCap, &entity.name, side), limit, caught);
    }
}

/// One field that changed on most records of a side looks like an accident: format, zone, import.
fn mass_change(
    guarded: &mut Guarded,
    entity: &Entity,
    side: Side,
    input: &GuardInput,
    counters: &GuardCounters,
    limits: &GuardLimits,
) {
    let share = input.live_links * limits.mass_change_percent / 100;
    let limit = share.max(limits.mass_change_floor);
    let many = counters.changed[side].iter().filter(|(_, count)| **count > limit);
    let mut fields: BTreeSet<_> = many.map(|(field, _)| field.clone()).collect();
    for members in entity.groups.values() {
        if members.iter().any(|member| fields.contains(member)) {
            fields.extend(members.iter().cloned());
        }
    }
    if fields.is_empty() {
        return;
    }
    let mut withheld = Vec::new();
    for op in &mut guarded.ops {
        withheld.extend(split(op, side.other(), &fields));
    }
    guarded
        .ops
        .retain(|op| !matches!(&op.kind, OpKind::Update { changes, .. } if changes.is_empty()));
    guarded.trip((Code::MassChange, &entity.name, side), limit, withheld);
}

/// Takes the named fields out of an update of `target`.
fn split(op: &mut Op, target: Side, fields: &BTreeSet<FieldName>) -> Option<Op> {
    let mut taken = op.clone();
    let (OpKind::Update { side, changes, .. }, OpKind::Update { changes: out, .. }) =
        (&mut op.kind, &mut taken.kind)
    else {
        return None;
    };
    let caught = |name: &FieldName, _: &mut Change| fields.contains(name);
    if *side != target || !changes.keys().any(|name| fields.contains(name)) {
        return None;
    }
    out.retain(caught);
    changes.retain(|name, _| !fields.contains(name));
    Some(taken)
}

/// A remote deletion or archiving on `side`.
pub(super) fn deletes(op: &Op, side: Side) -> bool {
    let removes = matches!(op.kind, OpKind::Delete { .. } | OpKind::Archive { .. });
    removes && op.writes() == Some(side)
}

/// Whether the op believes that a record of `gone` was deleted.
fn rests_on_deletion(op: &Op, gone: Side) -> bool {
    match &op.kind {
        OpKind::Delete { side, .. } | OpKind::Archive { side, .. } => *side == gone.other(),
        OpKind::Create { side, .. } => op.code == Code::NewId && *side == gone,
        OpKind::Relate { state, tombstones, .. } => {
            let ends = matches!(state, LinkState::Closed | LinkState::HalfDeleted);
            ends && tombstones.iter().any(|tombstone| tombstone.key.side == gone)
        }
        OpKind::Link { .. }
        | OpKind::Update { .. }
        | OpKind::Agree { .. }
        | OpKind::Revive { .. } => false,
    }
}

/// Withholds ops that refer to a record whose create is withheld, in the guard that withheld it first.
///
/// An optional reference is left for later; a record that cannot exist without it waits with its parent.
pub(super) fn strip_references(
    entity: &Entity,
    guarded: &mut Guarded,
    missing: &mut BTreeSet<LinkId>,
) {
    for trip in &guarded.trips {
        missing.extend(trip.withheld.iter().filter_map(created));
    }
    if missing.is_empty() {
        return;
    }
    let mut waiting = Vec::new();
    let all = std::mem::take(&mut guarded.ops);
    for op in all {
        let refers = names(&op).any(|link| missing.contains(link));
        if refers { waiting.push(op) } else { guarded.ops.push(op) }
    }
    missing.extend(waiting.iter().filter_map(created));
    let mut by_side: Pair<Vec<Op>> = Pair::default();
    for op in waiting {
        let side = op.writes().unwrap_or(Side::Left);
        by_side[side].push(op);
    }
    let Pair { left, right } = by_side;
    for (side, ops) in [(Side::Left, left), (Side::Right, right)] {
        guarded.trip((Code::PendingRef, &entity.name, side), 0, ops);
    }
}

fn created(op: &Op) -> Option<LinkId> {
    matches!(op.kind, OpKind::Create { .. }).then(|| op.link.clone())
}

fn names(op: &Op) -> impl Iterator<Item = &LinkId> {
    let values: Vec<&Value> = match &op.kind {
        OpKind::Create { fields, .. } => fields.values().collect(),
        OpKind::Update { changes, .. } => changes.values().map(|change| &change.after).collect(),
        OpKind::Link { .. }
        | OpKind::Delete { .. }
        | OpKind::Archive { .. }
        | OpKind::Agree { .. }
        | OpKind::Relate { .. }
        | OpKind::Revive { .. } => Vec::new(),
    };
    values.into_iter().filter_map(|value| match value {
        Value::Link(link) => Some(link),
        Value::Empty
        | Value::Bool(_)
        | Value::Number(_)
        | Value::Text(_)
        | Value::Date(_)
        | Value::Timestamp(_)
        | Value::Set(_)
        | Value::List(_)
        | Value::Reference(_) => None,
    })
}
