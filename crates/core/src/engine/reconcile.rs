//! Linked records: semantics §7 and §9.1–9.3. What became of each end decides what happens to the pair.

use std::collections::BTreeMap;

use super::create::Creation;
use super::fields::{Meeting, Merged};
use super::merge::{Ends, value};
use super::plan::{EntityPlan, Planning};
use super::rows::{About, fingerprint};
use crate::model::link::{DeleteEvidence, TombstoneCause};
use crate::model::mapping::{DeleteEditPolicy, DeletePolicy};
use crate::model::row::{Choice, RowKind};
use crate::model::state::Subject;
use crate::model::{
    Code, FieldName, FieldRule, Link, LinkId, LinkState, Observation, Op, OpKind, OpenRow, Pair,
    Presence, RecordId, RecordKey, Side, Tombstone, Value,
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
                if let Some(side) = revived(subject) {
                    return self.revive(link, side, subject, plan);
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

    fn about(&self, subject: &Subject, link: &'a Link) -> About<'a> {
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

    fn key(&self, side: Side, id: &RecordId) -> RecordKey {
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
            ends: Ends { link: Some(link), left: seen.left, right: seen.right },
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

    fn relate(&self, link: &Link, state: LinkState, code: Code) -> Op {
        let ends = link.ends.clone();
        let kind = OpKind::Relate { state, ends, tombstones: Vec::new(), keep_baseline: true };
        self.op(&link.id, code, kind)
    }

    /// Closes a link. The baseline is kept for the day its records come back.
    fn close(&self, link: &Link, code: Code, tombstones: Vec<Tombstone>) -> Op {
        let (state, ends) = (LinkState::Closed, link.ends.clone());
        let kind = OpKind::Relate { state, ends, tombstones, keep_baseline: true };
        self.op(&link.id, code, kind)
    }

    /// Out of scope: kept, not synced, and told by the link's state, not by a row that nobody could close.
    fn leave(&self, link: &Link, plan: &mut EntityPlan) {
        if link.state != LinkState::Held {
            plan.ops.push(self.relate(link, LinkState::Held, Code::OutOfScope));
        }
    }

    fn revive(&self, link: &Link, side: Side, subject: &Subject, plan: &mut EntityPlan) {
        if let Some(seen) = &subject.observations[side] {
            let id = seen.key.id.clone();
            plan.ops.push(self.op(&link.id, Code::Revived, OpKind::Revive { side, id }));
        }
    }

    /// A link that ended: it only speaks again when a record of it came back, or while a merge waits.
    fn after_life(&self, subject: &'a Subject, link: &'a Link, plan: &mut EntityPlan) {
        let both_here = Side::BOTH.into_iter().all(|side| alive(subject, side).is_some());
        if let Some(side) = revived(subject)
            && both_here
            && link.state == LinkState::Closed
        {
            return self.revive(link, side, subject, plan);
        }
        let row = self.about(subject, link).row(RowKind::Match, Code::Merged, None);
        let settled = subject.choice(&row.id, &row.fingerprint).is_some();
        if link.state == LinkState::Merged && !settled {
            return plan.rows.push(row);
        }
        plan.settled.push(subject.key());
    }

    /// One end is gone, the other is here.
    fn half_gone(
        &self,
        subject: &'a Subject,
        link: &'a Link,
        tombstone: &'a Tombstone,
        survivor: &'a Observation,
        plan: &mut EntityPlan,
    ) {
        match tombstone.cause {
            TombstoneCause::MergedAway => self.merged_away(subject, link, tombstone, plan),
            TombstoneCause::Converted => self.converted(link, tombstone, plan),
            TombstoneCause::Unlinked => {
                plan.ops.push(self.close(link, Code::Gone, vec![tombstone.clone()]));
            }
            TombstoneCause::Deleted if !survivor.in_scope => self.leave(link, plan),
            TombstoneCause::Deleted => self.deleted(subject, link, tombstone, survivor, plan),
        }
    }

    /// §7.3: l2 was merged into l1.
    fn merged_away(
        &self,
        subject: &Subject,
        link: &'a Link,
        tombstone: &Tombstone,
        plan: &mut EntityPlan,
    ) {
        let side = tombstone.key.side;
        let about = self.about(subject, link);
        let Some(heir) = &tombstone.successor else {
            return plan.rows.push(about.row(RowKind::Hold, Code::SuspectedMerge, None));
        };
        match self.state.named.get(&(side, heir.clone())) {
            None => {
                plan.rows.push(about.row(RowKind::Hold, Code::Merged, None));
                plan.unseen.push(self.key(side, heir));
            }
            Some(one) if one.link.is_none() => {
                plan.ops.push(self.redirect(link, heir, tombstone));
            }
            Some(_) => {
                let ends = link.ends.clone();
                let tombstones = vec![tombstone.clone()];
                let state = LinkState::Merged;
                let kind = OpKind::Relate { state, ends, tombstones, keep_baseline: true };
                plan.ops.push(self.op(&link.id, Code::Merged, kind));
                plan.rows.push(about.row(RowKind::Match, Code::Merged, None));
            }
        }
    }

    fn redirect(&self, link: &Link, heir: &RecordId, tombstone: &Tombstone) -> Op {
        let mut ends = link.ends.clone();
        ends[tombstone.key.side] = Some(heir.clone());
        let tombstones = vec![Tombstone { link: None, ..tombstone.clone() }];
        let state = LinkState::Live;
        let kind = OpKind::Relate { state, ends, tombstones, keep_baseline: true };
        self.op(&link.id, Code::Redirected, kind)
    }

    /// A conversion is never a deletion: the link follows its record, or ends.
    fn converted(&self, link: &Link, tombstone: &Tombstone, plan: &mut EntityPlan) {
        let side = tombstone.key.side;
        let heir = tombstone.successor.as_ref().and_then(|heir| {
            let known = self.state.named.get(&(side, heir.clone()))?;
            known.link.is_none().then_some(heir)
        });
        plan.ops.push(match heir {
            Some(heir) => self.redirect(link, heir, tombstone),
            None => self.close(link, Code::Converted, vec![tombstone.clone()]),
        });
    }

    /// §9: the record on one side was deleted.
    fn deleted(
        &self,
        subject: &'a Subject,
        link: &'a Link,
        tombstone: &Tombstone,
        survivor: &'a Observation,
        plan: &mut EntityPlan,
    ) {
        let about = self.about(subject, link);
        if let Some(heirs) = self.state.heirs.get(&(tombstone.key.side, tombstone.key.id.clone())) {
            let candidates = heirs.clone();
            let row = about.row(RowKind::Match, Code::SuspectedMerge, None);
            let row = OpenRow { fingerprint: fingerprint(&candidates), candidates, ..row };
            match subject.choice(&row.id, &row.fingerprint) {
                Some(Choice::Link { candidate }) => {
                    return plan.ops.push(self.redirect(link, candidate, tombstone));
                }
                Some(Choice::Ignore | Choice::Create) => {}
                Some(Choice::Left | Choice::Right | Choice::Value { .. } | Choice::Pin) | None => {
                    return plan.rows.push(row);
                }
            }
        }
        // The survivor was itself deleted and brought back: a person wants the pair again.
        if subject.tombstones[survivor.key.side].is_some() {
            return self.recreate(subject, link, survivor, Code::Revived, plan);
        }
        if self.edited(link, survivor) {
            return self.delete_edit(subject, link, tombstone, survivor, plan);
        }
        plan.ops.push(self.follow(link, tombstone, survivor));
    }

    /// Whether the survivor differs from the baseline, or could: an unknown past counts as an edit (P3).
    fn edited(&self, link: &Link, survivor: &Observation) -> bool {
        let side = survivor.key.side;
        let mapped = self.entity.fields.iter().filter(|rule| rule.remote[side].is_some());
        mapped.into_iter().any(|rule| {
            match (link.baseline.get(&rule.name), value(rule, side, survivor)) {
                (Some(known), Some(now)) => known.values[side] != *now,
                (None, Some(now)) => !now.is_empty(),
                (_, None) => true,
            }
        })
    }

    /// Deletes, archives or keeps the survivor: §9.2. Weak evidence only ever keeps.
    fn follow(&self, link: &Link, tombstone: &Tombstone, survivor: &Observation) -> Op {
        let (side, id) = (survivor.key.side, survivor.key.id.clone());
        let expected = || self.expected(link, side);
        let sure = match tombstone.evidence {
            DeleteEvidence::Strong | DeleteEvidence::Person => true,
            DeleteEvidence::Weak => self.entity.deletes.accept_weak,
        };
        let flows = self.entity.direction.flows_from(tombstone.key.side);
        match self.entity.deletes.policy[side] {
            DeletePolicy::Propagate if sure && flows => {
                let kind = OpKind::Delete { side, id, expected: expected() };
                self.op(&link.id, Code::DeleteCounterpart, kind)
            }
            DeletePolicy::Archive if sure && flows => {
                let kind = OpKind::Archive { side, id, expected: expected() };
                self.op(&link.id, Code::ArchiveCounterpart, kind)
            }
            DeletePolicy::Keep | DeletePolicy::Archive | DeletePolicy::Propagate => {
                self.close(link, Code::KeepCounterpart, vec![tombstone.clone()])
            }
        }
    }

    /// What the target must still hold when it is deleted.
    fn expected(&self, link: &Link, side: Side) -> BTreeMap<FieldName, Value> {
        let mapped = self.entity.fields.iter().filter(|rule| rule.remote[side].is_some());
        let half = |rule: &FieldRule| {
            let known = link.baseline.get(&rule.name)?;
            Some((rule.name.clone(), known.values[side].clone()))
        };
        mapped.filter_map(half).collect()
    }

    /// §9.3: one side deleted what the other edited.
    fn delete_edit(
        &self,
        subject: &'a Subject,
        link: &'a Link,
        tombstone: &Tombstone,
        survivor: &'a Observation,
        plan: &mut EntityPlan,
    ) {
        let row = self.about(subject, link).row(RowKind::Conflict, Code::DeleteEdit, None);
        let row = OpenRow { fingerprint: fingerprint(&survivor.fields), ..row };
        let (kept, gone) = (survivor.key.side, tombstone.key.side);
        let chosen = match subject.choice(&row.id, &row.fingerprint) {
            Some(Choice::Left) => Some(Side::Left),
            Some(Choice::Right) => Some(Side::Right),
            Some(Choice::Ignore) => {
                let tombstones = vec![tombstone.clone()];
                return plan.ops.push(self.close(link, Code::KeepCounterpart, tombstones));
            }
            Some(Choice::Value { .. } | Choice::Pin | Choice::Link { .. } | Choice::Create)
            | None => match self.entity.deletes.on_edit {
                DeleteEditPolicy::Queue => None,
                DeleteEditPolicy::EditWins => Some(kept),
                DeleteEditPolicy::DeleteWins => Some(gone),
            },
        };
        match chosen {
            Some(side) if side == kept => {
                self.recreate(subject, link, survivor, Code::NewId, plan);
            }
            Some(_) => {
                plan.ops.push(with_present(self.follow(link, tombstone, survivor), survivor));
            }
            None => {
                if link.state != LinkState::HalfDeleted {
                    plan.ops.push(self.relate(link, LinkState::HalfDeleted, Code::DeleteEdit));
                }
                plan.rows.push(row);
            }
        }
    }

    /// Makes the deleted counterpart anew, under the same link and a new ID.
    fn recreate(
        &self,
        subject: &'a Subject,
        link: &'a Link,
        survivor: &'a Observation,
        code: Code,
        plan: &mut EntityPlan,
    ) {
        let creation = Creation { subject, source: survivor, link: &link.id, code };
        if !self.create(&creation, plan) {
            return;
        }
        let side = survivor.key.side;
        let ends = Pair::from_side(side, Some(survivor.key.id.clone()), None);
        let (state, tombstones) = (LinkState::Creating, Vec::new());
        let kind = OpKind::Relate { state, ends, tombstones, keep_baseline: false };
        plan.ops.push(self.op(&link.id, Code::NewId, kind));
    }
}

fn alive(subject: &Subject, side: Side) -> Option<&Observation> {
    subject.observations[side].as_ref().filter(|seen| seen.presence == Presence::Alive)
}

/// The side whose tombstoned record is back: a read by ID found it alive.
fn revived(subject: &Subject) -> Option<Side> {
    let back = |side: &Side| {
        let deleted = |tombstone: &Tombstone| tombstone.cause == TombstoneCause::Deleted;
        subject.tombstones[*side].as_ref().is_some_and(deleted) && alive(subject, *side).is_some()
    };
    Side::BOTH.into_iter().find(back)
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

/// The deletion wins over an edit that was seen: the target must hold what was seen, not the baseline.
fn with_present(mut op: Op, survivor: &Observation) -> Op {
    if let OpKind::Delete { expected, .. } | OpKind::Archive { expected, .. } = &mut op.kind {
        expected.clone_from(&survivor.fields);
    }
    op
}
