//! Calendar dates and instants. An instant mapped as a date counts at the date's grain, in UTC.

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};

use super::{Translation, number};
use crate::model::Value;

pub(super) fn normalize_date(value: &Value) -> Value {
    match value {
        Value::Timestamp(at) => Value::Date(at.date_naive()),
        Value::Text(text) => match text.parse::<NaiveDate>() {
            Ok(date) => Value::Date(date),
            Err(_) => match parse_instant(text) {
                Some(at) => Value::Date(at.date_naive()),
                None => unset_or_text(text),
            },
        },
        Value::Empty
        | Value::Bool(_)
        | Value::Number(_)
        | Value::Date(_)
        | Value::Set(_)
        | Value::List(_)
        | Value::Reference(_)
        | Value::Link(_) => value.clone(),
    }
}

pub(super) fn normalize_timestamp(value: &Value) -> Value {
    match value {
        Value::Timestamp(at) => Value::timestamp(*at),
        Value::Date(date) => Value::Timestamp(date.and_time(NaiveTime::MIN).and_utc()),
        Value::Text(text) => match parse_instant(text) {
            Some(at) => Value::timestamp(at),
            None => unset_or_text(text),
        },
        Value::Empty
        | Value::Bool(_)
        | Value::Number(_)
        | Value::Set(_)
        | Value::List(_)
        | Value::Reference(_)
        | Value::Link(_) => value.clone(),
    }
}

pub(super) fn translate_date(source: &Value) -> Translation {
    if matches!(source, Value::Date(_)) {
        return Translation::Write(source.clone());
    }
    number::clear_or_hold(source)
}

pub(super) fn translate_timestamp(source: &Value) -> Translation {
    if matches!(source, Value::Timestamp(_)) {
        return Translation::Write(source.clone());
    }
    number::clear_or_hold(source)
}

fn parse_instant(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text.trim()).ok().map(|at| at.to_utc())
}

/// Source: api/pipedrive.md §4.3: a date cleared with `""` reads back as `0000-00-00`.
fn unset_or_text(text: &str) -> Value {
    if text.trim().starts_with("0000-00-00") { Value::Empty } else { Value::text(text) }
}
