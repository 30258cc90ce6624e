//! From a side's record to an observation, and back to remote fields.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;

use super::expression;
pub use super::match_key::match_keys;
use crate::model::mapping::Derived;
use crate::model::{
    Entity, FieldName, FieldRule, Observation, Presence, RecordId, RecordKey, RemoteField,
    RemoteRecord, Side, Value,
};

/// Turns a decoded record into an observation of `side` under the mapping.
///
/// `clock_error` is the server's clock minus ours; without it, or without a modified time, nothing is known
/// about recency. A mapped field that the reply lacks goes to `unreturned`, and so does an expression that reads
/// such a field or fails. An archived record counts as out of scope: alive, but not to be written.
pub fn normalize(
    entity: &Entity,
    side: Side,
    record: &RemoteRecord,
    clock_error: Option<TimeDelta>,
) -> Observation {
    let mut fields = BTreeMap::new();
    let mut unreturned = BTreeSet::new();
    for rule in &entity.fields {
        let Some(remote) = &rule.remote[side] else { continue };
        match record.fields.get(remote) {
            Some(value) => {
                fields.insert(rule.name.clone(), rule.normalize(side, value));
            }
            None => {
                unreturned.insert(rule.name.clone());
            }
        }
    }
    for rule in entity.fields.iter().filter(|rule| rule.remote[side].is_none()) {
        match derive(rule, &fields, &unreturned) {
            Some(Ok(value)) => {
                fields.insert(rule.name.clone(), rule.normalize(side, &value));
            }
            Some(Err(_)) => {
                unreturned.insert(rule.name.clone());
            }
            None => {}
        }
    }
    let filter = entity.filters[side].as_ref();
    Observation {
        key: RecordKey { entity: entity.name.clone(), side, id: record.id.clone() },
        module: entity.modules[side].clone(),
        presence: Presence::Alive,
        fields,
        unreturned,
        in_scope: !record.archived && filter.is_none_or(|filter| filter.matches(&record.fields)),
        external_id: external_id(entity, side, record),
        modified_at: record.modified_at,
        corrected_at: record
            .modified_at
            .zip(clock_error)
            .and_then(|(at, error)| at.checked_sub_signed(error)),
    }
}

/// Computes what a side without a remote field shows; `None` when the rule derives nothing there.
fn derive(
    rule: &FieldRule,
    fields: &BTreeMap<FieldName, Value>,
    unreturned: &BTreeSet<FieldName>,
) -> Option<Result<Value, expression::ExpressionError>> {
    match rule.derived.as_ref()? {
        Derived::Constant(value) => Some(Ok(value.clone())),
        Derived::Expression(source) => {
            Some(expression::evaluate_with(source, fields, |name| unreturned.contains(name)))
        }
    }
}

fn external_id(entity: &Entity, side: Side, record: &RemoteRecord) -> Option<RecordId> {
    let field = entity.matching.external_id.as_ref()?[side].as_ref()?;
    match record.fields.get(field)? {
        Value::Text(text) => Some(RecordId::new(text.trim())),
        Value::Number(number) => Some(RecordId::new(number.normalize().to_string())),
        Value::Reference(id) => Some(id.clone()),
        Value::Empty
        | Value::Bool(_)
        | Value::Date(_)
        | Value::Timestamp(_)
        | Value::Set(_)
        | Value::List(_)
        | Value::Link(_) => None,
    }
}

/// Names a patch's fields as the target side does. A field without a remote field there is left out.
pub fn denormalize(
    entity: &Entity,
    side: Side,
    fields: &BTreeMap<FieldName, Value>,
) -> BTreeMap<RemoteField, Value> {
    let remote = |(name, value): (&FieldName, &Value)| {
        let rule = entity.field(name)?;
        Some((rule.remote[side].clone()?, value.clone()))
    };
    fields.iter().filter_map(remote).collect()
}
