//! Match keys: what makes records of two sides candidates for each other.

use super::relation::Translation;
use crate::model::mapping::KeyGroup;
use crate::model::state::{Identities, MatchKey};
use crate::model::{Entity, FieldRule, Observation, Relation, Side, Value};

/// Most keys that one group of one record gives: lists multiply.
const MAX_KEYS: usize = 32;

/// Returns the match keys of an observation: for each key group whose fields are all set, one key for each
/// combination of its values (every address of a list counts).
///
/// Both sides give equal keys for equal facts: text without case and repeated space, cut where the shorter side
/// cuts; options, users and references as the left side's IDs. A value without a counterpart there gives no key.
pub fn match_keys(
    entity: &Entity,
    observation: &Observation,
    ids: &dyn Identities,
) -> Vec<MatchKey> {
    let group_keys = |(index, group): (usize, &KeyGroup)| {
        combinations(entity, observation, ids, group)
            .into_iter()
            .map(move |parts| MatchKey(format!("{index}:{}", hash(&parts))))
            .collect::<Vec<_>>()
    };
    entity.matching.keys.iter().enumerate().flat_map(group_keys).collect()
}

fn combinations(
    entity: &Entity,
    observation: &Observation,
    ids: &dyn Identities,
    group: &KeyGroup,
) -> Vec<Vec<String>> {
    let mut rows = vec![Vec::new()];
    for name in &group.fields {
        let forms = match (entity.field(name), observation.fields.get(name)) {
            (Some(rule), Some(value)) => key_forms(rule, observation.key.side, value, ids),
            _ => Vec::new(),
        };
        let extend = |row: &Vec<String>| {
            forms.iter().map(|form| [row.as_slice(), std::slice::from_ref(form)].concat()).collect()
        };
        rows = rows.iter().flat_map::<Vec<_>, _>(extend).take(MAX_KEYS).collect();
    }
    if group.fields.is_empty() { Vec::new() } else { rows }
}

fn hash(parts: &[String]) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(part.as_bytes());
        hasher.update(&[0]);
    }
    hasher.finalize().to_hex()[..32].to_owned()
}

/// Returns the forms of a value that do not depend on its side; none for an empty one.
fn key_forms(rule: &FieldRule, side: Side, value: &Value, ids: &dyn Identities) -> Vec<String> {
    let value = match &rule.relation {
        Relation::Option { .. }
        | Relation::OptionSet { .. }
        | Relation::User { .. }
        | Relation::Reference { .. } => to_left(rule, side, value, ids),
        Relation::Text { limits } => Some(super::relation::shorten(limits, value)),
        Relation::Number { scale } => Some(super::relation::coarsen(scale, value)),
        Relation::RichText { html, limits } => {
            Some(super::relation::plain(html[side], limits, value))
        }
        Relation::Bool
        | Relation::Phone { .. }
        | Relation::Email
        | Relation::Date
        | Relation::Timestamp => Some(value.clone()),
    };
    match value {
        None | Some(Value::Empty | Value::Link(_)) => Vec::new(),
        Some(Value::List(items)) => items.iter().map(|item| fold(item)).collect(),
        Some(
            value @ (Value::Bool(_)
            | Value::Number(_)
            | Value::Text(_)
            | Value::Date(_)
            | Value::Timestamp(_)
            | Value::Set(_)
            | Value::Reference(_)),
        ) => vec![fold(&value.to_string())],
    }
}

/// Returns the left side's ID. Several left options may share a right one, so a left option goes there and back.
fn to_left(rule: &FieldRule, side: Side, value: &Value, ids: &dyn Identities) -> Option<Value> {
    let translate = |target, value: &Value| match rule.translate(ids, target, value, &Value::Empty)
    {
        Translation::Write(value) => Some(value),
        Translation::Hold(_) => None,
    };
    match (side, &rule.relation) {
        (Side::Left, Relation::Reference { .. }) => Some(value.clone()),
        (Side::Left, _) => translate(Side::Left, &translate(Side::Right, value)?),
        (Side::Right, _) => translate(Side::Left, value),
    }
}

