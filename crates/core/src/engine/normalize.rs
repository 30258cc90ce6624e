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

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::engine::filter::Filter;
    use crate::engine::relation::testing::{entity, rule};
    use crate::model::mapping::Matching;
    use crate::model::{Pair, Relation};

    fn text(name: &str, left: Option<&str>, right: Option<&str>) -> FieldRule {
        FieldRule {
            name: FieldName::new(name),
            remote: Pair::new(left.map(RemoteField::from), right.map(RemoteField::from)),
            ..rule(Relation::Text { limits: Pair::default() })
        }
    }

    fn mapped() -> Entity {
        let mut constant = text("country", None, Some("Country"));
        constant.derived = Some(Derived::Constant(Value::text("DE")));
        let mut greeting = text("greeting", None, Some("Greeting"));
        greeting.derived = Some(Derived::Expression("'Dear ' ~ first".into()));
        let mut broken = text("broken", None, Some("Broken"));
        broken.derived = Some(Derived::Expression("first + 1".into()));
        let mut waiting = text("waiting", None, Some("Waiting"));
        waiting.derived = Some(Derived::Expression("last ~ '!'".into()));
        Entity {
            fields: vec![
                text("first", Some("First"), Some("first")),
                text("last", Some("Last"), Some("last")),
                constant,
                greeting,
                broken,
                waiting,
            ],
            filters: Pair::new(Some(Filter::Not(Box::new(Filter::IsEmpty("First".into())))), None),
            matching: Matching {
                external_id: Some(Pair::new(Some("Other".into()), None)),
                keys: Vec::new(),
            },
            ..entity()
        }
    }

    fn record(fields: &[(&str, Value)]) -> RemoteRecord {
        RemoteRecord {
            id: RecordId::new("1"),
            modified_at: DateTime::from_timestamp(1_000, 0),
            fields: fields.iter().map(|(name, value)| ((*name).into(), value.clone())).collect(),
            archived: false,
            raw: None,
        }
    }

    #[test]
    fn given_a_reply_when_normalized_then_absent_is_not_empty() {
        let record = record(&[
            ("First", Value::Text(" Ada ".into())),
            ("Other", Value::number(42.into())),
            ("Unmapped", "x".into()),
        ]);

        let seen = normalize(&mapped(), Side::Left, &record, TimeDelta::try_seconds(-60));

        let values: Vec<_> = seen.fields.iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(values, ["country=DE", "first=Ada", "greeting=Dear Ada"]);
        let held: Vec<_> = seen.unreturned.iter().map(FieldName::as_str).collect();
        assert_eq!(held, ["broken", "last", "waiting"], "absent, failing, and reading the absent");
        assert_eq!(seen.external_id, Some(RecordId::new("42")));
        assert_eq!(seen.corrected_at, DateTime::from_timestamp(1_060, 0));
        assert!(seen.in_scope);
    }

    #[test]
    fn given_a_filter_or_an_archive_when_normalized_then_the_record_leaves_the_scope() {
        let nobody = record(&[("First", Value::Empty), ("Last", "x".into())]);
        let archived = RemoteRecord { archived: true, ..record(&[("First", "Ada".into())]) };

        for (case, record) in [("filtered", nobody), ("archived", archived)] {
            assert!(!normalize(&mapped(), Side::Left, &record, None).in_scope, "{case}");
        }
    }

    #[test]
    fn given_a_patch_when_denormalized_then_only_fields_of_that_side_are_named() {
        let patch = [("first", "Ada"), ("greeting", "Dear Ada"), ("nobody", "x")]
            .map(|(name, value)| (FieldName::new(name), Value::text(value)))
            .into();

        let left = denormalize(&mapped(), Side::Left, &patch);
        let right = denormalize(&mapped(), Side::Right, &patch);

        assert_eq!(left.keys().map(RemoteField::as_str).collect::<Vec<_>>(), ["First"]);
        assert_eq!(
            right.keys().map(RemoteField::as_str).collect::<Vec<_>>(),
            ["Greeting", "first"]
        );
    }
}
