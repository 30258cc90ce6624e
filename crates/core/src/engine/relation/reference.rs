//! References to records: a side's value is the target's ID on that side. Semantics §12.

use super::{Translation, number};
use crate::model::state::{Counterpart, Identities};
use crate::model::{Code, EntityName, RecordId, Side, Value};

pub(super) fn normalize(value: &Value) -> Value {
    match value {
        Value::Text(text) => {
            let text = Value::text(text);
            text.as_text().map_or(Value::Empty, |id| Value::Reference(RecordId::new(id)))
        }
        Value::Number(number) => Value::Reference(RecordId::new(number.normalize().to_string())),
        Value::Empty
        | Value::Bool(_)
        | Value::Date(_)
        | Value::Timestamp(_)
        | Value::Set(_)
        | Value::List(_)
        | Value::Reference(_)
        | Value::Link(_) => value.clone(),
    }
}

pub(super) fn agree(
    ids: &dyn Identities,
    entity: &EntityName,
    left: &Value,
    right: &Value,
) -> bool {
    match (left, right) {
        (Value::Reference(id), other) if !matches!(other, Value::Reference(_)) => {
            names(ids.counterpart(entity, Side::Left, id), other)
        }
        (other, Value::Reference(id)) if !matches!(other, Value::Reference(_)) => {
            names(ids.counterpart(entity, Side::Right, id), other)
        }
        (Value::Reference(left_id), Value::Reference(right_id)) => {
            names(ids.counterpart(entity, Side::Left, left_id), right)
                || names(ids.counterpart(entity, Side::Right, right_id), left)
        }
        _ => left.is_empty() && right.is_empty(),
    }
}

fn names(counterpart: Counterpart, value: &Value) -> bool {
    match counterpart {
        Counterpart::Known(id) => *value == Value::Reference(id),
        Counterpart::Planned(link) => *value == Value::Link(link),
        Counterpart::Pending | Counterpart::Unresolved => false,
    }
}

pub(super) fn translate(
    ids: &dyn Identities,
    entity: &EntityName,
    target: Side,
    source: &Value,
) -> Translation {
    let Value::Reference(id) = source else { return number::clear_or_hold(source) };
    match ids.counterpart(entity, target.other(), id) {
        Counterpart::Known(id) => Translation::Write(Value::Reference(id)),
        Counterpart::Planned(link) => Translation::Write(Value::Link(link)),
        Counterpart::Pending => Translation::Hold(Code::PendingRef),
        Counterpart::Unresolved => Translation::Hold(Code::UnresolvedRef),
    }
}
