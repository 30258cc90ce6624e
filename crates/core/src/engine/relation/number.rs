//! Numbers and money at the coarser precision, and flags.

use std::str::FromStr;

use rust_decimal::{Decimal, RoundingStrategy};

use super::Translation;
use crate::model::{Code, Pair, Side, Value};

pub(super) fn normalize(scale: Option<u32>, value: &Value) -> Value {
    match value {
        Value::Number(number) => round(*number, scale),
        Value::Text(text) => match Decimal::from_str(text.trim()) {
            Ok(number) => round(number, scale),
            Err(_) => Value::text(text),
        },
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

pub(super) fn agree(scale: &Pair<Option<u32>>, left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => {
            let coarser = coarser(scale);
            round(*left, coarser) == round(*right, coarser)
        }
        _ => left == right,
    }
}

pub(super) fn translate(
    scale: &Pair<Option<u32>>,
    target: Side,
    source: &Value,
    old: &Value,
) -> Translation {
    let Value::Number(number) = source else { return clear_or_hold(source) };
    if is_finer(old, scale[target.other()]) {
        return Translation::Hold(Code::LossyBackWrite);
    }
    Translation::Write(round(*number, scale[target]))
}

/// Returns the decimals that both sides keep.
pub(super) fn coarser(scale: &Pair<Option<u32>>) -> Option<u32> {
    match (scale.left, scale.right) {
        (Some(left), Some(right)) => Some(left.min(right)),
        (one, other) => one.or(other),
    }
}

pub(super) fn round(number: Decimal, scale: Option<u32>) -> Value {
    Value::number(match scale {
        Some(scale) => number.round_dp_with_strategy(scale, RoundingStrategy::MidpointAwayFromZero),
        None => number,
    })
}

/// Whether the other side sees only a rounded form of `old`.
fn is_finer(old: &Value, scale: Option<u32>) -> bool {
    matches!(old, Value::Number(number) if round(*number, scale) != *old)
}

pub(super) fn clear_or_hold(source: &Value) -> Translation {
    if source.is_empty() {
        Translation::Write(Value::Empty)
    } else {
        Translation::Hold(Code::Untranslatable)
    }
}

pub(super) fn normalize_flag(value: &Value) -> Value {
    match value {
        Value::Number(number) if number.is_zero() => Value::Bool(false),
        Value::Number(number) if *number == Decimal::ONE => Value::Bool(true),
        Value::Text(text) => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "yes" | "1" => Value::Bool(true),
            "false" | "no" | "0" => Value::Bool(false),
            _ => Value::text(text),
        },
        Value::Empty
        | Value::Bool(_)
        | Value::Number(_)
        | Value::Date(_)
        | Value::Timestamp(_)
        | Value::Set(_)
        | Value::List(_)
        | Value::Reference(_)
        | Value::Link(_) => value.clone(),
    }
}

/// A box that was never ticked and one that was not set say the same: a CRM's checkbox knows no null.
pub(super) fn agree_flags(left: &Value, right: &Value) -> bool {
    let flag = |value: &Value| if value.is_empty() { Value::Bool(false) } else { value.clone() };
    flag(left) == flag(right)
}

pub(super) fn translate_flag(source: &Value) -> Translation {
    match source {
        Value::Bool(_) => Translation::Write(source.clone()),
        Value::Empty => Translation::Write(Value::Bool(false)),
        Value::Number(_)
        | Value::Text(_)
        | Value::Date(_)
        | Value::Timestamp(_)
        | Value::Set(_)
        | Value::List(_)
        | Value::Reference(_)
        | Value::Link(_) => Translation::Hold(Code::Untranslatable),
    }
}
