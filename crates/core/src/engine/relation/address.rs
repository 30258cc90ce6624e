//! E-mail addresses and phone numbers: one on one side, one or an ordered list on the other.
//!
//! A list of one is the same as that one, so a list's normal form is a list only from two entries on.

use super::{Translation, number};
use crate::model::{Code, Value};

pub(super) fn normalize(value: &Value, form: impl Fn(&str) -> String) -> Value {
    match value {
        Value::Text(text) => Value::text(&form(text)),
        Value::Number(_) => Value::text(&form(&value.to_string())),
        Value::List(items) => list(items.iter().map(|item| form(item))),
        Value::Set(items) => list(items.iter().map(|item| form(item))),
        Value::Empty
        | Value::Bool(_)
        | Value::Date(_)
        | Value::Timestamp(_)
        | Value::Reference(_)
        | Value::Link(_) => value.clone(),
    }
}

/// Trims an address and lower-cases its domain: only the domain is free of case by standard.
pub(super) fn email(raw: &str) -> String {
    let text = Value::text(raw);
    let text = text.as_text().unwrap_or_default();
    match text.rsplit_once('@') {
        Some((local, domain)) => format!("{local}@{}", domain.to_lowercase()),
        None => text.to_owned(),
    }
}

/// Returns an ordered set: later repetitions are dropped.
fn list(items: impl IntoIterator<Item = String>) -> Value {
    let mut kept: Vec<String> = Vec::new();
    for item in items {
        let value = Value::text(&item);
        if let Some(text) = value.as_text()
            && !kept.iter().any(|known| known == text)
        {
            kept.push(text.to_owned());
        }
    }
    if kept.len() == 1 { Value::text(&kept[0]) } else { Value::list(kept) }
}

pub(super) fn agree(left: &Value, right: &Value) -> bool {
    match (primary(left), primary(right)) {
        (Ok(left), Ok(right)) => left == right,
        _ => left == right,
    }
}

/// Returns the primary entry, `None` for an empty value, and an error for a value of another kind.
fn primary(value: &Value) -> Result<Option<&str>, ()> {
    match value {
        Value::Empty => Ok(None),
        Value::Text(text) => Ok(Some(text)),
        Value::List(items) => Ok(items.first().map(String::as_str)),
        Value::Bool(_)
        | Value::Number(_)
        | Value::Date(_)
        | Value::Timestamp(_)
        | Value::Set(_)
        | Value::Reference(_)
        | Value::Link(_) => Err(()),
    }
}

/// Replaces the primary entry; the others stay. An entry that is already there moves to the front.
pub(super) fn translate(source: &Value, old: &Value) -> Translation {
    match (primary(source), old) {
        (Err(()), _) => Translation::Hold(Code::Untranslatable),
        // Without its primary entry the list would get another one, which nobody wrote on the source.
        (Ok(None), Value::List(_)) => Translation::Hold(Code::LossyBackWrite),
        (Ok(None), _) => number::clear_or_hold(&Value::Empty),
        (Ok(Some(new)), Value::List(items)) => {
            let moved = items.iter().any(|item| item == new);
            let others = items.iter().skip(usize::from(!moved)).cloned();
            Translation::Write(list(std::iter::once(new.to_owned()).chain(others)))
        }
        (Ok(Some(new)), _) => Translation::Write(Value::text(new)),
    }
}
