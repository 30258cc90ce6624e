//! Zoho's JSON in canonical form. Pure: metadata and rows in, values out. `encode` goes the other way.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, Utc};
use crmsync_core::model::schema::FieldKind;
use crmsync_core::model::{RecordId, RemoteField, RemoteRecord, Value};
use rust_decimal::Decimal;
use serde_json::{Map, Value as Json};

use super::wire::id_text;

/// How Zoho writes one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Text in a JSON string.
    Text(FieldKind),
    RichText,
    /// A number in a JSON number.
    Number(FieldKind),
    /// A whole number in a JSON string.
    BigInt,
    Bool,
    Date,
    Timestamp,
    Option,
    OptionSet,
    Tags,
    User,
    /// A lookup of one module.
    Lookup,
    /// A lookup of many modules; each target is a part of the field, as in `What_Id.Deals`.
    Polymorphic(Naming),
    Id,
    /// Shown, never read or written.
    Unsupported,
}

/// Where a lookup of many modules names its target's module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Naming {
    /// In the record: `"What_Id": {"id"}, "$se_module": "Deals"`.
    Beside,
    /// In the value: `"Parent_Id": {"id", "module": {"api_name"}}`.
    Inside,
}

impl Shape {
    pub(super) const fn kind(&self) -> FieldKind {
        match self {
            Self::Text(kind) | Self::Number(kind) => *kind,
            Self::RichText => FieldKind::RichText,
            Self::BigInt => FieldKind::Integer,
            Self::Bool => FieldKind::Bool,
            Self::Date => FieldKind::Date,
            Self::Timestamp => FieldKind::Timestamp,
            Self::Option => FieldKind::Option,
            Self::OptionSet => FieldKind::OptionSet,
            Self::Tags => FieldKind::Tags,
            Self::User => FieldKind::User,
            Self::Lookup | Self::Polymorphic(_) => FieldKind::Lookup,
            Self::Id => FieldKind::Id,
            Self::Unsupported => FieldKind::Unsupported,
        }
    }
}

/// What the codec must know of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FieldForm {
    pub(super) shape: Shape,
    /// Display value and actual value of each option. Both are read; records are compared by display value.
    pub(super) options: Vec<(String, String)>,
}

/// What the codec must know of a module.
pub(super) type Forms = BTreeMap<String, FieldForm>;

/// Why a value or a row does not decode.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum DecodeError {
    #[error("field `{field}` is not {expected}")]
    Shape { field: String, expected: &'static str },
    #[error("the row has no id")]
    NoId,
    #[error("the row is not an object")]
    NoObject,
}

/// Characters after which lists and reads by ids cut rich text.
///
/// Source: Zoho CRM API v8, "Get Records".
pub(super) const RICH_TEXT_CUT: usize = 500;

/// A decoded row, and the fields that a list shows only in part.
pub(super) struct Decoded {
    pub(super) record: RemoteRecord,
    /// Rich text that may be cut, and lookups whose module is not told: left out of the record.
    pub(super) partial: BTreeSet<RemoteField>,
}

/// Whether rich text may be cut at [`RICH_TEXT_CUT`] characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Depth {
    List,
    Whole,
}

/// Decodes one row. A requested field that the row lacks is absent from the record; null is empty.
///
/// # Errors
/// When the row has no ID, or a field holds what its type does not allow.
pub(super) fn decode_row(
    forms: &Forms,
    fields: &[RemoteField],
    row: &Json,
    depth: Depth,
) -> Result<Decoded, DecodeError> {
    let row = row.as_object().ok_or(DecodeError::NoObject)?;
    let id = row.get("id").and_then(id_text).ok_or(DecodeError::NoId)?;
    let mut decoded = Decoded {
        record: RemoteRecord {
            id: RecordId::new(id),
            modified_at: modified_at(row)?,
            fields: BTreeMap::new(),
            archived: false,
            raw: None,
        },
        partial: BTreeSet::new(),
    };
    for field in fields {
        let Some(form) = forms.get(field.base()) else { continue };
        let Some(json) = row.get(field.base()) else { continue };
        match decode_field(form, field, json, row, depth)? {
            Seen::Value(value) => {
                decoded.record.fields.insert(field.clone(), value);
            }
            Seen::Partial => {
                decoded.partial.insert(field.clone());
            }
            Seen::Nothing => {}
        }
    }
    Ok(decoded)
}

fn modified_at(row: &Map<String, Json>) -> Result<Option<DateTime<Utc>>, DecodeError> {
    match row.get("Modified_Time") {
        None | Some(Json::Null) => Ok(None),
        Some(json) => timestamp("Modified_Time", json).map(|value| match value {
            Value::Timestamp(at) => Some(at),
            Value::Empty
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Text(_)
            | Value::Date(_)
            | Value::Set(_)
            | Value::List(_)
            | Value::Reference(_)
            | Value::Link(_) => None,
        }),
    }
}

enum Seen {
    Value(Value),
    Partial,
    Nothing,
}

fn decode_field(
    form: &FieldForm,
    field: &RemoteField,
    json: &Json,
    row: &Map<String, Json>,
    depth: Depth,
) -> Result<Seen, DecodeError> {
    let is_cut = depth == Depth::List
        && form.shape == Shape::RichText
        && json.as_str().is_some_and(|text| text.chars().count() >= RICH_TEXT_CUT);
    match (&form.shape, field.part()) {
        (Shape::Unsupported, _) => Ok(Seen::Nothing),
        _ if is_cut => Ok(Seen::Partial),
        (Shape::Polymorphic(_), Some(module)) => part(field.base(), module, json, row),
        _ => decode_value(form, field.base(), json).map(Seen::Value),
    }
}

