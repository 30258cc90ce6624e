//! From decisions to writes: all fields of one pair. Semantics §8, §12, §13, §14.

use std::collections::BTreeMap;

use super::merge::{Ends, Merge, Unit, Verdict, merge_field, write_code};
use super::relation::Translation;
use super::rows::{About, fingerprint};
use crate::model::mapping::Conflicts;
use crate::model::plan::Change;
use crate::model::row::{Choice, RowKind};
use crate::model::state::{Identities, Subject};
use crate::model::{
    Code, EntityName, FieldName, FieldRule, LinkId, OpenRow, Pair, Relation, Side, Value,
};

type Changes = BTreeMap<FieldName, Change>;

/// What merging all fields of one pair asks for.
#[derive(Debug, Default)]
pub(super) struct Merged {
    pub(super) agreed: BTreeMap<FieldName, Pair<Value>>,
    pub(super) pinned: BTreeMap<FieldName, Pair<Value>>,
    /// By the side to write.
    pub(super) changes: Pair<Changes>,
    /// The code of each written side: the common one, or the most telling.
    pub(super) codes: Pair<Option<Code>>,
    pub(super) rows: Vec<OpenRow>,
}

/// Who is merged, and what is remembered about them.
#[derive(Clone, Copy)]
pub(super) struct Meeting<'a> {
    pub(super) entity: &'a EntityName,
    pub(super) conflicts: &'a Conflicts,
    pub(super) ids: &'a dyn Identities,
    /// The link, also when this plan makes it.
    pub(super) link: &'a LinkId,
    pub(super) ends: Ends<'a>,
    /// Quarantine, recent writes and decisions; a new link has none.
    pub(super) memory: Option<&'a Subject>,
    pub(super) oscillation_writes: usize,
}

/// Fingerprint of what was about to be written to `side` when it was refused: semantics §13.
///
/// For a refused field `values` holds that field alone, for a refused record all its values.
pub fn payload_fingerprint(side: Side, values: &BTreeMap<FieldName, Value>) -> String {
    fingerprint(&(side, values))
}

impl Merged {
    pub(super) fn is_empty(&self) -> bool {
        self.agreed.is_empty()
            && self.pinned.is_empty()
            && self.changes.left.is_empty()
            && self.changes.right.is_empty()
            && self.rows.is_empty()
    }

    fn write(&mut self, side: Side, changes: Changes, code: Code) {
        if changes.is_empty() {
            return;
        }
        let plain = write_code(side.other());
        let known = self.codes[side].unwrap_or(plain);
        self.codes[side] = Some(if known == plain { code } else { known });
        self.changes[side].extend(changes);
    }
}

/// What one unit adds.
#[derive(Default)]
struct Step {
    agreed: BTreeMap<FieldName, Pair<Value>>,
    changes: Changes,
}

impl<'a> Meeting<'a> {
    /// Merges all units of the pair.
    pub(super) fn merge(&self, units: &[Unit<'a>]) -> Merged {
        let mut merged = Merged::default();
        for unit in units {
            match merge_field(unit, self.conflicts, self.ids, self.ends) {
                Merge::Unchanged => {}
                Merge::Agreed => merged.agreed.extend(self.now(unit)),
                Merge::Kept => merged.pinned.extend(self.now(unit)),
                Merge::Flow { from, code } => self.flow(unit, from, code, &mut merged),
                Merge::Decided { winner, verdict } => {
                    self.conflict(unit, verdict, Some(winner), &mut merged);
                }
                Merge::Queued(verdict) => self.conflict(unit, verdict, None, &mut merged),
                Merge::Union(value) => self.both(unit, &value, Code::Agreed, &mut merged),
                Merge::Hold(code) => merged.rows.push(self.hold(unit, code)),
            }
        }
        self.set_aside(&mut merged);
        merged
    }

    fn about(&self) -> About<'a> {
        About::pair(self.entity, Some(self.link), self.ends)
    }

    fn hold(&self, unit: &Unit<'_>, code: Code) -> OpenRow {
        self.about().unit_row(RowKind::Hold, code, unit, self.ends)
    }

