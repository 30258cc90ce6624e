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

fn to_left(rule: &FieldRule, side: Side, value: &Value, ids: &dyn Identities) -> Option<Value> {
    if side == Side::Left {
        return Some(value.clone());
    }
    match rule.translate(ids, Side::Left, value, &Value::Empty) {
        Translation::Write(value) => Some(value),
        Translation::Hold(_) => None,
    }
}

fn fold(text: &str) -> String {
    text.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ")
}