/// Decodes one field's JSON.
///
/// # Errors
/// When it holds what the field's type does not allow.
pub(super) fn decode_value(
    form: &FieldForm,
    name: &str,
    json: &Json,
) -> Result<Value, DecodeError> {
    if json.is_null() {
        return Ok(Value::Empty);
    }
    let wrong = |expected| DecodeError::Shape { field: name.to_owned(), expected };
    match form.shape {
        Shape::Text(_) | Shape::RichText => text(json).ok_or(wrong("text")),
        Shape::Number(_) | Shape::BigInt => number(json).ok_or(wrong("a number")),
        Shape::Bool => json.as_bool().map(Value::Bool).ok_or(wrong("true or false")),
        Shape::Date => date(json).ok_or(wrong("a date")),
        Shape::Timestamp => timestamp(name, json),
        Shape::Option => text(json).map(|value| option(form, &value)).ok_or(wrong("an option")),
        Shape::OptionSet => option_set(form, json).ok_or(wrong("a list of options")),
        Shape::Tags => tags(json).ok_or(wrong("a list of tags")),
        Shape::User => reference_id(json).map(|id| Value::Text(id.into())).ok_or(wrong("a user")),
        Shape::Lookup | Shape::Polymorphic(_) => reference_id(json)
            .map(|id| Value::Reference(RecordId::new(id)))
            .ok_or(wrong("a lookup")),
        Shape::Id => id_text(json).map(|id| Value::Text(id.into())).ok_or(wrong("an id")),
        Shape::Unsupported => Ok(Value::Empty),
    }
}

/// Text; numbers and flags are read as they are written, as some fields' types do not fit their values.
fn text(json: &Json) -> Option<Value> {
    match json {
        Json::String(text) => Some(Value::text(text)),
        Json::Number(number) => Some(Value::Text(number.to_string().into())),
        Json::Bool(flag) => Some(Value::Text(flag.to_string().into())),
        Json::Null | Json::Array(_) | Json::Object(_) => None,
    }
}

/// A number, from a JSON number or a text that holds one.
pub(super) fn number(json: &Json) -> Option<Value> {
    let text = match json {
        Json::Number(number) => number.to_string(),
        Json::String(text) if text.trim().is_empty() => return Some(Value::Empty),
        Json::String(text) => text.trim().to_owned(),
        Json::Null | Json::Bool(_) | Json::Array(_) | Json::Object(_) => return None,
    };
    let exact = text.parse::<Decimal>().or_else(|_| Decimal::from_scientific(&text));
    exact.ok().map(Value::number)
}

fn date(json: &Json) -> Option<Value> {
    match json.as_str()?.trim() {
        "" => Some(Value::Empty),
        text => text.parse::<NaiveDate>().ok().map(Value::Date),
    }
}

fn timestamp(name: &str, json: &Json) -> Result<Value, DecodeError> {
    let wrong = || DecodeError::Shape { field: name.to_owned(), expected: "a time with an offset" };
    match json.as_str().ok_or_else(wrong)?.trim() {
        "" => Ok(Value::Empty),
        text => DateTime::parse_from_rfc3339(text)
            .map(|at| Value::timestamp(at.to_utc()))
            .map_err(|_| wrong()),
    }
}

/// Gives an option's display value, whichever of its two names the record carries.
fn option(form: &FieldForm, value: &Value) -> Value {
    match value.as_text() {
        None | Some("-None-") => Value::Empty,
        Some(text) => display(form, text).map_or_else(|| value.clone(), Value::text),
    }
}

fn display<'a>(form: &'a FieldForm, text: &str) -> Option<&'a str> {
    let displayed = form.options.iter().find(|(display, _)| display == text);
    let found = displayed.or_else(|| form.options.iter().find(|(_, actual)| actual == text));
    found.map(|(display, _)| display.as_str())
}

fn option_set(form: &FieldForm, json: &Json) -> Option<Value> {
    let items = json.as_array()?.iter().map(|item| item.as_str().map(str::trim));
    let items: Option<Vec<&str>> = items.collect();
    let shown = items?.into_iter().filter(|item| *item != "-None-");
    Some(Value::set(shown.map(|item| display(form, item).unwrap_or(item).to_owned())))
}

/// Tags are objects, and were texts in older versions.
fn tags(json: &Json) -> Option<Value> {
    let name = |tag: &Json| {
        tag.as_str().or_else(|| tag.get("name")?.as_str()).map(|name| name.trim().to_owned())
    };
    let names: Option<Vec<String>> = json.as_array()?.iter().map(name).collect();
    names.map(Value::set)
}

/// The ID in a lookup, or a bare one.
pub(super) fn reference_id(json: &Json) -> Option<String> {
    json.get("id").and_then(id_text).or_else(|| id_text(json))
}

/// Reads a lookup of many modules as a lookup of one of them: empty when it points elsewhere.
fn part(
    name: &str,
    module: &str,
    json: &Json,
    row: &Map<String, Json>,
) -> Result<Seen, DecodeError> {
    if json.is_null() {
        return Ok(Seen::Value(Value::Empty));
    }
    let id = reference_id(json)
        .ok_or_else(|| DecodeError::Shape { field: name.to_owned(), expected: "a lookup" })?;
    Ok(match module_of(json, row) {
        Some(found) if found == module => Seen::Value(Value::Reference(RecordId::new(id))),
        Some(_) => Seen::Value(Value::Empty),
        None => Seen::Partial,
    })
}

/// The module that a lookup of many modules points to, where the row tells.
pub(super) fn module_of<'a>(json: &'a Json, row: &'a Map<String, Json>) -> Option<&'a str> {
    let inside = json.pointer("/module/api_name").and_then(Json::as_str);
    inside.or_else(|| row.get("$se_module").and_then(Json::as_str))
}

#[cfg(test)]
#[path = "codec_tests.rs"]
mod tests;
