//! One value, both ways, without any call: JSON to [`Value`] by the field's kind, and back.

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
    match kind {
        FieldKind::Text
        | FieldKind::LongText
        | FieldKind::RichText
        | FieldKind::Email
        | FieldKind::Phone
        | FieldKind::Url
        | FieldKind::Currency => encode_text(value),
        FieldKind::Option | FieldKind::User | FieldKind::Id => {
            let id = value.as_text().ok_or_else(|| Mismatch::value("an id", value))?;
            Ok(encode_id(id))
        }
        FieldKind::Lookup => match value {
            Value::Reference(id) => Ok(encode_id(id.as_str())),
            other => Err(Mismatch::value("a record", other)),
        },
        FieldKind::OptionSet | FieldKind::Tags => encode_set(dialect, value),
        FieldKind::Bool => match value {
            Value::Bool(flag) => Ok(Json::Bool(*flag)),
            other => Err(Mismatch::value("a yes or no", other)),
        },
        FieldKind::Integer | FieldKind::Decimal | FieldKind::Money => match value {
            Value::Number(number) => encode_number(*number),
            other => Err(Mismatch::value("a number", other)),
        },
        FieldKind::Date => match value {
            Value::Date(date) => Ok(Json::String(date.format("%Y-%m-%d").to_string())),
            other => Err(Mismatch::value("a date", other)),
        },
        FieldKind::Time => {
            let text = value.as_text().and_then(clock_text);
            let text = text.filter(|text| NaiveTime::parse_from_str(text, "%H:%M:%S").is_ok());
            text.map(Json::String).ok_or_else(|| Mismatch::value("a time of day", value))
        }
        FieldKind::Duration => {
            let text = value.as_text().and_then(clock_text);
            text.map(Json::String)
                .ok_or_else(|| Mismatch::value("hours, minutes and seconds", value))
        }
        FieldKind::Timestamp => match value {
            Value::Timestamp(at) => Ok(Json::String(time_text(dialect, *at))),
            other => Err(Mismatch::value("a time", other)),
        },
        FieldKind::EmailList | FieldKind::PhoneList => {
            Err(Mismatch::value("a list merged by its owner", value))
        }
        FieldKind::Unsupported => Err(Mismatch::value("nothing that can be mapped", value)),
    }
}

fn encode_text(value: &Value) -> Result<Json, Mismatch> {
    match value {
        Value::Text(text) => Ok(Json::String(text.clone())),
        Value::Number(number) => Ok(Json::String(number.to_string())),
        other => Err(Mismatch::value("a text", other)),
    }
}

/// v2 is strict: ids that are numbers travel as numbers, `open` and UUIDs as texts.
fn encode_id(id: &str) -> Json {
    match id.parse::<i64>() {
        Ok(number) if number.to_string() == id => Json::Number(number.into()),
        Ok(_) | Err(_) => Json::String(id.to_owned()),
    }
}

