//! Decides one field, or one group as a unit, of two records that are one: semantics §8.1, §8.3, §8.4, §14.1.
//! What a decision writes follows in `fields`.

use std::collections::BTreeSet;

use crate::model::mapping::{Conflicts, DriftPolicy, OptionMap, TextMerge};
use crate::model::row::Evidence;
use crate::model::state::{FieldTimes, Identities};
use crate::model::{
    Code, Entity, FieldName, FieldRule, Link, Observation, Pair, Policy, Relation, Side, Value,
    mapping::Derived,
};
use chrono::{DateTime, Utc};

use super::lines::merge_lines;
use super::relation::Translation;

/// A field, or the fields of a group: what is decided and written as one.
#[derive(Clone, Debug)]
pub struct Unit<'a> {
    /// The field's name, or `group:<name>`: how rows call it.
    pub name: FieldName,
    pub members: Vec<&'a FieldRule>,
    /// Whether the mapping lets values flow out of each side.
    pub open: Pair<bool>,
    /// Whether a create made from each side's record carries the unit: more than `open` where a field is written
    /// on create only.
    pub born: Pair<bool>,
    /// Whether edits of each side flow: `open`, less what an owner policy forbids.
    pub flows: Pair<bool>,
    pub policy: Policy,
    /// The mapping gained a member after links were made: semantics §14.3.
    pub added: bool,
}

/// Both records of a pair as last observed, with their link where one exists already.
#[derive(Clone, Copy, Debug)]
pub struct Ends<'a> {
    pub link: Option<&'a Link>,
    pub left: &'a Observation,
    pub right: &'a Observation,
    /// What the sides' own histories tell, where they were asked.
    pub times: Option<&'a FieldTimes>,
}

/// What to do with a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Merge {
    /// Nothing changed that may flow.
    Unchanged,
    /// Both sides agree: only the baseline moves.
    Agreed,
    /// A side that does not own the field changed it, and may: the difference is remembered as accepted.
    Kept,
    /// One side changed (or alone has a value): its value goes to the other.
    Flow { from: Side, code: Code },
    /// Both sides differ, and a policy decides.
    Decided { winner: Side, verdict: Verdict },
    /// Both sides differ, and a person decides.
    Queued(Verdict),
    /// Sets merged by element, or texts by line, in the left side's form.
    Union(Value),
    /// Kept out of writes.
    Hold(Code),
}

/// Why a difference was decided, or was not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub code: Code,
    pub policy: Policy,
    pub evidence: Option<Evidence>,
}

impl<'a> Unit<'a> {
    /// Lists the units of an entity in the order of its mapping file.
    pub fn all(entity: &'a Entity) -> Vec<Self> {
        let grouped: BTreeSet<&FieldName> = entity.groups.values().flatten().collect();
        let single = entity.fields.iter().filter(|rule| !grouped.contains(&rule.name));
        let singles = single.map(|rule| Self::new(entity, rule.name.clone(), vec![rule]));
        let groups = entity.groups.iter().map(|(name, fields)| {
            let members = entity.fields.iter().filter(|rule| fields.contains(&rule.name)).collect();
            Self::new(entity, FieldName::new(format!("group:{name}")), members)
        });
        singles.chain(groups).filter(|unit| !unit.members.is_empty()).collect()
    }

    fn new(entity: &Entity, name: FieldName, members: Vec<&'a FieldRule>) -> Self {
        let own = members.iter().find_map(|rule| rule.conflict);
        let policy = own.unwrap_or(entity.conflicts.policy);
        let lets = |from: Side, taken: fn(&FieldRule) -> &Pair<bool>| {
            let writable = |rule: &&FieldRule| {
                let target = from.other();
                rule.direction.flows_from(from)
                    && taken(rule)[target]
                    && rule.remote[target].is_some()
            };
            entity.direction.flows_from(from) && members.iter().all(writable)
        };
        let both = |taken| Pair::new(lets(Side::Left, taken), lets(Side::Right, taken));
        let open = both(|rule| &rule.writable);
        let born = both(|rule| &rule.creatable);
        let owner = owner(policy);
        let flows = |from: Side| open[from] && owner.is_none_or(|side| side == from);
        let flows = Pair::new(flows(Side::Left), flows(Side::Right));
        Self { name, members, open, born, flows, policy, added: false }
    }

    /// Whether every member has the value it had at the last agreement on `side`; `None` without a baseline.
    pub fn changed(&self, link: Option<&Link>, side: Side, seen: &Observation) -> Option<bool> {
        let mut changed = false;
        for rule in &self.members {
            let agreement = link?.baseline.get(&rule.name)?;
            if agreement.fingerprint != rule.fingerprint {
                return None;
            }
            changed |= value(rule, side, seen)? != &agreement.values[side];
        }
        Some(changed)
    }

