//! Takes a run back: inverse ops from its journal, newest first. Semantics §16.

use std::collections::BTreeMap;

use super::rows::{About, fingerprint};
use crate::model::journal::{JournalEntry, LinkBefore};
use crate::model::plan::Change;
use crate::model::row::RowKind;
use crate::model::{
    Baseline, Code, EntityName, FieldName, LinkId, LinkState, Observation, Op, OpKind, OpenRow,
    Pair, Presence, RecordId, RecordKey, Side, Value,
};

/// What taking a run back would do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UndoPlan {
    /// In order: the last thing done is undone first.
    pub steps: Vec<UndoStep>,
    /// What is skipped because somebody edited it since, or because nothing can take it back.
    pub rows: Vec<OpenRow>,
}

/// One inverse step, and the baseline that its link has again afterwards.
#[derive(Clone, Debug, PartialEq)]
pub struct UndoStep {
    pub entity: EntityName,
    pub link: LinkId,
    pub action: UndoAction,
    pub baseline: Baseline,
}

#[derive(Clone, Debug, PartialEq)]
pub enum UndoAction {
    /// An ordinary op. Deletes count against the cap: hand them to the guards.
    Run(Op),
    /// Remote: takes the record out of the side's recycle bin.
    Restore { side: Side, id: RecordId },
    /// Only the baseline returns.
    Baseline,
}

type Fields = BTreeMap<FieldName, Value>;

/// Plans the inverse of a run. `seen` are the present observations of all records that it wrote.
///
/// An entry is skipped as a whole when a field it wrote no longer holds what it wrote: an edit made since is
/// never overwritten (I26). `can_restore` says which sides have a recycle bin to restore from; elsewhere a
/// deleted record is made anew under a new ID.
pub fn plan_undo(
    entries: &[JournalEntry],
    seen: &BTreeMap<RecordKey, Observation>,
    can_restore: &Pair<bool>,
) -> UndoPlan {
    let mut order: Vec<_> = entries.iter().collect();
    order.sort_by_key(|entry| std::cmp::Reverse(entry.seq));
    let mut undo = Undo { seen, can_restore, undone: BTreeMap::new(), plan: UndoPlan::default() };
    for entry in order {
        undo.take_back(entry);
    }
    undo.plan
}

struct Undo<'a> {
    seen: &'a BTreeMap<RecordKey, Observation>,
    can_restore: &'a Pair<bool>,
    /// Values that steps of this plan put back already.
    undone: BTreeMap<RecordKey, Fields>,
    plan: UndoPlan,
}

