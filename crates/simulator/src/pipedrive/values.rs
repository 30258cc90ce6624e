//! Values of custom fields: what v2 takes and answers, and their other two dialects.

use serde_json::{Map, Value, json};

use super::fields::Field;
use super::kind::Kind;
use super::refusal::Refusal;
use super::state::State;
use super::time;

/// Parts of an address object besides `value`.
pub(super) const ADDRESS_PARTS: [&str; 9] = [
    "country",
    "admin_area_level_1",
    "admin_area_level_2",
    "locality",
    "sublocality",
    "route",
    "street_number",
    "subpremise",
    "postal_code",
];

/// Checks a value for a custom field; `None` clears it.
///
/// Source: Pipedrive API v2 migration guide, "Custom fields".
pub(super) fn check(
    state: &State,
    kind: Kind,
    field: &Field,
    value: &Value,
    zone: &str,
) -> Result<Option<Value>, Refusal> {
    if value.is_null() {
        return Ok(None);
    }
    let wrong = |expected: &str| {
        let entity = kind.singular();
        Refusal::invalid(
            "custom_fields",
            &format!("Expected '{expected}' as value for {entity} custom field '{}'", field.code),
        )
    };
    let checked = match field.value_type.as_str() {
        "varchar" | "varchar_auto" | "phone" => text(value, 255).ok_or_else(|| wrong("string"))?,
        "text" => text(value, 65_535).ok_or_else(|| wrong("string"))?,
        "double" => value.is_number().then(|| value.clone()).ok_or_else(|| wrong("number"))?,
        "monetary" => money(value).ok_or_else(|| object_text(field, "Monetary", value))?,
        "date" => date(value).ok_or_else(|| wrong("date"))?,
        "daterange" => range(value, date).ok_or_else(|| object_text(field, "Date range", value))?,
        "time" => clock(value, zone).ok_or_else(|| object_text(field, "Time", value))?,
        "timerange" => {
            clock_range(value, zone).ok_or_else(|| object_text(field, "Time range", value))?
        }
        "enum" => choice(field, value).ok_or_else(|| wrong("number"))?,
        "set" => choices(field, value).ok_or_else(|| {
            Refusal::invalid("custom_fields", &format!("{}: Invalid collection", field.code))
        })?,
        "user" => known(value, |id| state.user(id).is_some()).ok_or_else(|| wrong("number"))?,
        "org" => known(value, |id| state.live(Kind::Organization, id).is_some())
            .ok_or_else(|| wrong("number"))?,
        "people" => known(value, |id| state.live(Kind::Person, id).is_some())
            .ok_or_else(|| wrong("number"))?,
        "address" => address(value, true).ok_or_else(|| object_text(field, "Address", value))?,
        _ => {
            return Err(Refusal::invalid(
                "custom_fields",
                &format!("Field '{}' can't be written", field.code),
            ));
        }
    };
    Ok(Some(checked))
}

fn object_text(field: &Field, name: &str, value: &Value) -> Refusal {
    let reason = if value.is_object() {
        format!("{}: Invalid {} custom field value", field.code, name.to_lowercase())
    } else {
        format!("{}: {name} custom field value expected 'object'", field.code)
    };
    Refusal::invalid("custom_fields", &reason)
}

fn text(value: &Value, max: usize) -> Option<Value> {
    value.as_str().filter(|text| text.chars().count() <= max).map(Into::into)
}

fn date(value: &Value) -> Option<Value> {
    value.as_str().filter(|text| time::is_date(text)).map(Into::into)
}

fn time_of_day(value: &Value) -> Option<Value> {
    value.as_str().and_then(time::of_day).map(Into::into)
}

fn only(value: &Value, keys: &[&str]) -> bool {
    value.as_object().is_some_and(|object| object.keys().all(|key| keys.contains(&key.as_str())))
}

fn money(value: &Value) -> Option<Value> {
    let amount = value.get("value").filter(|amount| amount.is_number())?;
    let currency = value.get("currency").and_then(Value::as_str).filter(|code| code.len() == 3)?;
    only(value, &["value", "currency"]).then(|| json!({ "value": amount, "currency": currency }))
}

fn range(value: &Value, part: impl Fn(&Value) -> Option<Value>) -> Option<Value> {
    let (from, until) = (part(value.get("value")?)?, part(value.get("until")?)?);
    only(value, &["value", "until"]).then(|| json!({ "value": from, "until": until }))
}

fn zone_of(value: &Value, users: &str) -> Option<(i64, String)> {
    let name = match value.get("timezone_name") {
        None | Some(Value::Null) => users,
        Some(name) => name.as_str()?,
    };
    let _: chrono_tz::Tz = name.parse().ok()?;
    let id = name.bytes().fold(7_i64, |sum, byte| (sum * 31 + i64::from(byte)) % 587) + 1;
    Some((id, name.to_owned()))
}