    /// Whether both sides returned the unit and their values do not agree.
    pub fn differs(&self, ids: &dyn Identities, ends: Ends<'_>) -> bool {
        self.members.iter().all(|rule| ends.values(rule).is_some()) && !self.agrees(ids, ends)
    }

    /// Whether a difference of the unit was accepted.
    pub fn is_pinned(&self, link: Option<&Link>) -> bool {
        let pinned = |rule: &&FieldRule| {
            link.and_then(|link| link.baseline.get(&rule.name)).is_some_and(|b| b.pinned)
        };
        self.members.iter().any(pinned)
    }

    fn had_baseline(&self, link: Option<&Link>) -> bool {
        let known = |rule: &&FieldRule| link.is_some_and(|l| l.baseline.contains_key(&rule.name));
        self.members.iter().any(known)
    }

    fn is_empty(&self, side: Side, seen: &Observation) -> bool {
        self.members.iter().all(|rule| value(rule, side, seen).is_none_or(Value::is_empty))
    }

    fn agrees(&self, ids: &dyn Identities, ends: Ends<'_>) -> bool {
        self.members.iter().all(|rule| {
            ends.values(rule).is_some_and(|values| rule.agree(ids, values.left, values.right))
        })
    }

    /// Why `from`'s values go to the other side: somebody changed them, or the side itself filled what our last
    /// write left empty (W2).
    fn cause(&self, ends: Ends<'_>, from: Side) -> Code {
        let was_empty = |rule: &&FieldRule| {
            let agreed = ends.link.and_then(|link| link.baseline.get(&rule.name));
            agreed.is_some_and(|agreed| agreed.values[from].is_empty())
        };
        let filled = ends.is_our_write(from) && self.members.iter().all(was_empty);
        if filled { Code::ServerDefault } else { write_code(from) }
    }

    fn options(&self) -> Option<&'a OptionMap> {
        match self.members.as_slice() {
            [FieldRule { relation: Relation::OptionSet { map }, .. }] => Some(map),
            _ => None,
        }
    }
}

impl<'a> Ends<'a> {
    pub fn seen(&self, side: Side) -> &'a Observation {
        match side {
            Side::Left => self.left,
            Side::Right => self.right,
        }
    }

    /// Whether nobody changed the side's record since our own last write.
    fn is_our_write(&self, side: Side) -> bool {
        let own = self.link.and_then(|link| link.own_stamp[side]);
        own.is_some() && own == self.seen(side).modified_at
    }

    /// Both values of a field; `None` when a side did not return it.
    pub fn values(&self, rule: &'a FieldRule) -> Option<Pair<&'a Value>> {
        let left = value(rule, Side::Left, self.left)?;
        Some(Pair::new(left, value(rule, Side::Right, self.right)?))
    }
}

/// What a side shows of a field; `None` when it did not return it.
pub fn value<'a>(rule: &'a FieldRule, side: Side, seen: &'a Observation) -> Option<&'a Value> {
    match (seen.fields.get(&rule.name), &rule.derived) {
        (Some(value), _) => Some(value),
        (None, Some(Derived::Constant(constant))) if rule.remote[side].is_none() => Some(constant),
        (None, _) => None,
    }
}

/// The side whose values are the truth, where the policy names one.
pub const fn owner(policy: Policy) -> Option<Side> {
    match policy {
        Policy::OwnerLeft => Some(Side::Left),
        Policy::OwnerRight => Some(Side::Right),
        Policy::Newest | Policy::PreferLeft | Policy::PreferRight | Policy::Queue => None,
    }
}

/// Merges one unit of a pair against its baseline: semantics §8.1.
///
/// A side changed when its normal form differs from its own half of the baseline. Two sides that changed and
/// agree are a false conflict, so a run that stopped after its write and before its commit merges to `Agreed`,
/// and nobody is asked.
pub fn merge_field(
    unit: &Unit<'_>,
    conflicts: &Conflicts,
    ids: &dyn Identities,
    ends: Ends<'_>,
) -> Merge {
    if !unit.flows.left && !unit.flows.right {
        return Merge::Unchanged;
    }
    if unit.members.iter().any(|rule| ends.values(rule).is_none()) {
        return Merge::Hold(Code::NotReturned);
    }
    let agree = unit.agrees(ids, ends);
    let left = unit.changed(ends.link, Side::Left, ends.left);
    match (left, unit.changed(ends.link, Side::Right, ends.right)) {
        (Some(false), Some(false)) if agree || unit.is_pinned(ends.link) => Merge::Unchanged,
        (Some(false), Some(false)) => diverged(unit, ids, ends),
        _ if agree => Merge::Agreed,
        (Some(left), Some(right)) => merge_changed(unit, conflicts, ends, &Pair::new(left, right)),
        (None, _) | (_, None) => merge_initial(unit, conflicts, ends),
    }
}

