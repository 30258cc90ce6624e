//! Pairs that lost an end: merges, conversions, deletions. Semantics §7.3, §9.1–9.3.

use std::collections::BTreeMap;

use super::create::Creation;
use super::merge::value;
use super::plan::{EntityPlan, Planning};
use super::rows::fingerprint;
use crate::model::link::{DeleteEvidence, TombstoneCause};
use crate::model::mapping::{DeleteEditPolicy, DeletePolicy, MergedPolicy};
use crate::model::row::{Choice, RowKind};
use crate::model::state::Subject;
use crate::model::{
    Code, FieldName, FieldRule, Link, LinkState, Observation, Op, OpKind, OpenRow, Pair, RecordId,
    Side, Tombstone, Value,
};

impl<'a> Planning<'a> {
    /// One end is gone, the other is here.
    pub(super) fn half_gone(
        &self,
        subject: &'a Subject,
        link: &'a Link,
        tombstone: &'a Tombstone,
        survivor: &'a Observation,
        plan: &mut EntityPlan,
    ) {
        match tombstone.cause {
            TombstoneCause::MergedAway => {
                self.merged_away(subject, link, tombstone, survivor, plan);
            }
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
        survivor: &Observation,
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
            Some(_) if self.may_delete_merged(link, tombstone, survivor) => {
                let (side, id) = (survivor.key.side, survivor.key.id.clone());
                let kind = OpKind::Delete { side, id, expected: self.expected(link, side) };
                plan.ops.push(self.op(&link.id, Code::Merged, kind));
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

    /// Whether the counterpart of a merged record goes too: asked for, proven, and nobody edited it since.
    fn may_delete_merged(
        &self,
        link: &Link,
        tombstone: &Tombstone,
        survivor: &Observation,
    ) -> bool {
        self.entity.merged == MergedPolicy::Delete
            && survivor.in_scope
            && tombstone.evidence != DeleteEvidence::Weak
            && self.entity.direction.flows_from(tombstone.key.side)
            && !self.edited(link, survivor)
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
    pub(super) fn recreate(
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

/// The deletion wins over an edit that was seen: the target must hold what was seen, not the baseline.
fn with_present(mut op: Op, survivor: &Observation) -> Op {
    if let OpKind::Delete { expected, .. } | OpKind::Archive { expected, .. } = &mut op.kind {
        expected.clone_from(&survivor.fields);
    }
    op
}