const CLOCK_KEYS: [&str; 4] = ["value", "until", "timezone_name", "timezone_id"];

fn clock(value: &Value, zone: &str) -> Option<Value> {
    let (id, name) = zone_of(value, zone)?;
    let at = time_of_day(value.get("value")?)?;
    only(value, &CLOCK_KEYS)
        .then(|| json!({ "value": at, "timezone_id": id, "timezone_name": name }))
}

fn clock_range(value: &Value, zone: &str) -> Option<Value> {
    let (id, name) = zone_of(value, zone)?;
    let (from, until) = (time_of_day(value.get("value")?)?, time_of_day(value.get("until")?)?);
    only(value, &CLOCK_KEYS)
        .then(|| json!({ "value": from, "until": until, "timezone_id": id, "timezone_name": name }))
}

fn choice(field: &Field, value: &Value) -> Option<Value> {
    value.as_i64().filter(|id| field.has_option(*id)).map(Into::into)
}

fn choices(field: &Field, value: &Value) -> Option<Value> {
    let ids = value.as_array().filter(|ids| !ids.is_empty())?;
    let mut kept: Vec<i64> = Vec::new();
    for id in ids {
        let id = id.as_i64().filter(|id| field.has_option(*id))?;
        if !kept.contains(&id) {
            kept.push(id);
        }
    }
    Some(kept.into())
}

fn known(value: &Value, exists: impl Fn(i64) -> bool) -> Option<Value> {
    value.as_i64().filter(|id| exists(*id)).map(Into::into)
}

/// An address object: parts left out become null.
pub(super) fn address(value: &Value, formatted: bool) -> Option<Value> {
    let whole = value.get("value").and_then(Value::as_str)?;
    let mut address = Map::from_iter([("value".to_owned(), Value::from(whole))]);
    for (key, part) in value.as_object()? {
        let known =
            key == "value" || key == "formatted_address" || ADDRESS_PARTS.contains(&key.as_str());
        if !known || !(part.is_null() || part.is_string()) {
            return None;
        }
    }
    for part in ADDRESS_PARTS {
        address.insert(part.into(), value.get(part).cloned().unwrap_or_default());
    }
    if formatted {
        address.insert("formatted_address".into(), Value::Null);
    }
    Some(address.into())
}

/// Flat keys of v1: the field's own and those with suffixes.
pub(super) fn flat(field: &Field, value: &Value) -> Vec<(String, Value)> {
    let own = |value: Value| (field.code.clone(), value);
    let with = |suffix: &str, value: &Value| (format!("{}_{suffix}", field.code), value.clone());
    match field.value_type.as_str() {
        "monetary" => vec![own(value["value"].clone()), with("currency", &value["currency"])],
        "daterange" => vec![own(value["value"].clone()), with("until", &value["until"])],
        "time" => vec![own(value["value"].clone()), with("timezone_id", &value["timezone_id"])],
        "timerange" => vec![
            own(value["value"].clone()),
            with("until", &value["until"]),
            with("timezone_id", &value["timezone_id"]),
        ],
        "enum" if !value.is_null() => vec![own(value.to_string().into())],
        "set" => vec![own(value.as_array().map_or(Value::Null, |ids| joined(ids).into()))],
        "address" => {
            let mut keys = vec![own(value["value"].clone())];
            keys.extend(ADDRESS_PARTS.iter().map(|part| with(part, &value[part])));
            keys.push(with("formatted_address", &value["formatted_address"]));
            keys
        }
        _ => vec![own(value.clone())],
    }
}

/// `3,7`, as v1 writes lists of ids.
pub(super) fn joined(ids: &[Value]) -> String {
    ids.iter().map(Value::to_string).collect::<Vec<_>>().join(",")
}

/// The value as a webhook of version 2 has it.
pub(super) fn in_webhook(field: &Field, value: &Value) -> Value {
    let kind = field.value_type.as_str();
    match (kind, value) {
        (_, Value::Null) => Value::Null,
        ("enum" | "user" | "org" | "people", id) => json!({ "type": kind, "id": id }),
        ("set", Value::Array(ids)) => {
            let values: Vec<_> = ids.iter().map(|id| json!({ "id": id })).collect();
            json!({ "type": kind, "values": values })
        }
        ("daterange" | "timerange", Value::Object(parts)) => {
            let mut tagged = Map::from_iter([("type".to_owned(), Value::from(kind))]);
            for (key, part) in parts.iter().filter(|(key, _)| *key != "timezone_name") {
                tagged
                    .insert(if key == "value" { "from".into() } else { key.clone() }, part.clone());
            }
            tagged.into()
        }
        (_, Value::Object(parts)) => {
            let mut tagged = parts.clone();
            tagged.remove("timezone_name");
            tagged.insert("type".into(), kind.into());
            tagged.into()
        }
        (_, plain) => json!({ "type": kind, "value": plain }),
    }
}