/// Neither side changed, yet they do not agree. A reference whose target has no counterpart at present is no
/// divergence: it comes back with its target.
fn diverged(unit: &Unit<'_>, ids: &dyn Identities, ends: Ends<'_>) -> Merge {
    let waits = unit.members.iter().any(|rule| {
        matches!(rule.relation, Relation::Reference { .. } | Relation::User { .. })
            && ends.values(rule).is_some_and(|values| {
                let there = rule.translate(ids, Side::Right, values.left, values.right);
                let back = rule.translate(ids, Side::Left, values.right, values.left);
                matches!(there, Translation::Hold(_)) || matches!(back, Translation::Hold(_))
            })
    });
    let verdict = Verdict { code: Code::SilentDivergence, policy: Policy::Queue, evidence: None };
    if waits { Merge::Unchanged } else { Merge::Queued(verdict) }
}

fn merge_changed(
    unit: &Unit<'_>,
    conflicts: &Conflicts,
    ends: Ends<'_>,
    changed: &Pair<bool>,
) -> Merge {
    if let Some(owner) = owner(unit.policy) {
        let verdict = Verdict { code: Code::Drift, policy: unit.policy, evidence: None };
        let kept = conflicts.drift == DriftPolicy::Keep && !changed[owner];
        return match (unit.flows[owner], changed[owner.other()]) {
            (false, _) => Merge::Unchanged,
            (true, true) if kept => Merge::Kept,
            (true, true) => Merge::Decided { winner: owner, verdict },
            (true, false) => flow(owner, unit.cause(ends, owner)),
        };
    }
    let edited = |side: Side| changed[side] && unit.flows[side];
    match (edited(Side::Left), edited(Side::Right)) {
        (true, true) => merge_conflict(unit, conflicts, ends),
        (true, false) => flow(Side::Left, unit.cause(ends, Side::Left)),
        (false, true) => flow(Side::Right, unit.cause(ends, Side::Right)),
        // A change that may not flow out of its side is no edit; the next edit of the source replaces it.
        (false, false) => Merge::Unchanged,
    }
}

fn merge_conflict(unit: &Unit<'_>, conflicts: &Conflicts, ends: Ends<'_>) -> Merge {
    if let Some(merged) = merge_sets(unit, ends).or_else(|| merge_texts(unit, ends)) {
        return Merge::Union(merged);
    }
    decide(unit, unit.policy, conflicts, Code::Conflict, ends)
}

/// Merges without a baseline: semantics §14.1. Fills what is empty, never clears.
fn merge_initial(unit: &Unit<'_>, conflicts: &Conflicts, ends: Ends<'_>) -> Merge {
    let remapped = ends.link.is_some() && unit.added || unit.had_baseline(ends.link);
    let (code, policy) = if remapped {
        (Code::MappingChanged, conflicts.on_mapping_change)
    } else {
        (Code::Initial, conflicts.initial)
    };
    let empty = |side: Side| unit.is_empty(side, ends.seen(side));
    for side in Side::BOTH {
        if empty(side) {
            let fills = unit.flows[side.other()];
            return if fills { flow(side.other(), code) } else { Merge::Unchanged };
        }
    }
    match (unit.flows.left, unit.flows.right) {
        (true, true) if policy == Policy::Newest && unit.options().is_some() => {
            merge_sets(unit, ends).map_or(Merge::Hold(Code::Untranslatable), Merge::Union)
        }
        (true, true) => decide(unit, policy, conflicts, code, ends),
        (left, _) => {
            let winner = if left { Side::Left } else { Side::Right };
            Merge::Decided {
                winner,
                verdict: Verdict { code, policy: unit.policy, evidence: None },
            }
        }
    }
}

const fn flow(from: Side, code: Code) -> Merge {
    Merge::Flow { from, code }
}

/// The code of a plain write of `from`'s change.
pub const fn write_code(from: Side) -> Code {
    match from {
        Side::Left => Code::WriteRight,
        Side::Right => Code::WriteLeft,
    }
}

