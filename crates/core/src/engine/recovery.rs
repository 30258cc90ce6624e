//! What became of a write whose answer is missing, judged by what its target holds now: semantics §10.3, below
//! the table.

use std::collections::BTreeMap;

use crate::model::plan::Change;
use crate::model::{FieldName, Pair, Side, Value};

/// The baselines that a write moved: both halves of each, `true` where pinned.
pub type Agreed = BTreeMap<FieldName, (Pair<Value>, bool)>;

/// What became of an update.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// These fields hold what was sent: each was an agreement point.
    Happened(Agreed),
    /// Every field is as it was before.
    Absent,
    /// Neither: somebody wrote over what may have been our write.
    WrittenOver,
}

/// Judges an update by its target as read after the settle horizon.
///
/// Without the agreement our own value would later pass for an edit and beat a newer one.
pub fn judge_update(
    side: Side,
    changes: &BTreeMap<FieldName, Change>,
    now: &BTreeMap<FieldName, Value>,
) -> Outcome {
    let happened: Agreed = changes
        .iter()
        .filter(|(field, change)| now.get(*field) == Some(&change.after))
        .map(|(field, change)| (field.clone(), change.agreement(side, &change.after)))
        .collect();
    let is_as_before =
        |(field, change): (&FieldName, &Change)| now.get(field) == Some(&change.before);
    if !happened.is_empty() {
        Outcome::Happened(happened)
    } else if changes.iter().all(is_as_before) {
        Outcome::Absent
    } else {
        Outcome::WrittenOver
    }
}

/// The baselines of a create that was found to have happened: what was sent, and the values it was made from.
/// References are left out; they stand for IDs that the reader knows better.
pub fn created(
    side: Side,
    fields: &BTreeMap<FieldName, Value>,
    from: &BTreeMap<FieldName, Value>,
) -> Agreed {
    let sent = fields.iter().filter(|(_, value)| !matches!(value, Value::Link(_)));
    let pair = |(field, value): (&FieldName, &Value)| {
        let source = from.get(field)?;
        Some((field.clone(), (Pair::from_side(side, value.clone(), source.clone()), false)))
    };
    sent.filter_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &str) -> Value {
        Value::text(value)
    }

    fn change(before: &str, after: &str, source: &str, halfway: bool) -> Change {
        Change { before: text(before), after: text(after), source: text(source), halfway }
    }

    fn target(values: &[(&str, &str)]) -> BTreeMap<FieldName, Value> {
        values.iter().map(|(name, value)| (FieldName::new(*name), text(value))).collect()
    }

    #[test]
    fn a_lost_answer_is_judged_by_what_the_target_holds() {
        let changes = BTreeMap::from([
            (FieldName::new("city"), change("Ulm", "Bonn", "BONN", false)),
            (FieldName::new("name"), change("Li", "Lee", "Lee", false)),
        ]);
        let agreed = |pairs: &[(&str, &str, &str)]| {
            let one = |(field, left, right): &(&str, &str, &str)| {
                (FieldName::new(*field), (Pair::new(text(left), text(right)), false))
            };
            Outcome::Happened(pairs.iter().map(one).collect())
        };
        let cases = [
            (["Bonn", "Lee"], agreed(&[("city", "BONN", "Bonn"), ("name", "Lee", "Lee")])),
            (["Bonn", "Lu"], agreed(&[("city", "BONN", "Bonn")])),
            (["Ulm", "Li"], Outcome::Absent),
            (["Rom", "Li"], Outcome::WrittenOver),
        ];
        for ([city, name], expected) in cases {
            let now = target(&[("city", city), ("name", name)]);
            assert_eq!(judge_update(Side::Right, &changes, &now), expected, "{city} {name}");
        }
    }

    #[test]
    fn the_first_of_two_writes_of_a_merged_value_leaves_the_second_one_to_do() {
        let changes = BTreeMap::from([(FieldName::new("tags"), change("a", "a b", "b", true))]);
        let found = judge_update(Side::Right, &changes, &target(&[("tags", "a b")]));
        let before = (Pair::new(text("b"), text("a")), true);
        assert_eq!(found, Outcome::Happened(BTreeMap::from([(FieldName::new("tags"), before)])));
    }
}
