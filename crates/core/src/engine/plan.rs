//! One entity's plan from its subjects; `assemble` makes a run's plan of them. Semantics §4, §6, §7.

use std::collections::BTreeMap;

pub use super::assemble::{approve, assemble, exit_code};
use super::create::Creation;
use super::fields::Meeting;
use super::guard::GuardCounters;
use super::matching::{Decision, Matcher};
use super::merge::{Ends, Unit};
use super::rows::About;
use crate::model::link::TombstoneCause;
use crate::model::row::RowKind;
use crate::model::state::{EntityState, Identities, PlanContext, Subject, SubjectKey};
use crate::model::{
    Code, Entity, EntityName, LinkId, LinkState, Observation, Op, OpKind, OpenRow, Pair, Presence,
    RecordId, RecordKey, Side,
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
            Decision::Create(code) => {
                let link = LinkId::derive(&seen.key, subject.generation);
                self.create(&Creation { subject, source: seen, link: &link, code }, plan);
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
            ends: Ends { link: None, left: both.left, right: both.right, times: None },
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