    fn now(&self, unit: &Unit<'a>) -> BTreeMap<FieldName, Pair<Value>> {
        let values = |rule: &&'a FieldRule| {
            let values = self.ends.values(rule)?.map(Value::clone);
            Some((rule.name.clone(), values))
        };
        unit.members.iter().filter_map(values).collect()
    }

    /// Writes what `from` shows to the other side, or holds the unit.
    fn flow(&self, unit: &Unit<'a>, from: Side, code: Code, merged: &mut Merged) {
        let target = from.other();
        let step = match self.translate(unit, from) {
            Ok(step) => step,
            Err(Code::LossyBackWrite) => {
                let row = self.hold(unit, Code::LossyBackWrite);
                return self.ask(unit, row, merged);
            }
            Err(held) => return merged.rows.push(self.hold(unit, held)),
        };
        self.accept(unit, target, step, code, merged);
    }

    fn translate(&self, unit: &Unit<'a>, from: Side) -> Result<Step, Code> {
        let target = from.other();
        let mut step = Step::default();
        for rule in &unit.members {
            let Some(values) = self.ends.values(rule) else { return Err(Code::NotReturned) };
            if rule.agree(self.ids, values.left, values.right) {
                step.agreed.insert(rule.name.clone(), values.map(Value::clone));
                continue;
            }
            let after = match rule.translate(self.ids, target, values[from], values[target]) {
                Translation::Write(after) => after,
                Translation::Hold(code) => return Err(code),
            };
            let (before, source) = (values[target].clone(), values[from].clone());
            let change = Change { before, after, source, halfway: false };
            step.changes.insert(rule.name.clone(), change);
        }
        Ok(step)
    }

    /// Takes a step unless its values were refused before, or automations fight over them.
    fn accept(&self, unit: &Unit<'a>, target: Side, step: Step, code: Code, merged: &mut Merged) {
        if let Some(kind_code) = self.refused(target, &step.changes) {
            let refused = kind_code == Code::Quarantined;
            let kind = if refused { RowKind::Quarantine } else { RowKind::Hold };
            let row = self.about().unit_row(kind, kind_code, unit, self.ends);
            return merged.rows.push(row);
        }
        merged.agreed.extend(step.agreed);
        merged.write(target, step.changes, code);
    }

    fn refused(&self, target: Side, changes: &Changes) -> Option<Code> {
        let memory = self.memory?;
        let known = |(name, change): (&FieldName, &Change)| {
            let payload = BTreeMap::from([(name.clone(), change.after.clone())]);
            let refused = memory.quarantined.get(&Some(name.clone()));
            if refused.is_some_and(|print| *print == payload_fingerprint(target, &payload)) {
                return Some(Code::Quarantined);
            }
            self.oscillates(memory, target, name, &change.after).then_some(Code::Oscillation)
        };
        changes.iter().find_map(known)
    }

    /// Automations on both sides flip a value for ever: semantics §9.4.
    fn oscillates(&self, memory: &Subject, side: Side, name: &FieldName, after: &Value) -> bool {
        let writes = |side: Side| memory.recent_writes.get(&(name.clone(), side));
        let count: usize = Side::BOTH.into_iter().filter_map(writes).map(Vec::len).sum();
        let returns = writes(side).is_some_and(|values| values.contains(after));
        count > self.oscillation_writes && returns
    }

    /// A difference: a person's decision comes first, then the policy's winner, else it waits.
    fn conflict(
        &self,
        unit: &Unit<'a>,
        verdict: Verdict,
        winner: Option<Side>,
        merged: &mut Merged,
    ) {
        let row = self.about().conflict(unit, self.ends, verdict, winner);
        let Some(winner) = winner else { return self.ask(unit, row, merged) };
        if self.choice(&row).is_some() {
            return self.ask(unit, row, merged);
        }
        let rows = merged.rows.len();
        self.flow(unit, winner, verdict.code, merged);
        if merged.rows.len() == rows {
            merged.rows.push(row);
        }
    }

    fn choice(&self, row: &OpenRow) -> Option<&'a Choice> {
        self.memory?.choice(&row.id, &row.fingerprint)
    }

    /// Does what a person chose about the row; without a choice the row stays open.
    fn ask(&self, unit: &Unit<'a>, row: OpenRow, merged: &mut Merged) {
        let two_way = unit.flows.left && unit.flows.right;
        match self.choice(&row) {
            Some(Choice::Left) => self.force(unit, Side::Left, row, merged),
            Some(Choice::Right) => self.force(unit, Side::Right, row, merged),
            Some(Choice::Pin) => merged.pinned.extend(self.now(unit)),
            Some(Choice::Value { value }) if unit.members.len() == 1 && two_way => {
                self.both(unit, value, Code::Conflict, merged);
            }
            Some(Choice::Value { .. } | Choice::Link { .. } | Choice::Create | Choice::Ignore)
            | None => merged.rows.push(row),
        }
    }

    /// Writes one side's values as a person decided, also where that loses what only the other side keeps.
    fn force(&self, unit: &Unit<'a>, from: Side, row: OpenRow, merged: &mut Merged) {
        let target = from.other();
        let step = match self.translate(unit, from) {
            Err(Code::LossyBackWrite) => self.overwrite(unit, from),
            other => other,
        };
        match step {
            Ok(step) if unit.open[from] => self.accept(unit, target, step, Code::Conflict, merged),
            Ok(_) => merged.rows.push(row),
            Err(held) => merged.rows.push(self.hold(unit, held)),
        }
    }

    fn overwrite(&self, unit: &Unit<'a>, from: Side) -> Result<Step, Code> {
        let target = from.other();
        let mut step = Step::default();
        for rule in &unit.members {
            let Some(values) = self.ends.values(rule) else { return Err(Code::NotReturned) };
            match rule.translate(self.ids, target, values[from], &Value::Empty) {
                Translation::Hold(code) => return Err(code),
                Translation::Write(after) if after == *values[target] => {
                    step.agreed.insert(rule.name.clone(), values.map(Value::clone));
                }
                Translation::Write(after) => {
                    let (before, source) = (values[target].clone(), values[from].clone());
                    let change = Change { before, after, source, halfway: false };
                    step.changes.insert(rule.name.clone(), change);
                }
            }
        }
        Ok(step)
    }

    /// Brings a third value, in the left side's form, to both sides.
    ///
    /// When both must be written, this plan writes one and the next plan the other: two writes that are
    /// committed apart could otherwise end with the older value winning.
    fn both(&self, unit: &Unit<'a>, left: &Value, code: Code, merged: &mut Merged) {
        let Some(rule) = unit.members.first() else { return };
        let Some(now) = self.ends.values(rule) else { return };
        let right = match rule.translate(self.ids, Side::Right, left, now.right) {
            Translation::Write(right) => right,
            Translation::Hold(held) => return merged.rows.push(self.hold(unit, held)),
        };
        let after = Pair::new(left.clone(), right);
        let (target, halfway) = match (after.left != *now.left, after.right != *now.right) {
            (false, false) => {
                merged.agreed.insert(rule.name.clone(), after);
                return;
            }
            (true, false) => (Side::Left, false),
            (false, true) => (Side::Right, false),
            (true, true) if now.left <= now.right => (Side::Left, true),
            (true, true) => (Side::Right, true),
        };
        let source = now[target.other()].clone();
        let before = now[target].clone();
        let change = Change { before, after: after[target].clone(), source, halfway };
        let changes = BTreeMap::from([(rule.name.clone(), change)]);
        let step = Step { agreed: BTreeMap::new(), changes };
        self.accept(unit, target, step, code, merged);
    }

    /// Keeps a record out of writes while what was refused as a whole has not changed.
    fn set_aside(&self, merged: &mut Merged) {
        let Some(print) = self.memory.and_then(|memory| memory.quarantined.get(&None)) else {
            return;
        };
        for side in Side::BOTH {
            let values = |changes: &Changes| {
                changes.iter().map(|(name, change)| (name.clone(), change.after.clone())).collect()
            };
            let payload = values(&merged.changes[side]);
            if !merged.changes[side].is_empty() && payload_fingerprint(side, &payload) == *print {
                merged.changes[side].clear();
                let about = self.about();
                merged.rows.push(about.row(RowKind::Quarantine, Code::Quarantined, None));
            }
        }
    }
}

/// Whether the field waits for another record.
pub(super) const fn is_reference(rule: &FieldRule) -> bool {
    matches!(rule.relation, Relation::Reference { .. })
}
