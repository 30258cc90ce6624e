//! One value, both ways, without any call: JSON to [`Value`] by the field's kind, and back.

use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use crmsync_core::model::schema::FieldKind;
use crmsync_core::model::{RecordId, Value};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde_json::{Number, Value as Json};

use super::module::Dialect;

/// A value that has not the shape of its field. Never quotes the value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, got {found}")]
pub(super) struct Mismatch {
    pub(super) expected: &'static str,
    pub(super) found: String,
}

impl Mismatch {
    fn new(expected: &'static str, found: impl Into<String>) -> Self {
        Self { expected, found: found.into() }
    }

    fn json(expected: &'static str, found: &Json) -> Self {
        Self::new(expected, shape(found))
    }

    fn value(expected: &'static str, found: &Value) -> Self {
        let found = match found {
            Value::Empty => "nothing",
            Value::Bool(_) => "a yes or no",
            Value::Number(_) => "a number",
            Value::Text(_) => "a text",
            Value::Date(_) => "a date",
            Value::Timestamp(_) => "a time",
            Value::Set(_) => "a set",
            Value::List(_) => "a list",
            Value::Reference(_) => "a record",
            Value::Link(_) => "a record not created yet",
        };
        Self::new(expected, found)
    }
}

fn shape(json: &Json) -> &'static str {
    match json {
        Json::Null => "null",
        Json::Bool(_) => "a boolean",
        Json::Number(_) => "a number",
        Json::String(_) => "a string",
        Json::Array(_) => "an array",
        Json::Object(_) => "an object",
    }
}

/// Decodes one value of any dialect. `null`, `""`, empty lists and zero dates are [`Value::Empty`].
///
/// # Errors
/// [`Mismatch`] when the JSON cannot be a value of this kind.
pub(super) fn decode(kind: FieldKind, json: &Json) -> Result<Value, Mismatch> {
    if json.is_null() {
        return Ok(Value::Empty);
    }
    match kind {
        FieldKind::Text
        | FieldKind::LongText
        | FieldKind::RichText
        | FieldKind::Email
        | FieldKind::Phone
        | FieldKind::Url
        | FieldKind::Currency => text(json).map(|text| Value::text(&text)),
        FieldKind::Option | FieldKind::User | FieldKind::Id => {
            id_text(json).map(|id| Value::text(&id))
        }
        FieldKind::Lookup => id_text(json).map(|id| match id.as_str() {
            "" => Value::Empty,
            id => Value::Reference(RecordId::new(id)),
        }),
        FieldKind::OptionSet | FieldKind::Tags => ids(json).map(Value::set),
        FieldKind::EmailList | FieldKind::PhoneList => list(json),
        FieldKind::Bool => flag(json),
        FieldKind::Integer | FieldKind::Decimal | FieldKind::Money => number(json),
        FieldKind::Date => date(json),
        FieldKind::Time | FieldKind::Duration => time(json),
        FieldKind::Timestamp => timestamp(json),
        FieldKind::Unsupported => Err(Mismatch::json("nothing that can be mapped", json)),
    }
}

fn text(json: &Json) -> Result<String, Mismatch> {
    match json {
        Json::String(text) => Ok(text.clone()),
        Json::Number(number) => Ok(number.to_string()),
        Json::Null | Json::Bool(_) | Json::Array(_) | Json::Object(_) => {
            Err(Mismatch::json("a text", json))
        }
    }
}

/// Ids are numbers in v2, texts for some built-in options and in v1, objects with `value` or `id` in v1 links.
fn id_text(json: &Json) -> Result<String, Mismatch> {
    match json {
        Json::Object(link) => match link.get("value").or_else(|| link.get("id")) {
            Some(id) => text(id),
            None => Err(Mismatch::new("an id", "an object without `value` and `id`")),
        },
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) | Json::Array(_) => {
            text(json)
        }
    }
}

fn ids(json: &Json) -> Result<Vec<String>, Mismatch> {
    match json {
        Json::Array(items) => items.iter().map(id_text).collect(),
        Json::String(joined) => Ok(joined.split(',').map(|id| id.trim().to_owned()).collect()),
        Json::Number(id) => Ok(vec![id.to_string()]),
        Json::Null | Json::Bool(_) | Json::Object(_) => Err(Mismatch::json("a list of ids", json)),
    }
}

