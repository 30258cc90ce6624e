//! What people wrote, and what may therefore stand where: an account that sees everything and decides nothing.
//!
//! Every value that a person writes is new, so a value that is lost, old or invented can be told from the others.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use crmsync_core::invariants::Violation;
use crmsync_core::model::Side;

use crate::crms::{Kind, Shown, Unit, Who};

/// Time that a write in doubt keeps its link frozen, less what may pass between arming and sending.
const FROZEN: TimeDelta = TimeDelta::seconds(90);
/// Values that a server's automation made end so.
pub(crate) const AUTOMATED: &str = "~a";

/// Who did something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Author {
    Person,
    Engine,
    /// The engine, a while ago.
    EngineLate,
}

/// A value that a person wrote, and at which tick.
#[derive(Clone, Debug)]
struct Edit {
    value: String,
    tick: u64,
    /// Else it merely may count as one: see [`Ledger::all_edited`].
    is_real: bool,
}

/// An engine's write over another value.
#[derive(Clone, Debug)]
pub(crate) struct Overwrite {
    pub(crate) who: Who,
    pub(crate) unit: Unit,
    pub(crate) lost: String,
    pub(crate) by: String,
}

#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(crate) struct Ledger {
    /// Counts everything that happens.
    pub(crate) tick: u64,
    /// The tick at which the run under way began.
    run_tick: u64,
    pub(crate) shown: BTreeMap<Who, Shown>,
    /// What people wrote since the pair last agreed.
    edits: BTreeMap<(Who, Unit), Edit>,
    /// What the pair last agreed on, by its left end.
    agreed: BTreeMap<(Who, Unit), String>,
    /// What the engine wrote into a record, and knows that it did.
    told: BTreeMap<(Who, Unit), BTreeSet<String>>,
    /// What a record showed when it vanished.
    last_shown: BTreeMap<Who, Shown>,
    /// Everything that any person ever wrote.
    ever: BTreeSet<String>,
    /// Live links as the store has them.
    pub(crate) pairs: BTreeMap<Who, Who>,
    /// Every counterpart that a record ever had.
    pub(crate) partners: BTreeMap<Who, BTreeSet<Who>>,
    /// Agreements that the engine brought about in this run, with what people had written before: until its
    /// commit it does not know of them.
    fresh: Vec<(Who, Who, Unit, [Option<Edit>; 2])>,
    /// When the engine last read a record by id.
    read: BTreeMap<Who, u64>,
    /// Records that the engine made, by the source that their external ID named then.
    pub(crate) made: BTreeMap<(Side, Kind, String), Vec<Who>>,
    /// Records that people deleted or merged away, and when.
    pub(crate) buried: BTreeMap<Who, DateTime<Utc>>,
    /// Records that came back from the recycle bin: where that stamps nothing, only a full listing shows it.
    pub(crate) revived: BTreeSet<Who>,
    /// Deletions of this run by the engine.
    pub(crate) deleted_in_run: BTreeMap<(Side, Kind), u64>,
    /// Records whose write is in doubt, until when.
    doubts: BTreeMap<Who, DateTime<Utc>>,
    /// Pairs that a restored store may have forgotten.
    forgotten: BTreeSet<Who>,
    /// The store was put back and no run has gone through since: both sides of every pair count as edited.
    pub(crate) amnesia: bool,
    pub(crate) overwrites: Vec<Overwrite>,
    pub(crate) violations: Vec<Violation>,
    pub(crate) edits_made: usize,
    /// Edits that fell between a re-read and its write.
    pub(crate) in_window: usize,
    /// Engine's writes by record and unit.
    pub(crate) writes: BTreeMap<(Who, Unit), u64>,
    /// Whether administrators changed what a telephone number is.
    pub(crate) phones_redefined: bool,
    /// Whether servers cut values without a word.
    pub(crate) truncates: bool,
    /// Whether some records could not be seen since the last run began.
    pub(crate) sightless: bool,
}

impl Ledger {
    pub(crate) fn broken(&mut self, law: &'static str, seen: impl Into<String>) {
        self.violations.push(Violation { law, seen: seen.into() });
    }