fn fold(text: &str) -> String {
    text.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::engine::relation::testing::{Numbered, options, rule};
    use crate::model::mapping::{Matching, OptionMap, Strength};
    use crate::model::{EntityName, FieldName, Pair, Presence, RecordId, RecordKey};

    fn entity(relations: Vec<(&str, Relation)>, groups: &[&[&str]]) -> Entity {
        let fields = relations
            .into_iter()
            .map(|(name, relation)| FieldRule { name: FieldName::new(name), ..rule(relation) });
        let group = |fields: &&[&str]| KeyGroup {
            fields: fields.iter().map(|&name| FieldName::new(name)).collect(),
            strength: Strength::Strong,
        };
        Entity {
            fields: fields.collect(),
            matching: Matching { external_id: None, keys: groups.iter().map(group).collect() },
            ..crate::engine::relation::testing::entity()
        }
    }

    fn keys(entity: &Entity, side: Side, values: &[(&str, Value)]) -> BTreeSet<String> {
        let fields: BTreeMap<_, _> = values
            .iter()
            .map(|(name, value)| {
                let rule = entity.field(&FieldName::new(*name)).unwrap();
                (rule.name.clone(), rule.normalize(side, value))
            })
            .collect();
        let observation = Observation {
            key: RecordKey { entity: entity.name.clone(), side, id: RecordId::new("1") },
            module: "M".into(),
            presence: Presence::Alive,
            fields,
            unreturned: BTreeSet::new(),
            in_scope: true,
            external_id: None,
            modified_at: None,
            corrected_at: None,
        };
        match_keys(entity, &observation, &Numbered).into_iter().map(|key| key.0).collect()
    }

    #[test]
    fn given_equal_facts_when_keyed_then_both_sides_share_a_key() {
        let id = |text: &str| Value::Reference(RecordId::new(text));
        let list = |items: &[&str]| Value::list(items.iter().map(|&item| item.to_owned()));
        let mut shared = options(false);
        shared.to_right.insert("D".into(), "1".into());
        let reference = Relation::Reference { entity: EntityName::new("account") };
        let open = OptionMap { open: true, ..OptionMap::default() };
        let phone = || Relation::Phone { region: Some("DE".into()) };
        let short = Relation::Text { limits: Pair::new(None, Some(5)) };
        let cases = [
            (
                "case and space",
                Relation::Text { limits: Pair::default() },
                "Ada  LOVE".into(),
                "ada love".into(),
            ),
            ("cut on one side", short, "Anna Maria".into(), "Anna".into()),
            ("e-mail's case", Relation::Email, "Ada@X.de".into(), "ada@x.DE".into()),
            ("second address", Relation::Email, "b@x.de".into(), list(&["a@x.de", "b@x.de"])),
            ("phone's format", phone(), "030 1234567".into(), "+49 30 1234567".into()),
            ("option", Relation::Option { map: options(false) }, "A".into(), "1".into()),
            ("shared option", Relation::Option { map: shared }, "D".into(), "1".into()),
            ("open option", Relation::Option { map: open }, "EUR".into(), "eur".into()),
            ("user", Relation::User { map: options(false) }, "B".into(), "2".into()),
            ("reference", reference, id("l3"), id("r3")),
            (
                "number",
                Relation::Number { scale: Pair::new(Some(2), Some(0)) },
                "1.50".into(),
                "2".into(),
            ),
        ];

        for (case, relation, left, right) in cases {
            let entity = entity(vec![("f", relation)], &[&["f"]]);
            let left = keys(&entity, Side::Left, &[("f", left)]);
            let right = keys(&entity, Side::Right, &[("f", right)]);
            assert!(left.intersection(&right).count() == 1, "{case}: {left:?} {right:?}");
        }
    }

    #[test]
    fn given_a_group_when_a_field_is_empty_then_it_gives_no_key() {
        let text = || Relation::Text { limits: Pair::default() };
        let unmapped = Relation::Option { map: options(false) };
        let entity = entity(
            vec![("a", text()), ("b", text()), ("c", unmapped)],
            &[&["a"], &["a", "b"], &["b"], &["c"]],
        );

        let full = keys(&entity, Side::Left, &[("a", "1".into()), ("b", "1".into())]);
        let half = keys(&entity, Side::Left, &[("a", "1".into()), ("b", "".into())]);
        let unknown = keys(&entity, Side::Right, &[("c", "9".into())]);

        let groups: Vec<_> = full.iter().map(|key| key.split(':').next().unwrap()).collect();
        assert_eq!(groups, ["0", "1", "2"]);
        assert_eq!(half.len(), 1);
        assert_eq!(unknown.len(), 0, "an unmapped option matches nobody");
        assert!(full.iter().all(|key| key.split(':').nth(1).unwrap().len() == 32));
    }
}