/// E-mails and phones: the primary one first, then as stored.
fn list(json: &Json) -> Result<Value, Mismatch> {
    let Json::Array(items) = json else { return Err(Mismatch::json("a list", json)) };
    let entry = |item: &Json| match item.get("value") {
        Some(Json::String(value)) => {
            let primary = item.get("primary").and_then(Json::as_bool).unwrap_or(false);
            Ok((!primary, value.trim().to_owned()))
        }
        Some(Json::Null) => Ok((true, String::new())),
        Some(other) => Err(Mismatch::json("a list of texts", other)),
        None => Err(Mismatch::json("a list of objects with `value`", item)),
    };
    let mut entries = items.iter().map(entry).collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(|(later, _)| *later);
    Ok(Value::list(entries.into_iter().map(|(_, value)| value)))
}

fn flag(json: &Json) -> Result<Value, Mismatch> {
    match json {
        Json::Bool(flag) => Ok(Value::Bool(*flag)),
        Json::Number(number) if number.as_i64() == Some(0) => Ok(Value::Bool(false)),
        Json::Number(number) if number.as_i64() == Some(1) => Ok(Value::Bool(true)),
        Json::Null | Json::Number(_) | Json::String(_) | Json::Array(_) | Json::Object(_) => {
            Err(Mismatch::json("true or false", json))
        }
    }
}

fn number(json: &Json) -> Result<Value, Mismatch> {
    let text = text(json)?;
    let text = text.trim();
    if text.is_empty() {
        return Ok(Value::Empty);
    }
    decimal(text)
        .map(Value::number)
        .ok_or_else(|| Mismatch::new("a number of at most 28 digits", shape(json)))
}

/// From the shortest decimal that names the float: 299.99 stays 299.99.
fn decimal(text: &str) -> Option<Decimal> {
    if text.contains(['e', 'E']) {
        return Decimal::from_scientific(text).ok();
    }
    text.parse().ok()
}

fn date(json: &Json) -> Result<Value, Mismatch> {
    let text = text(json)?;
    if text.is_empty() || text.starts_with("0000-00-00") {
        return Ok(Value::Empty);
    }
    let date = NaiveDate::parse_from_str(&text, "%Y-%m-%d");
    date.map(Value::Date).map_err(|_| Mismatch::new("a date", "another text"))
}

/// Times of day and durations, as `HH:MM:SS` whatever was left out. Custom time fields are objects.
fn time(json: &Json) -> Result<Value, Mismatch> {
    let json = json.get("value").unwrap_or(json);
    if json.is_null() {
        return Ok(Value::Empty);
    }
    let text = text(json)?;
    let text = text.trim();
    if text.is_empty() {
        return Ok(Value::Empty);
    }
    clock_text(text)
        .map(|text| Value::text(&text))
        .ok_or_else(|| Mismatch::new("hours, minutes and seconds", "another text"))
}

/// Durations may pass 24 hours, so hours are not capped.
fn clock_text(text: &str) -> Option<String> {
    let parts: Vec<u32> = text.split(':').map(str::parse).collect::<Result<_, _>>().ok()?;
    let (hours, minutes, seconds) = match parts.as_slice() {
        [hours, minutes] => (*hours, *minutes, 0),
        [hours, minutes, seconds] => (*hours, *minutes, *seconds),
        _ => return None,
    };
    (minutes < 60 && seconds < 60).then(|| format!("{hours:02}:{minutes:02}:{seconds:02}"))
}

fn timestamp(json: &Json) -> Result<Value, Mismatch> {
    let text = text(json)?;
    if text.is_empty() || text.starts_with("0000-00-00") {
        return Ok(Value::Empty);
    }
    parse_time(&text).map(Value::timestamp).ok_or_else(|| Mismatch::new("a time", "another text"))
}

/// Reads `2026-01-31T09:00:00Z` with or without fractions, and v1's `2026-01-31 09:00:00`, which is UTC.
pub(super) fn parse_time(text: &str) -> Option<DateTime<Utc>> {
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Some(at.to_utc());
    }
    NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S").ok().map(|at| at.and_utc())
}

/// Writes a time in whole seconds: fractions are refused. Source: "Get all persons", `updated_since`.
pub(super) fn time_text(dialect: Dialect, at: DateTime<Utc>) -> String {
    match dialect {
        Dialect::V2 => at.format("%Y-%m-%dT%H:%M:%SZ").to_string(),
        Dialect::V1 => at.format("%Y-%m-%d %H:%M:%S").to_string(),
    }
}