    pub(crate) fn of_kind(&self, side: Side, kind: Kind) -> Vec<Who> {
        self.shown.keys().filter(|who| who.side == side && who.kind == kind).cloned().collect()
    }

    /// Every record that is or was.
    pub(crate) fn known(&self, side: Side, kind: Kind) -> BTreeSet<Who> {
        let all = self.shown.keys().chain(self.buried.keys()).chain(self.pairs.keys());
        all.filter(|who| who.side == side && who.kind == kind).cloned().collect()
    }

    /// Every counterpart that a record had, whether or not the store came to know of it.
    pub(crate) fn partners_of(&self, who: &Who) -> BTreeSet<Who> {
        let mut all = self.partners.get(who).cloned().unwrap_or_default();
        for ((side, kind, source), made) in &self.made {
            let origin = Who { side: side.other(), kind: *kind, id: source.clone() };
            if made.contains(who) {
                all.insert(origin);
            } else if origin == *who {
                all.extend(made.iter().cloned());
            }
        }
        all
    }

    pub(crate) fn partner(&self, who: &Who) -> Option<&Who> {
        self.pairs.get(who)
    }

    pub(crate) fn value(&self, who: &Who, unit: Unit) -> &str {
        self.shown.get(who).and_then(|shown| shown.unit(who.kind, unit)).unwrap_or_default()
    }

    /// The engine read these records by id.
    pub(crate) fn read_by_id(&mut self, who: Who) {
        self.read.insert(who, self.tick);
    }

    /// A record as it is now, after somebody acted on it.
    pub(crate) fn observe(
        &mut self,
        who: &Who,
        now: Option<Shown>,
        author: Author,
        at: DateTime<Utc>,
    ) {
        self.tick += 1;
        match (self.shown.get(who).cloned(), now) {
            (None, Some(now)) => self.appeared(who, now, author),
            (Some(before), Some(now)) => self.changed(who, &before, &now, author, at),
            (Some(before), None) => {
                self.vanished(who, author, at);
                self.last_shown.insert(who.clone(), before);
            }
            (None, None) => {}
        }
    }

    fn appeared(&mut self, who: &Who, now: Shown, author: Author) {
        let source = now.external.clone();
        let is_back = self.buried.contains_key(who);
        for (unit, value) in who.kind.units().iter().zip(&now.units) {
            let automated = value.ends_with(AUTOMATED) && who.side == Side::Left;
            if author == Author::Person && !is_back || automated {
                self.wrote_as(who, *unit, value, !automated);
            } else if author != Author::Person {
                self.must_be_known(who, *unit, value);
            }
            if author != Author::Person {
                self.told(who, *unit, value);
            }
        }
        self.shown.insert(who.clone(), now);
        if author != Author::Person {
            self.created(who, source);
        }
        // Back from the recycle bin: what both sides show may be new to the other one.
        if self.buried.remove(who).is_some() {
            self.revived.insert(who.clone());
            self.all_edited(who);
        }
    }

    fn created(&mut self, who: &Who, source: String) {
        let origin = Who { side: who.side.other(), kind: who.kind, id: source.clone() };
        let group = (who.side, who.kind, source);
        let before = self.made.get(&group).cloned().unwrap_or_default();
        // Nothing tells of a twin whose external ID a person cleared, once the store forgot it.
        let is_lost = |one: &Who| {
            self.forgotten.contains(one)
                && self.shown.get(one).is_some_and(|shown| shown.external.is_empty())
        };
        let twin = before.iter().find(|one| self.shown.contains_key(*one) && !is_lost(one));
        if let Some(twin) = twin {
            self.broken("I6", format!("{who} was made although {twin} stands for {origin}"));
        }
        let known = self.partners.get(&origin).cloned().unwrap_or_default();
        let dead = known.iter().find(|one| {
            one.side == who.side && self.buried.contains_key(*one) && !self.forgotten.contains(*one)
        });
        // A person who brought the source back may well want both.
        if let Some(dead) = dead.filter(|_| !self.revived.contains(&origin)) {
            self.broken("I7", format!("{who} was made for {origin} whose {dead} a person deleted"));
        }
        self.made.entry(group).or_default().push(who.clone());
    }

