//! One record out of its JSON, whatever the dialect.

use chrono::{DateTime, Utc};
use crmsync_core::model::{RecordId, RemoteField, RemoteRecord};
use serde_json::Value as Json;

use super::super::Undecodable;
use super::codec::{self, parse_time};
use super::module::{Dialect, Module};
use super::schema::Shapes;

/// Decodes `fields` of one record and keeps its JSON where `keep` says so.
///
/// A field that the answer does not hold is absent from the record: a custom field that was deleted, or
/// `custom_fields: null` of a company that has none.
///
/// # Errors
/// [`Undecodable`] naming the field, never its content.
pub(super) fn decode(
    shapes: &Shapes,
    fields: &[RemoteField],
    raw: Json,
    keep: Keep,
) -> Result<RemoteRecord, Undecodable> {
    let id =
        id(&raw).ok_or_else(|| Undecodable { id: None, reason: "a row without an id".into() })?;
    let mut decoded = std::collections::BTreeMap::new();
    for field in fields {
        let Some(shape) = shapes.shape(field) else { continue };
        let Some(json) = locate(shapes.module, &raw, field, shape.custom) else { continue };
        let value = codec::decode(shape.kind, json).map_err(|mismatch| Undecodable {
            id: Some(id.clone()),
            reason: format!("field `{field}`: {mismatch}"),
        })?;
        decoded.insert(field.clone(), value);
    }
    Ok(RemoteRecord {
        id,
        modified_at: modified_at(&raw),
        fields: decoded,
        archived: raw.get("is_archived").and_then(Json::as_bool).unwrap_or(false),
        raw: (keep == Keep::Raw).then_some(raw),
    })
}

/// Whether a record keeps its JSON: before a write it must, in scans it would only take room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    Raw,
    Fields,
}

pub(super) fn id(raw: &Json) -> Option<RecordId> {
    match raw.get("id")? {
        Json::Number(number) => Some(RecordId::new(number.to_string())),
        Json::String(text) if !text.is_empty() => Some(RecordId::new(text.clone())),
        Json::Null | Json::Bool(_) | Json::String(_) | Json::Array(_) | Json::Object(_) => None,
    }
}

/// Rows that were never changed have no `update_time` in some accounts: their creation is their last change.
pub(super) fn modified_at(raw: &Json) -> Option<DateTime<Utc>> {
    let time = |key: &str| raw.get(key).and_then(Json::as_str).and_then(parse_time);
    time("update_time").or_else(|| time("add_time"))
}

/// Whether the side says the record is deleted. Source: live answers; deals read `deleted` as their status.
pub(super) fn is_deleted(raw: &Json) -> bool {
    let is = |key: &str, wanted: bool| raw.get(key).and_then(Json::as_bool) == Some(wanted);
    is("is_deleted", true)
        || is("deleted", true)
        || is("active_flag", false)
        || raw.get("status").and_then(Json::as_str) == Some("deleted")
}

static NULL: Json = Json::Null;

/// Where a field's value stands; `None` when the answer does not hold it.
fn locate<'a>(
    module: &Module,
    raw: &'a Json,
    field: &RemoteField,
    custom: bool,
) -> Option<&'a Json> {
    let (base, part) = (field.base(), field.part());
    if custom && module.dialect == Dialect::V1 {
        // Leads leave out custom fields that are not set; the field list has told that this one exists.
        return Some(raw.get(flat_key(base, part)).unwrap_or(&NULL));
    }
    let whole = if custom { raw.get("custom_fields")?.get(base)? } else { raw.get(base)? };
    match (whole, part) {
        (Json::Object(object), part) => object.get(part.unwrap_or("value")),
        (Json::Array(entries), Some(label)) => Some(entry(entries, label)),
        // A composite's text alone is how old answers have it.
        (Json::Null, _) | (_, None | Some("value")) => Some(whole),
        (_, Some(_)) => None,
    }
}

/// v1 keeps a composite's parts beside it: `KEY` and `KEY_currency`.
pub(super) fn flat_key(base: &str, part: Option<&str>) -> String {
    match part {
        None | Some("value") => base.to_owned(),
        Some(part) => format!("{base}_{part}"),
    }
}

/// The value of the first e-mail or phone with this label, or of the price in this currency.
fn entry<'a>(entries: &'a [Json], label: &str) -> &'a Json {
    let has = |entry: &&Json, key: &str| entry.get(key).and_then(Json::as_str) == Some(label);
    let by_label =
        entries.iter().find(|entry| has(entry, "label")).and_then(|entry| entry.get("value"));
    let by_currency =
        || entries.iter().find(|entry| has(entry, "currency")).and_then(|entry| entry.get("price"));
    by_label.or_else(by_currency).unwrap_or(&NULL)
}
