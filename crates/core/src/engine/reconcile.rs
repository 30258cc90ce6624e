//! Linked records: semantics §7. What became of each end decides what happens to the pair; pairs that lost an
//! end go on in `deletes`.

use super::create::Creation;
use super::fields::{Meeting, Merged};
use super::merge::Ends;
use super::plan::{EntityPlan, Planning};
use super::rows::About;
use crate::model::link::TombstoneCause;
use crate::model::row::RowKind;
use crate::model::state::Subject;
use crate::model::{
    Code, Link, LinkId, LinkState, Observation, Op, OpKind, OpenRow, Pair, Presence, RecordId,
    RecordKey, Side, Tombstone,
};

/// What became of one end of a link.
enum End<'a> {
    Here(&'a Observation),
    /// Confirmed deletion, merge or conversion: D.
    Gone(&'a Tombstone),
    /// X, with its cause.
    Unknown(Code),
    /// Its create did not happen yet.
    Missing,
}

impl<'a> Planning<'a> {
    /// Plans one linked pair.
    pub(super) fn reconcile(&self, subject: &'a Subject, link: &'a Link, plan: &mut EntityPlan) {
        let about = self.about(subject, link);
        if !link.is_live() {
            return self.after_life(subject, link, plan);
        }
        if subject.in_doubt {
            return plan.rows.push(about.row(RowKind::Hold, Code::InDoubt, None));
        }
        let end = |side: Side| end_of(subject, link, side);
        match (end(Side::Left), end(Side::Right)) {
            (End::Unknown(left), End::Unknown(right)) => {
                self.hold(&about, left.min(right), subject, link, plan);
            }
            (End::Unknown(code), _) | (_, End::Unknown(code)) => {
                self.hold(&about, code, subject, link, plan);
            }
            (End::Here(left), End::Here(right)) => {
                if self.revive(link, subject, plan) {
                    return;
                }
                self.meet(subject, link, &Pair::new(left, right), plan);
            }
            (End::Gone(left), End::Gone(right)) => {
                let tombstones = vec![left.clone(), right.clone()];
                plan.ops.push(self.close(link, Code::Gone, tombstones));
            }
            (End::Gone(tombstone), End::Here(survivor))
            | (End::Here(survivor), End::Gone(tombstone)) => {
                self.half_gone(subject, link, tombstone, survivor, plan);
            }
            (End::Here(source), End::Missing) | (End::Missing, End::Here(source)) => {
                self.create(
                    &Creation { subject, source, link: &link.id, code: Code::Create },
                    plan,
                );
            }
            (End::Gone(tombstone), End::Missing) | (End::Missing, End::Gone(tombstone)) => {
                plan.ops.push(self.close(link, Code::Gone, vec![tombstone.clone()]));
            }
            (End::Missing, End::Missing) => {
                plan.ops.push(self.close(link, Code::Gone, Vec::new()));
            }
        }
    }

    pub(super) fn about(&self, subject: &Subject, link: &'a Link) -> About<'a> {
        let at = |side: Side| subject.observations[side].as_ref().and_then(|seen| seen.modified_at);
        About {
            entity: &self.entity.name,
            link: Some(&link.id),
            records: link.ends.clone(),
            modified_at: Pair::new(at(Side::Left), at(Side::Right)),
        }
    }

    /// X: nothing is written on either side. An end without an observation is to be read by ID.
    fn hold(
        &self,
        about: &About<'_>,
        code: Code,
        subject: &Subject,
        link: &Link,
        plan: &mut EntityPlan,
    ) {
        plan.rows.push(about.row(RowKind::Hold, code, None));
        for side in Side::BOTH {
            if let (None, None, Some(id)) =
                (&subject.observations[side], &subject.tombstones[side], &link.ends[side])
            {
                plan.unseen.push(self.key(side, id));
            }
        }
    }

    pub(super) fn key(&self, side: Side, id: &RecordId) -> RecordKey {
        RecordKey { entity: self.entity.name.clone(), side, id: id.clone() }
    }

    /// Both records are alive.
    fn meet(
        &self,
        subject: &'a Subject,
        link: &'a Link,
        seen: &Pair<&'a Observation>,
        plan: &mut EntityPlan,
    ) {
        if !(seen.left.in_scope && seen.right.in_scope) {
            return self.leave(link, plan);
        }
        if link.state != LinkState::Live {
            plan.ops.push(self.relate(link, LinkState::Live, Code::Confirmed));
        }
        let merged = Meeting {
            entity: &self.entity.name,
            conflicts: &self.entity.conflicts,
            ids: self.ids,
            link: &link.id,
            ends: Ends {
                link: Some(link),
                left: seen.left,
                right: seen.right,
                times: Some(&subject.field_times),
            },
            memory: Some(subject),
            oscillation_writes: self.context.guards.oscillation_writes,
        }
        .merge(&self.units);
        let idle = merged.is_empty() && link.state == LinkState::Live;
        if idle {
            plan.unchanged += 1;
            plan.settled.push(subject.key());
        }
        self.write(&link.id, seen, merged, plan);
    }

    /// Turns merged fields into ops.
    pub(super) fn write(
        &self,
        link: &LinkId,
        seen: &Pair<&Observation>,
        merged: Merged,
        plan: &mut EntityPlan,
    ) {
        for (fields, pinned) in [(merged.agreed, false), (merged.pinned, true)] {
            if !fields.is_empty() {
                let code = Code::Agreed;
                plan.ops.push(self.op(link, code, OpKind::Agree { fields, pinned }));
            }
        }
        let Pair { left, right } = merged.changes;
        for (side, changes) in [(Side::Left, left), (Side::Right, right)] {
            if changes.is_empty() {
                continue;
            }
            let code = merged.codes[side].unwrap_or(Code::Confirmed);
            let planned_on = seen[side].modified_at;
            let id = seen[side].key.id.clone();
            plan.ops.push(self.op(link, code, OpKind::Update { side, id, changes, planned_on }));
        }
        plan.rows.extend(merged.rows);
    }

    pub(super) fn op(&self, link: &LinkId, code: Code, kind: OpKind) -> Op {
        let entity = self.entity.name.clone();
        Op { entity, link: link.clone(), code, kind, later: Vec::new() }
    }

    pub(super) fn relate(&self, link: &Link, state: LinkState, code: Code) -> Op {
        let ends = link.ends.clone();
        let kind = OpKind::Relate { state, ends, tombstones: Vec::new(), keep_baseline: true };
        self.op(&link.id, code, kind)
    }

    /// Closes a link. The baseline is kept for the day its records come back.
    pub(super) fn close(&self, link: &Link, code: Code, tombstones: Vec<Tombstone>) -> Op {
        let (state, ends) = (LinkState::Closed, link.ends.clone());
        let kind = OpKind::Relate { state, ends, tombstones, keep_baseline: true };
        self.op(&link.id, code, kind)
    }

    /// Out of scope: kept, not synced, and told by the link's state, not by a row that nobody could close.
    pub(super) fn leave(&self, link: &Link, plan: &mut EntityPlan) {
        if link.state != LinkState::Held {
            plan.ops.push(self.relate(link, LinkState::Held, Code::OutOfScope));
        }
    }

    /// Lets tombstoned ends that a read by ID found alive live again. Returns whether there are any.
    fn revive(&self, link: &Link, subject: &Subject, plan: &mut EntityPlan) -> bool {
        let known = plan.ops.len();
        for side in Side::BOTH {
            let deleted = |tombstone: &Tombstone| tombstone.cause == TombstoneCause::Deleted;
            let buried = subject.tombstones[side].as_ref().is_some_and(deleted);
            if let Some(seen) = alive(subject, side).filter(|_| buried) {
                let id = seen.key.id.clone();
                plan.ops.push(self.op(&link.id, Code::Revived, OpKind::Revive { side, id }));
            }
        }
        plan.ops.len() > known
    }

    /// A link that ended: it only speaks again when a record of it came back, or while a merge waits.
    fn after_life(&self, subject: &'a Subject, link: &'a Link, plan: &mut EntityPlan) {
        let both_here = Side::BOTH.into_iter().all(|side| alive(subject, side).is_some());
        if link.state == LinkState::Closed {
            if both_here && self.revive(link, subject, plan) {
                return;
            }
            // Both were gone: whoever brought one back wants the pair.
            if let Some(survivor) =
                Side::BOTH.into_iter().find_map(|side| brought_back(subject, side))
            {
                return self.pair_anew(subject, link, survivor, plan);
            }
        }
        let row = self.about(subject, link).row(RowKind::Match, Code::Merged, None);
        let settled = subject.choice(&row.id, &row.fingerprint).is_some();
        if link.state == LinkState::Merged && !settled {
            return plan.rows.push(row);
        }
        plan.settled.push(subject.key());
    }

    /// The counterpart may be there already: made by a run that a restored store forgot, and naming this record.
    fn pair_anew(
        &self,
        subject: &'a Subject,
        link: &'a Link,
        survivor: &'a Observation,
        plan: &mut EntityPlan,
    ) {
        let (side, id) = (survivor.key.side, &survivor.key.id);
        let holders = self.state.by_external_id.get(&(side.other(), id.clone()));
        match holders.map_or(&[][..], Vec::as_slice) {
            [] => self.recreate(subject, link, survivor, Code::Revived, plan),
            [one] if one.link.is_none() => {
                let ends = Pair::from_side(side, Some(id.clone()), Some(one.id.clone()));
                let (state, tombstones) = (LinkState::Live, Vec::new());
                let kind = OpKind::Relate { state, ends, tombstones, keep_baseline: false };
                plan.ops.push(self.op(&link.id, Code::Relink, kind));
            }
            several => {
                let candidates: Vec<_> = several.iter().map(|one| one.id.clone()).collect();
                let row = self.about(subject, link).row(RowKind::Match, Code::Twin, None);
                plan.rows.push(OpenRow { candidates, ..row });
            }
        }
    }
}

/// The record of a side that was deleted and is here again, while the other one is still gone.
fn brought_back(subject: &Subject, side: Side) -> Option<&Observation> {
    let deleted = |side: Side| {
        let tombstone = subject.tombstones[side].as_ref();
        tombstone.is_some_and(|tombstone| tombstone.cause == TombstoneCause::Deleted)
    };
    let other = side.other();
    let is_pair = deleted(side) && deleted(other) && alive(subject, other).is_none();
    alive(subject, side).filter(|seen| is_pair && seen.in_scope)
}

fn alive(subject: &Subject, side: Side) -> Option<&Observation> {
    subject.observations[side].as_ref().filter(|seen| seen.presence == Presence::Alive)
}

fn end_of<'a>(subject: &'a Subject, link: &Link, side: Side) -> End<'a> {
    if let Some(code) = subject.unknown[side] {
        return End::Unknown(code);
    }
    match (&subject.tombstones[side], &subject.observations[side]) {
        (_, Some(seen)) if seen.presence == Presence::Alive => End::Here(seen),
        (Some(tombstone), _) => End::Gone(tombstone),
        (None, None) if link.ends[side].is_none() => End::Missing,
        (None, _) => End::Unknown(Code::UnconfirmedAbsence),
    }
}