fn decide(
    unit: &Unit<'_>,
    policy: Policy,
    conflicts: &Conflicts,
    code: Code,
    ends: Ends<'_>,
) -> Merge {
    let (newest, grade) =
        by_history(unit, conflicts, ends).unwrap_or_else(|| newest(conflicts, ends));
    let evidence = (policy == Policy::Newest).then_some(grade);
    let used = match (policy, newest) {
        (Policy::Newest, None) => conflicts.tie,
        (Policy::Newest, Some(_))
        | (
            Policy::PreferLeft
            | Policy::PreferRight
            | Policy::Queue
            | Policy::OwnerLeft
            | Policy::OwnerRight,
            _,
        ) => policy,
    };
    let verdict = Verdict { code, policy: used, evidence };
    let winner = match used {
        Policy::Newest => newest,
        Policy::PreferLeft | Policy::OwnerLeft => Some(Side::Left),
        Policy::PreferRight | Policy::OwnerRight => Some(Side::Right),
        Policy::Queue => None,
    };
    winner.map_or(Merge::Queued(verdict), |winner| Merge::Decided { winner, verdict })
}

/// The side that changed this very field last, where both sides' histories tell: semantics §8.4.
fn by_history(
    unit: &Unit<'_>,
    conflicts: &Conflicts,
    ends: Ends<'_>,
) -> Option<(Option<Side>, Evidence)> {
    let times = ends.times?.get(&unit.name)?;
    let (left, right) = (times.left?, times.right?);
    Some((later(conflicts, left, right), Evidence::FieldHistory))
}

/// The side of the later time, unless both are within the skew.
fn later(conflicts: &Conflicts, left: DateTime<Utc>, right: DateTime<Utc>) -> Option<Side> {
    let ahead = (left - right).num_seconds();
    match ahead.abs() > conflicts.skew_seconds {
        true if ahead > 0 => Some(Side::Left),
        true => Some(Side::Right),
        false => None,
    }
}

/// The side whose record changed last, by corrected time: semantics §8.4.
///
/// A time that our own last write produced says nothing about people (P4); within the skew nobody is later.
pub fn newest(conflicts: &Conflicts, ends: Ends<'_>) -> (Option<Side>, Evidence) {
    let stamp = |side: Side| {
        if ends.is_our_write(side) { None } else { ends.seen(side).corrected_at }
    };
    let (Some(left), Some(right)) = (stamp(Side::Left), stamp(Side::Right)) else {
        return (None, Evidence::None);
    };
    (later(conflicts, left, right), Evidence::RecordTime)
}

/// `(B ∪ addL ∪ addR) \ (remL ∪ remR)` in the left side's form; options without a partner stay where they are.
fn merge_sets(unit: &Unit<'_>, ends: Ends<'_>) -> Option<Value> {
    let map = unit.options()?;
    let rule = unit.members.first()?;
    let values = ends.values(rule)?;
    let agreement = ends.link.and_then(|link| link.baseline.get(&rule.name));
    let base = agreement.filter(|known| known.fingerprint == rule.fingerprint);
    let before = base.map_or_else(BTreeSet::new, |known| items(&known.values.right));
    let now = items(values.right);
    let to_left = |item: &String| match map.to_left.get(item) {
        Some(partner) => Some(partner.clone()),
        None => map.open.then(|| item.clone()),
    };
    let added: BTreeSet<_> = now.difference(&before).filter_map(to_left).collect();
    let removed: BTreeSet<_> = before.difference(&now).filter_map(to_left).collect();
    let merged = items(values.left).into_iter().chain(added);
    Some(Value::set(merged.filter(|item| !removed.contains(item))))
}

/// Both edits of a text, where they touch different lines; the merged text must fit both sides.
fn merge_texts(unit: &Unit<'_>, ends: Ends<'_>) -> Option<Value> {
    let [rule] = unit.members.as_slice() else { return None };
    let Relation::Text { limits } = &rule.relation else { return None };
    let known = ends.link?.baseline.get(&rule.name)?;
    let alike = known.values.left == known.values.right;
    if rule.merge != TextMerge::Lines || !alike {
        return None;
    }
    let values = ends.values(rule)?;
    let text = |value: &Value| value.as_text().map(str::to_owned);
    let (base, left, right) = (text(&known.values.left)?, text(values.left)?, text(values.right)?);
    let merged = merge_lines(&base, &left, &right)?;
    let length = merged.chars().count();
    let fits = |side: Side| limits[side].is_none_or(|limit| length <= limit);
    (fits(Side::Left) && fits(Side::Right)).then(|| Value::text(&merged))
}

fn items(value: &Value) -> BTreeSet<String> {
    match value {
        Value::Set(items) => items.clone(),
        Value::Text(item) => BTreeSet::from([item.to_string()]),
        Value::List(items) => items.iter().cloned().collect(),
        Value::Empty
        | Value::Bool(_)
        | Value::Number(_)
        | Value::Date(_)
        | Value::Timestamp(_)
        | Value::Reference(_)
        | Value::Link(_) => BTreeSet::new(),
    }
}
