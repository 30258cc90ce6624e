//! Picklists, users and sets of options, related by a table of IDs.

use std::collections::BTreeSet;

use super::{Translation, number};
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
    match (left, right) {
        (Value::Text(left), Value::Text(right)) => {
            map.image(Side::Right, left) == Some(right)
                || map.image(Side::Left, right) == Some(left)
        }
        _ => left.is_empty() && right.is_empty(),
    }
}

pub(super) fn translate(map: &OptionMap, target: Side, source: &Value) -> Translation {
    let Value::Text(id) = source else { return number::clear_or_hold(source) };
    match map.image(target, id) {
        Some(id) => Translation::Write(Value::text(id)),
        None => Translation::Hold(Code::Untranslatable),
    }
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