impl Undo<'_> {
    fn take_back(&mut self, entry: &JournalEntry) {
        match &entry.op {
            OpKind::Update { side, id, changes, .. } => self.update(entry, *side, id, changes),
            OpKind::Create { side, .. } => self.creation(entry, *side),
            OpKind::Delete { side, id, .. } => self.deletion(entry, *side, id),
            OpKind::Archive { side, id, .. } => self.refuse(entry, *side, id),
            OpKind::Link { .. } => {
                let ends = Pair::default();
                self.relate(entry, &LinkBefore { state: LinkState::Closed, ends });
            }
            OpKind::Relate { .. } | OpKind::Revive { .. } => match &entry.link_before {
                Some(before) => self.relate(entry, before),
                None => self.push(entry, UndoAction::Baseline),
            },
            OpKind::Agree { .. } => self.push(entry, UndoAction::Baseline),
        }
    }

    fn update(
        &mut self,
        entry: &JournalEntry,
        side: Side,
        id: &RecordId,
        changes: &BTreeMap<FieldName, Change>,
    ) {
        let key = key(entry, side, id);
        if !self.untouched(&key, &entry.after) {
            return self.refuse(entry, side, id);
        }
        let back = |(name, change): (&FieldName, &Change)| {
            let before = entry.after.get(name).unwrap_or(&change.after).clone();
            let after = entry.before.get(name).unwrap_or(&change.before).clone();
            let source = entry.baseline_before.get(name).map(|known| &known.values[side.other()]);
            let source = source.unwrap_or(&change.source).clone();
            (name.clone(), Change { before, after, source, halfway: false })
        };
        let changes: BTreeMap<_, _> = changes.iter().map(back).collect();
        let restored = changes.iter().map(|(name, change)| (name.clone(), change.after.clone()));
        self.undone.entry(key).or_default().extend(restored);
        let kind = OpKind::Update { side, id: id.clone(), changes, planned_on: None };
        self.run(entry, Code::Undo, kind);
    }

    /// A record that the run made goes again, unless somebody worked on it.
    fn creation(&mut self, entry: &JournalEntry, side: Side) {
        let Some(id) = &entry.created else { return };
        if !self.untouched(&key(entry, side, id), &entry.after) {
            return self.refuse(entry, side, id);
        }
        let expected = entry.after.clone();
        self.run(entry, Code::Undo, OpKind::Delete { side, id: id.clone(), expected });
    }

    fn deletion(&mut self, entry: &JournalEntry, side: Side, id: &RecordId) {
        if self.can_restore[side] {
            return self.push(entry, UndoAction::Restore { side, id: id.clone() });
        }
        let ends = entry.link_before.as_ref().map(|before| before.ends.clone());
        let Some(source) = ends.and_then(|ends| ends[side.other()].clone()) else {
            return self.refuse(entry, side, id);
        };
        let fields = entry.before.iter().filter(|(_, value)| !value.is_empty());
        let fields = fields.map(|(name, value)| (name.clone(), value.clone())).collect();
        let half = |(name, known): (&FieldName, &crate::model::Agreement)| {
            (name.clone(), known.values[side.other()].clone())
        };
        let from = entry.baseline_before.iter().map(half).collect();
        self.run(entry, Code::NewId, OpKind::Create { side, source, fields, from });
    }

    fn relate(&mut self, entry: &JournalEntry, before: &LinkBefore) {
        let (state, ends) = (before.state, before.ends.clone());
        let kind = OpKind::Relate { state, ends, tombstones: Vec::new(), keep_baseline: false };
        self.run(entry, Code::Undo, kind);
    }

    fn run(&mut self, entry: &JournalEntry, code: Code, kind: OpKind) {
        let (entity, link) = (entry.entity.clone(), entry.link.clone());
        self.push(entry, UndoAction::Run(Op { entity, link, code, kind, later: Vec::new() }));
    }

    fn push(&mut self, entry: &JournalEntry, action: UndoAction) {
        let (entity, link) = (entry.entity.clone(), entry.link.clone());
        let baseline = entry.baseline_before.clone();
        self.plan.steps.push(UndoStep { entity, link, action, baseline });
    }

    /// Whether the record is alive and still holds what the run wrote.
    fn untouched(&self, key: &RecordKey, written: &Fields) -> bool {
        let Some(seen) = self.seen.get(key) else { return false };
        let undone = self.undone.get(key);
        let holds = |(name, value): (&FieldName, &Value)| {
            let now = undone.and_then(|fields| fields.get(name)).or_else(|| seen.fields.get(name));
            now == Some(value)
        };
        seen.presence == Presence::Alive && written.iter().all(holds)
    }

    fn refuse(&mut self, entry: &JournalEntry, side: Side, id: &RecordId) {
        let seen = self.seen.get(&key(entry, side, id));
        let about = About {
            entity: &entry.entity,
            link: Some(&entry.link),
            records: Pair::from_side(side, Some(id.clone()), None),
            modified_at: Pair::from_side(side, seen.and_then(|seen| seen.modified_at), None),
        };
        let row = about.row(RowKind::Conflict, Code::UndoConflict, None);
        let print = fingerprint(&seen.map(|seen| &seen.fields));
        self.plan.rows.push(OpenRow { fingerprint: print, ..row });
    }
}

fn key(entry: &JournalEntry, side: Side, id: &RecordId) -> RecordKey {
    RecordKey { entity: entry.entity.clone(), side, id: id.clone() }
}