    fn changed(
        &mut self,
        who: &Who,
        before: &Shown,
        now: &Shown,
        author: Author,
        at: DateTime<Utc>,
    ) {
        self.shown.insert(who.clone(), now.clone());
        let units = who.kind.units().iter().enumerate();
        for (index, unit) in units {
            let (old, new) = (&before.units[index], &now.units[index]);
            if old == new {
                continue;
            }
            let automated = new.ends_with(AUTOMATED) && who.side == Side::Left;
            if author == Author::Person || automated {
                self.wrote_as(who, *unit, new, !automated);
                if author != Author::Person {
                    self.told(who, *unit, new);
                }
            } else {
                if author == Author::Engine {
                    self.must_not_be_frozen(who, at);
                }
                self.engine_wrote(who, *unit, old, new);
            }
        }
        // The engine has read both before it wrote; of what people make the same it learns later.
        if author == Author::Engine && before != now {
            for unit in who.kind.units() {
                self.compare(who, *unit);
            }
        }
    }

    /// The engine wrote a value; what a workflow made of it at once is its value too.
    fn told(&mut self, who: &Who, unit: Unit, value: &str) {
        let all = self.told.entry((who.clone(), unit)).or_default();
        all.extend([value.to_owned(), value.trim_end_matches(AUTOMATED).to_owned()]);
    }

    fn engine_wrote(&mut self, who: &Who, unit: Unit, old: &str, new: &str) {
        self.must_be_known(who, unit, new);
        self.told(who, unit, new);
        *self.writes.entry((who.clone(), unit)).or_default() += 1;
        let read = self.read.get(who).copied().unwrap_or(0);
        let key = (who.clone(), unit);
        if self.edits.get(&key).is_some_and(|edit| edit.tick > read) {
            self.edits.remove(&key);
            self.in_window += 1;
        } else if !old.is_empty() {
            let (lost, by) = (old.to_owned(), new.to_owned());
            self.overwrites.push(Overwrite { who: who.clone(), unit, lost, by });
        }
    }

    fn must_be_known(&mut self, who: &Who, unit: Unit, value: &str) {
        let cut = || self.truncates && self.ever.iter().any(|known| known.starts_with(value));
        if !value.is_empty() && !self.ever.contains(value) && !cut() {
            self.broken("I5", format!("{unit:?} of {who} became {value}, which nobody wrote"));
        }
    }

    pub(crate) fn must_not_be_frozen(&mut self, who: &Who, at: DateTime<Utc>) {
        if let Some(until) = self.doubts.get(who).filter(|until| at < **until) {
            let text = format!("{who} was written although a write is in doubt until {until}");
            self.broken("I10", text);
        }
    }

    /// A write of the engine went out and its end is not known to it.
    pub(crate) fn doubt(&mut self, who: &Who, at: DateTime<Utc>) {
        self.untold(who);
        for one in [Some(who.clone()), self.pairs.get(who).cloned()].into_iter().flatten() {
            self.doubts.insert(one, at + FROZEN);
        }
    }

    /// The answer to a write did not tell what became of this record.
    pub(crate) fn untold(&mut self, who: &Who) {
        self.reopen(Some(who));
        self.told.retain(|(one, _), _| one != who);
    }

    /// Clocks moved, or the store was put back: what is frozen is not known any more.
    pub(crate) fn forget_doubts(&mut self) {
        self.doubts.clear();
    }