fn encode_set(dialect: Dialect, value: &Value) -> Result<Json, Mismatch> {
    let Value::Set(items) = value else { return Err(Mismatch::value("a set", value)) };
    let is_uuid = |id: &String| id.contains('-');
    if dialect == Dialect::V1 && !items.iter().any(is_uuid) {
        return Ok(Json::String(items.iter().cloned().collect::<Vec<_>>().join(",")));
    }
    Ok(Json::Array(items.iter().map(|id| encode_id(id)).collect()))
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
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn given_the_shapes_of_three_dialects_when_decoded_then_one_value_comes_out() {
        let set = |ids: [&str; 2]| Value::set(ids.map(str::to_owned));
        let cases = [
            ("text is trimmed", FieldKind::Text, json!("  Ada "), Value::from("Ada")),
            ("empty text", FieldKind::Text, json!(""), Value::Empty),
            ("null", FieldKind::Money, json!(null), Value::Empty),
            (
                "float without drift",
                FieldKind::Money,
                json!(299.99),
                Value::number("299.99".parse().unwrap()),
            ),
            (
                "large float",
                FieldKind::Decimal,
                json!(1e21),
                Value::number("1000000000000000000000".parse().unwrap()),
            ),
            (
                "number as v1 text",
                FieldKind::Decimal,
                json!("12.50"),
                Value::number("12.5".parse().unwrap()),
            ),
            (
                "date",
                FieldKind::Date,
                json!("2026-01-31"),
                Value::Date(NaiveDate::from_ymd_opt(2026, 1, 31).unwrap()),
            ),
            ("zero date", FieldKind::Date, json!("0000-00-00"), Value::Empty),
            ("zero time", FieldKind::Timestamp, json!("0000-00-00 00:00:00"), Value::Empty),
            (
                "v2 time",
                FieldKind::Timestamp,
                json!("2026-05-15T10:28:13Z"),
                at("2026-05-15T10:28:13Z"),
            ),
            (
                "v1 time",
                FieldKind::Timestamp,
                json!("2026-05-15 10:28:13"),
                at("2026-05-15T10:28:13Z"),
            ),
            (
                "lead time",
                FieldKind::Timestamp,
                json!("2026-05-15T10:28:13.702Z"),
                at("2026-05-15T10:28:13Z"),
            ),
            ("v1 time of day", FieldKind::Time, json!("10:00"), Value::from("10:00:00")),
            ("all-day", FieldKind::Time, json!(""), Value::Empty),
            ("option id", FieldKind::Option, json!(3), Value::from("3")),
            ("v1 option id", FieldKind::Option, json!("3"), Value::from("3")),
            ("v2 options", FieldKind::OptionSet, json!([12, 3]), set(["12", "3"])),
            ("v1 options", FieldKind::OptionSet, json!("12,3"), set(["12", "3"])),
            ("no options", FieldKind::OptionSet, json!([]), Value::Empty),
            ("v2 link", FieldKind::Lookup, json!(8), Value::Reference("8".into())),
            (
                "v1 link",
                FieldKind::Lookup,
                json!({"name": "Acme", "value": 8}),
                Value::Reference("8".into()),
            ),
            ("v1 owner", FieldKind::User, json!({"id": 7001, "value": 7001}), Value::from("7001")),
            ("flag", FieldKind::Bool, json!(true), Value::Bool(true)),
            ("v1 flag", FieldKind::Bool, json!(0), Value::Bool(false)),
            (
                "v1's empty list",
                FieldKind::EmailList,
                json!([{"value": "", "primary": true}]),
                Value::Empty,
            ),
            (
                "primary first",
                FieldKind::EmailList,
                json!([{"value": "b@x.example"}, {"value": "a@x.example", "primary": true}]),
                Value::list(["a@x.example".to_owned(), "b@x.example".to_owned()]),
            ),
        ];

        for (name, kind, json, expected) in cases {
            assert_eq!(decode(kind, &json), Ok(expected), "{name}");
        }
    }

    #[test]
    fn given_a_wrong_shape_when_decoded_then_it_is_refused_without_quoting_it() {
        let cases = [
            (FieldKind::Text, json!(["secret"])),
            (FieldKind::Date, json!("secret")),
            (FieldKind::Timestamp, json!("secret")),
            (FieldKind::Time, json!("secret")),
            (FieldKind::Money, json!("secret")),
            (FieldKind::Bool, json!("secret")),
            (FieldKind::EmailList, json!("secret")),
            (FieldKind::EmailList, json!(["secret"])),
            (FieldKind::Lookup, json!({ "name": "secret" })),
        ];

        for (kind, json) in cases {
            let mismatch = decode(kind, &json).unwrap_err().to_string();
            assert!(!mismatch.contains("secret"), "{kind:?}: {mismatch}");
        }
    }

    #[test]
    fn given_values_when_encoded_then_types_are_strict() {
        let set = Value::set(["12".to_owned(), "3".to_owned()]);
        let cases = [
            ("empty", Dialect::V2, FieldKind::OptionSet, Value::Empty, json!(null)),
            ("option", Dialect::V2, FieldKind::Option, Value::from("3"), json!(3)),
            ("status", Dialect::V2, FieldKind::Option, Value::from("open"), json!("open")),
            ("set", Dialect::V2, FieldKind::OptionSet, set.clone(), json!([12, 3])),
            ("v1 set", Dialect::V1, FieldKind::OptionSet, set, json!("12,3")),
            ("link", Dialect::V2, FieldKind::Lookup, Value::Reference("8".into()), json!(8)),
            (
                "integer",
                Dialect::V2,
                FieldKind::Money,
                Value::number("25000.00".parse().unwrap()),
                json!(25000),
            ),
            (
                "decimal",
                Dialect::V2,
                FieldKind::Money,
                Value::number("299.99".parse().unwrap()),
                json!(299.99),
            ),
            (
                "time",
                Dialect::V2,
                FieldKind::Timestamp,
                at("2026-05-15T10:28:13Z"),
                json!("2026-05-15T10:28:13Z"),
            ),
            (
                "v1 time",
                Dialect::V1,
                FieldKind::Timestamp,
                at("2026-05-15T10:28:13Z"),
                json!("2026-05-15 10:28:13"),
            ),
        ];

        for (name, dialect, kind, value, expected) in cases {
            assert_eq!(encode(dialect, kind, &value), Ok(expected), "{name}");
        }
    }

    #[test]
    fn given_more_digits_than_a_float_keeps_when_encoded_then_it_is_refused() {
        let long = Value::number("0.1234567890123456789".parse().unwrap());

        assert!(encode(Dialect::V2, FieldKind::Decimal, &long).is_err());
    }

    fn at(text: &str) -> Value {
        Value::timestamp(parse_time(text).unwrap())
    }

    fn typed() -> impl Strategy<Value = (FieldKind, Value)> {
        let date = (1970_i32..2100, 1_u32..13, 1_u32..29)
            .prop_map(|(y, m, d)| NaiveDate::from_ymd_opt(y, m, d).unwrap());
        prop_oneof![
            "\\PC{0,20}".prop_map(|text| (FieldKind::Text, Value::text(&text))),
            (-99_999_999_999_999_i64..99_999_999_999_999, 0_u32..6)
                .prop_map(|(n, scale)| (FieldKind::Money, Value::number(Decimal::new(n, scale)))),
            date.prop_map(|date| (FieldKind::Date, Value::Date(date))),
            (0_i64..4_000_000_000).prop_map(|seconds| {
                let at = DateTime::from_timestamp(seconds, 0).unwrap();
                (FieldKind::Timestamp, Value::timestamp(at))
            }),
            any::<bool>().prop_map(|flag| (FieldKind::Bool, Value::Bool(flag))),
            any::<u32>().prop_map(|id| (FieldKind::Option, Value::from(id.to_string().as_str()))),
            any::<u32>()
                .prop_map(|id| (FieldKind::Lookup, Value::Reference(id.to_string().into_id()))),
            prop::collection::btree_set(1_u32..500, 0..5).prop_map(|ids| {
                (FieldKind::OptionSet, Value::set(ids.into_iter().map(|id| id.to_string())))
            }),
            (0_u32..24, 0_u32..60, 0_u32..60).prop_map(|(h, m, s)| {
                (FieldKind::Time, Value::from(format!("{h:02}:{m:02}:{s:02}").as_str()))
            }),
        ]
    }

    trait IntoId {
        fn into_id(self) -> RecordId;
    }

    impl IntoId for String {
        fn into_id(self) -> RecordId {
            RecordId::new(self)
        }
    }

    proptest! {
        #[test]
        fn given_any_value_when_encoded_and_decoded_then_it_is_the_same((kind, value) in typed()) {
            for dialect in [Dialect::V1, Dialect::V2] {
                let json = encode(dialect, kind, &value).unwrap();
                let wired: Json = serde_json::from_str(&json.to_string()).unwrap();
                prop_assert_eq!(decode(kind, &wired).unwrap(), value.clone());
            }
        }
    }
}