/// Encodes one value of `kind`; [`Value::Empty`] is `null`, which clears.
///
/// # Errors
/// [`Mismatch`] when the value is not of this kind, or has more digits than a JSON number carries.
pub(super) fn encode(dialect: Dialect, kind: FieldKind, value: &Value) -> Result<Json, Mismatch> {
    if value.is_empty() {
        return Ok(Json::Null);
    }
    let refuse = |expected| Err(Mismatch::value(expected, value));
    match (kind, value) {
        (FieldKind::Lookup, Value::Reference(id)) => Ok(encode_id(id.as_str())),
        (FieldKind::Bool, Value::Bool(flag)) => Ok(Json::Bool(*flag)),
        (FieldKind::Integer | FieldKind::Decimal | FieldKind::Money, Value::Number(number)) => {
            encode_number(*number)
        }
        (FieldKind::Date, Value::Date(date)) => Ok(date.format("%Y-%m-%d").to_string().into()),
        (FieldKind::Timestamp, Value::Timestamp(at)) => Ok(time_text(dialect, *at).into()),
        (FieldKind::OptionSet | FieldKind::Tags, Value::Set(items)) => {
            Ok(encode_set(dialect, items))
        }
        (FieldKind::Option | FieldKind::User | FieldKind::Id, Value::Text(id)) => Ok(encode_id(id)),
        (FieldKind::Time | FieldKind::Duration, Value::Text(text)) => match clock_text(text) {
            Some(clock) if kind == FieldKind::Duration || is_time_of_day(&clock) => {
                Ok(clock.into())
            }
            Some(_) | None => refuse("hours, minutes and seconds"),
        },
        (kind, Value::Text(text)) if is_text(kind) => Ok(text.as_str().into()),
        (kind, Value::Number(number)) if is_text(kind) => Ok(number.to_string().into()),
        (kind, _) => refuse(expected(kind)),
    }
}

const fn is_text(kind: FieldKind) -> bool {
    matches!(
        kind,
        FieldKind::Text
            | FieldKind::LongText
            | FieldKind::RichText
            | FieldKind::Email
            | FieldKind::Phone
            | FieldKind::Url
            | FieldKind::Currency
    )
}

fn is_time_of_day(clock: &str) -> bool {
    NaiveTime::parse_from_str(clock, "%H:%M:%S").is_ok()
}

const fn expected(kind: FieldKind) -> &'static str {
    match kind {
        FieldKind::Text
        | FieldKind::LongText
        | FieldKind::RichText
        | FieldKind::Email
        | FieldKind::Phone
        | FieldKind::Url
        | FieldKind::Currency => "a text",
        FieldKind::EmailList | FieldKind::PhoneList => "a list",
        FieldKind::Bool => "a yes or no",
        FieldKind::Integer | FieldKind::Decimal | FieldKind::Money => "a number",
        FieldKind::Date => "a date",
        FieldKind::Time => "a time of day",
        FieldKind::Duration => "hours, minutes and seconds",
        FieldKind::Timestamp => "a time",
        FieldKind::Option | FieldKind::User | FieldKind::Id => "an id",
        FieldKind::OptionSet | FieldKind::Tags => "a set",
        FieldKind::Lookup => "a record",
        FieldKind::Unsupported => "nothing that can be mapped",
    }
}

/// v2 is strict: ids that are numbers travel as numbers, `open` and UUIDs as texts.
fn encode_id(id: &str) -> Json {
    match id.parse::<i64>() {
        Ok(number) if number.to_string() == id => Json::Number(number.into()),
        Ok(_) | Err(_) => Json::String(id.to_owned()),
    }
}

fn encode_set(dialect: Dialect, items: &BTreeSet<String>) -> Json {
    let is_uuid = |id: &String| id.contains('-');
    if dialect == Dialect::V1 && !items.iter().any(is_uuid) {
        return items.iter().cloned().collect::<Vec<_>>().join(",").into();
    }
    Json::Array(items.iter().map(|id| encode_id(id)).collect())
}

fn encode_number(number: Decimal) -> Result<Json, Mismatch> {
    let number = number.normalize();
    if let (0, Some(integer)) = (number.scale(), number.to_i64()) {
        return Ok(Json::Number(integer.into()));
    }
    // The other side of the wire keeps a float: a number that does not survive it would come back as an edit.
    let float = number.to_string().parse::<f64>().ok().and_then(Number::from_f64);
    let survives =
        |float: &Number| decimal(&float.to_string()).map(|back| back.normalize()) == Some(number);
    let float = float.filter(survives);
    float
        .map(Json::Number)
        .ok_or_else(|| Mismatch::new("a number of at most 15 digits", "a longer one"))
}

#[cfg(test)]
mod tests;