    fn vanished(&mut self, who: &Who, author: Author, at: DateTime<Utc>) {
        if author == Author::Person {
            self.shown.remove(who);
            self.buried.insert(who.clone(), at);
            return;
        }
        *self.deleted_in_run.entry((who.side, who.kind)).or_default() += 1;
        if author == Author::Engine {
            self.must_not_be_frozen(who, at);
        }
        let known = self.partners_of(who);
        // A store that was put back takes the engine's own deletions for a person's.
        let is_gone = |one: &Who| {
            self.buried.contains_key(one)
                || self.revived.contains(one)
                || self.forgotten.contains(one) && !self.shown.contains_key(one)
        };
        if !known.iter().any(is_gone) {
            let known: Vec<_> = known.iter().map(ToString::to_string).collect();
            let text = format!("{who} was deleted although nobody deleted {}", known.join(", "));
            self.broken("I9", text);
        }
        let read = self.read.get(who).copied().unwrap_or(0);
        let pending = |unit: &&Unit| {
            let edit = self.edits.get(&(who.clone(), **unit));
            let is_known = |value: &str| {
                known.iter().flat_map(|one| [one, who]).any(|one| {
                    let key = (one.clone(), **unit);
                    let same = |known: &String| {
                        known == value || self.truncates && value.starts_with(known.as_str())
                    };
                    // Whoever deleted the other record saw this value go, or there was none to lose.
                    let saw =
                        self.last_shown.get(one).and_then(|shown| shown.unit(one.kind, **unit));
                    value.is_empty() && !self.agreed.contains_key(&key)
                        || saw.is_some_and(|saw| saw.trim_end_matches(AUTOMATED) == value)
                        || self.agreed.get(&key).is_some_and(same)
                        || self.told.get(&key).is_some_and(|told| told.iter().any(same))
                })
            };
            edit.is_some_and(|edit| {
                edit.is_real
                    && edit.tick < read
                    && self.value(who, **unit) == edit.value
                    && !is_known(&edit.value)
            })
        };
        if let Some(unit) = who.kind.units().iter().find(pending).copied() {
            let value = self.value(who, unit).to_owned();
            let text = format!("{who} was deleted although a person had written {value}");
            self.broken("I9", text);
        }
        self.shown.remove(who);
    }

    fn wrote_as(&mut self, who: &Who, unit: Unit, value: &str, is_real: bool) {
        self.ever.insert(value.to_owned());
        let edit = Edit { value: value.to_owned(), tick: self.tick, is_real };
        self.edits.insert((who.clone(), unit), edit);
    }

    /// What a record shows counts as written, unless it is known to be.
    fn may_have_written(&mut self, who: &Who, unit: Unit) {
        if !self.shown.contains_key(who) {
            return;
        }
        let value = self.value(who, unit).to_owned();
        let key = (who.clone(), unit);
        if self.edits.get(&key).is_none_or(|known| known.value != value) {
            self.edits.insert(key, Edit { value, tick: self.tick, is_real: false });
        }
    }

    /// I3, where both sides of a pair come to show the same: it must be the last word of one of them.
    fn compare(&mut self, who: &Who, unit: Unit) {
        let Some(other) = self.pairs.get(who).cloned() else { return };
        let value = self.value(who, unit).to_owned();
        let both = [who, &other].iter().all(|one| self.shown.contains_key(*one));
        if !both || self.value(&other, unit) != value {
            return;
        }
        let left = if who.side == Side::Left { who } else { &other };
        if self.amnesia {
            self.agreed.insert((left.clone(), unit), value);
            return;
        }
        let last: Vec<_> = [who, &other]
            .into_iter()
            .filter_map(|one| self.edits.get(&(one.clone(), unit)))
            .map(|edit| edit.value.clone())
            .collect();
        let agreed = self.agreed.get(&(left.clone(), unit)).cloned();
        let allowed = if last.is_empty() { agreed.into_iter().collect() } else { last };
        let cut = self.truncates && allowed.iter().any(|one| one.starts_with(&value));
        // A field whose length changed lost its baseline: then an empty side is filled (semantics §14).
        let redefined = unit == Unit::Phone && self.phones_redefined;
        if !allowed.is_empty() && !allowed.contains(&value) && !cut && !redefined {
            let text = format!("{unit:?} of {who} and {other} is {value}; last were {allowed:?}");
            self.broken("I3", text);
        }
        self.agreed.insert((left.clone(), unit), value);
        // What came since the run began may have been read too early.
        let is_news = |one: &Who| {
            self.edits.get(&(one.clone(), unit)).is_some_and(|edit| edit.tick >= self.run_tick)
        };
        if is_news(who) || is_news(&other) {
            return;
        }
        let before = [who, &other].map(|one| self.edits.remove(&(one.clone(), unit)));
        self.fresh.push((who.clone(), other, unit, before));
    }

