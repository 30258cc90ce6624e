//! Picklists, users and sets of options, related by a table of IDs.

use std::collections::BTreeSet;

use super::Translation;
use crate::model::mapping::OptionMap;
use crate::model::{Code, Side, Value};

impl OptionMap {
    /// Returns the ID on `target` for an ID of the other side; `None` when no partner is known.
    pub fn image<'a>(&'a self, target: Side, id: &'a str) -> Option<&'a str> {
        let table = match target {
            Side::Left => &self.to_left,
            Side::Right => &self.to_right,
        };
        table.get(id).map(String::as_str).or(self.open.then_some(id))
    }

    /// Whether an ID of `side` has a partner.
    fn knows(&self, side: Side, id: &str) -> bool {
        let (from, into) = match side {
            Side::Left => (&self.to_right, &self.to_left),
            Side::Right => (&self.to_left, &self.to_right),
        };
        self.open || from.contains_key(id) || into.values().any(|value| value == id)
    }
}

pub(super) fn normalize(value: &Value) -> Value {
    match value {
        Value::Text(text) => option(text),
        Value::Number(_) => Value::text(&value.to_string()),
        Value::Reference(id) => Value::text(id.as_str()),
        Value::Empty
        | Value::Bool(_)
        | Value::Date(_)
        | Value::Timestamp(_)
        | Value::Set(_)
        | Value::List(_)
        | Value::Link(_) => value.clone(),
    }
}

/// Source: api/zoho.md §7.3: `-None-` is the pseudo option that stands for null.
fn option(text: &str) -> Value {
    let value = Value::text(text);
    if value.as_text() == Some("-None-") { Value::Empty } else { value }
}

pub(super) fn normalize_set(value: &Value) -> Value {
    let items: Vec<String> = match value {
        Value::Set(items) => items.iter().cloned().collect(),
        Value::List(items) => items.clone(),
        Value::Text(_) | Value::Number(_) => {
            normalize(value).as_text().into_iter().map(str::to_owned).collect()
        }
        Value::Empty
        | Value::Bool(_)
        | Value::Date(_)
        | Value::Timestamp(_)
        | Value::Reference(_)
        | Value::Link(_) => return value.clone(),
    };
    Value::set(items.iter().filter_map(|item| option(item).as_text().map(str::to_owned)))
}

pub(super) fn agree(map: &OptionMap, left: &Value, right: &Value) -> bool {
    match (id(map, Side::Left, left), id(map, Side::Right, right)) {
        (Ok(Some(left)), Ok(Some(right))) => {
            map.image(Side::Right, left) == Some(right)
                || map.image(Side::Left, right) == Some(left)
        }
        (Ok(None), Ok(Some("false"))) => is_flag(map, Side::Right),
        (Ok(Some("false")), Ok(None)) => is_flag(map, Side::Left),
        (Ok(left), Ok(right)) => left == right,
        (Err(()), _) | (_, Err(())) => false,
    }
}

pub(super) fn translate(map: &OptionMap, target: Side, source: &Value) -> Translation {
    match id(map, target.other(), source) {
        Err(()) => Translation::Hold(Code::Untranslatable),
        Ok(None) if is_flag(map, target) => Translation::Write(Value::Bool(false)),
        Ok(None) => Translation::Write(Value::Empty),
        Ok(Some(id)) => match map.image(target, id) {
            Some(id) if is_flag(map, target) => Translation::Write(Value::Bool(id == "true")),
            Some(id) => Translation::Write(Value::text(id)),
            None => Translation::Hold(Code::Untranslatable),
        },
    }
}

/// Returns the option's ID, none for an empty value; an error for a value of another kind.
fn id<'a>(map: &OptionMap, side: Side, value: &'a Value) -> Result<Option<&'a str>, ()> {
    match value {
        Value::Text(id) => Ok(Some(id)),
        Value::Bool(true) => Ok(Some("true")),
        Value::Bool(false) => Ok(Some("false")),
        Value::Empty => Ok(is_flag(map, side).then_some("false")),
        Value::Number(_)
        | Value::Date(_)
        | Value::Timestamp(_)
        | Value::Set(_)
        | Value::List(_)
        | Value::Reference(_)
        | Value::Link(_) => Err(()),
    }
}

/// Whether a side holds a checkbox, as `done` beside a status: its options are `true` and `false`.
fn is_flag(map: &OptionMap, side: Side) -> bool {
    let table = match side {
        Side::Left => &map.to_right,
        Side::Right => &map.to_left,
    };
    !table.is_empty() && table.keys().all(|id| id == "true" || id == "false")
}

pub(super) fn agree_sets(map: &OptionMap, left: &Value, right: &Value) -> bool {
    let (Some(left), Some(right)) = (members(left), members(right)) else { return left == right };
    images(map, Side::Right, &left) == known(map, Side::Right, &right)
        || images(map, Side::Left, &right) == known(map, Side::Left, &left)
}

pub(super) fn translate_set(
    map: &OptionMap,
    target: Side,
    source: &Value,
    old: &Value,
) -> Translation {
    let (Some(source), Some(old)) = (members(source), members(old)) else {
        return Translation::Hold(Code::Untranslatable);
    };
    let kept = old.into_iter().filter(|id| !map.knows(target, id));
    Translation::Write(Value::set(images(map, target, &source).into_iter().chain(kept)))
}

fn members(value: &Value) -> Option<BTreeSet<String>> {
    match value {
        Value::Set(items) => Some(items.clone()),
        Value::Empty => Some(BTreeSet::new()),
        Value::Bool(_)
        | Value::Number(_)
        | Value::Text(_)
        | Value::Date(_)
        | Value::Timestamp(_)
        | Value::List(_)
        | Value::Reference(_)
        | Value::Link(_) => None,
    }
}

fn images(map: &OptionMap, target: Side, items: &BTreeSet<String>) -> BTreeSet<String> {
    items.iter().filter_map(|id| map.image(target, id)).map(str::to_owned).collect()
}

fn known(map: &OptionMap, side: Side, items: &BTreeSet<String>) -> BTreeSet<String> {
    items.iter().filter(|id| map.knows(side, id)).cloned().collect()
}