    /// A run starts: what was agreed before is known.
    pub(crate) fn run_starts(&mut self) {
        self.deleted_in_run.clear();
        self.fresh.clear();
        self.run_tick = self.tick;
    }

    /// What the engine brought about is not known to it: of one record, or of a whole run that died.
    pub(crate) fn reopen(&mut self, of: Option<&Who>) {
        let fresh = std::mem::take(&mut self.fresh);
        let concerned = |who: &Who, other: &Who| of.is_none_or(|of| of == who || of == other);
        let (open, known): (Vec<_>, Vec<_>) =
            fresh.into_iter().partition(|(who, other, _, _)| concerned(who, other));
        self.fresh = known;
        // What was written last stands before what was written before it.
        for (who, other, unit, before) in open.into_iter().rev() {
            for (one, edit) in [who, other].into_iter().zip(before) {
                if let Some(edit) = edit {
                    self.edits.entry((one, unit)).or_insert(edit);
                }
            }
        }
    }

    /// A run is through and nothing is in doubt: what is the same on both sides is agreed, as far as it could be seen.
    pub(crate) fn nothing_in_doubt(&mut self) {
        if self.sightless {
            return;
        }
        let lefts: Vec<_> =
            self.pairs.keys().filter(|who| who.side == Side::Left).cloned().collect();
        for left in lefts {
            for unit in left.kind.units() {
                self.compare(&left, *unit);
            }
        }
    }

    /// What a person may have meant by bringing a record back, or a store by forgetting: either side's value.
    pub(crate) fn all_edited(&mut self, who: &Who) {
        let partner = self.pairs.get(who).cloned();
        for one in [Some(who.clone()), partner].into_iter().flatten() {
            for unit in one.kind.units() {
                self.may_have_written(&one, *unit);
            }
        }
    }

    /// The live links after a run.
    pub(crate) fn linked(&mut self, now: &BTreeMap<Who, Who>) {
        self.pairs.clone_from(now);
        for (who, other) in now {
            let is_new = self.partners.entry(who.clone()).or_default().insert(other.clone());
            if is_new && who.side == Side::Left {
                self.paired(who, other);
            }
        }
    }

    /// A new pair: where it differs, each value that a person wrote may win.
    fn paired(&mut self, left: &Who, right: &Who) {
        for unit in left.kind.units() {
            for (one, other) in [(left, right), (right, left)] {
                let origin = (one.side, one.kind, other.id.clone());
                let copies = self.made.get(&origin).is_some_and(|made| made.contains(one));
                if !copies {
                    self.may_have_written(one, *unit);
                }
            }
            self.compare(left, *unit);
        }
    }

    /// The store was put back to an earlier state.
    pub(crate) fn restored(&mut self) {
        self.amnesia = true;
        self.forgotten.extend(self.partners.keys().cloned());
        self.forget_doubts();
        let lefts: Vec<_> =
            self.pairs.keys().filter(|who| who.side == Side::Left).cloned().collect();
        for left in lefts {
            self.all_edited(&left);
        }
    }

    /// A run went through: agreements are known again.
    pub(crate) fn remembered(&mut self) {
        if !std::mem::take(&mut self.amnesia) {
            return;
        }
        let lefts: Vec<_> =
            self.pairs.keys().filter(|who| who.side == Side::Left).cloned().collect();
        for left in lefts {
            self.all_edited(&left);
        }
    }

    /// Pairs whose values still differ.
    pub(crate) fn differing(&self) -> Vec<(Who, Who, Unit)> {
        let lefts = self.pairs.iter().filter(|(who, _)| who.side == Side::Left);
        let alive = lefts.filter(|(left, right)| {
            self.shown.contains_key(left) && self.shown.contains_key(right)
        });
        let each = alive.flat_map(|(left, right)| {
            left.kind.units().iter().map(move |unit| (left.clone(), right.clone(), *unit))
        });
        each.filter(|(left, right, unit)| self.value(left, *unit) != self.value(right, *unit))
            .collect()
    }
}
