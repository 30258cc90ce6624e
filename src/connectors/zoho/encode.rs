//! Canonical values into Zoho's JSON: `codec` the other way round.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use crmsync_core::model::{RemoteField, Value};
use rust_decimal::Decimal;
use serde_json::{Map, Value as Json, json};

use super::codec::{FieldForm, Forms, Naming, Shape, module_of};

/// Why a value cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum EncodeError {
    #[error("unknown field `{0}`")]
    Unknown(String),
    #[error("field `{field}`: {reason}")]
    Misfit { field: String, reason: String },
}

/// In which form options are written; reads accept both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OptionForm {
    /// What people see. An option that Zoho does not know would show up under the right name at least.
    #[default]
    Display,
    /// What the option was first called.
    Actual,
}

/// Encodes the fields of one row. `current` is the record's JSON when it is updated: it decides whether an
/// empty part of a lookup of many modules clears the lookup, or says nothing as that points elsewhere.
///
/// # Errors
/// When a value does not fit its field, a number has more digits than JSON numbers carry on this side, or
/// two parts of one lookup are set.
pub(super) fn encode_row(
    forms: &Forms,
    fields: &BTreeMap<RemoteField, Value>,
    current: Option<&Json>,
    options: OptionForm,
) -> Result<Map<String, Json>, EncodeError> {
    let mut row = Map::new();
    let mut parts: BTreeMap<&str, Vec<(&str, &Value)>> = BTreeMap::new();
    for (field, value) in fields {
        let name = || field.as_str().to_owned();
        let refuse = |reason| EncodeError::Misfit { field: name(), reason };
        let form = forms.get(field.base()).ok_or_else(|| EncodeError::Unknown(name()))?;
        match (&form.shape, field.part()) {
            (Shape::Polymorphic(_), Some(module)) => {
                parts.entry(field.base()).or_default().push((module, value));
            }
            // Nothing to clear on a record that is not there yet.
            _ if value.is_empty() && current.is_none() => {}
            _ => {
                row.insert(
                    field.base().to_owned(),
                    encode_value(form, value, options).map_err(refuse)?,
                );
            }
        }
    }
    for (name, values) in parts {
        encode_parts(forms, name, &values, current, &mut row)?;
    }
    Ok(row)
}

fn encode_parts(
    forms: &Forms,
    name: &str,
    values: &[(&str, &Value)],
    current: Option<&Json>,
    row: &mut Map<String, Json>,
) -> Result<(), EncodeError> {
    let refuse =
        |reason: &str| EncodeError::Misfit { field: name.to_owned(), reason: reason.to_owned() };
    let set: Vec<_> = values.iter().filter(|(_, value)| !value.is_empty()).collect();
    match (set.as_slice(), current) {
        ([(module, Value::Reference(id))], _) => {
            let naming = forms.get(name).map(|form| &form.shape);
            if naming == Some(&Shape::Polymorphic(Naming::Inside)) {
                let target = json!({ "module": { "api_name": module }, "id": id.as_str() });
                row.insert(name.to_owned(), target);
            } else {
                row.insert(name.to_owned(), json!({ "id": id.as_str() }));
                row.insert("$se_module".to_owned(), (*module).into());
            }
        }
        ([], None) => {}
        ([], Some(current)) => {
            let pointed = current.get(name).filter(|lookup| !lookup.is_null());
            let whole = current.as_object();
            let module = pointed.zip(whole).and_then(|(lookup, row)| module_of(lookup, row));
            if module.is_some_and(|module| values.iter().any(|(part, _)| *part == module)) {
                row.insert(name.to_owned(), Json::Null);
            } else if pointed.is_some() && module.is_none() {
                return Err(refuse("the record does not tell which module it points to"));
            }
        }
        ([_], _) => return Err(refuse("not a reference")),
        _ => return Err(refuse("can point to one record only")),
    }
    Ok(())
}

/// Encodes one field's value; empty is null.
///
/// # Errors
/// The reason, when the value does not fit the field.
pub(super) fn encode_value(
    form: &FieldForm,
    value: &Value,
    options: OptionForm,
) -> Result<Json, String> {
    let written = |text: &str| match options {
        OptionForm::Display => text.to_owned(),
        OptionForm::Actual => actual(form, text),
    };
    match (&form.shape, value) {
        (Shape::OptionSet | Shape::Tags, Value::Empty) => Ok(json!([])),
        (_, Value::Empty) => Ok(Json::Null),
        (Shape::Text(_) | Shape::RichText, Value::Text(text)) => Ok(text.as_str().into()),
        (Shape::Number(_), Value::Number(number)) => json_number(*number),
        (Shape::BigInt, Value::Number(number)) if number.is_integer() => {
            Ok(number.normalize().to_string().into())
        }
        (Shape::Bool, Value::Bool(flag)) => Ok((*flag).into()),
        (Shape::Date, Value::Date(date)) => Ok(date.to_string().into()),
        (Shape::Timestamp, Value::Timestamp(at)) => Ok(zoho_time(*at).into()),
        (Shape::Option, Value::Text(text)) => Ok(written(text).into()),
        (Shape::OptionSet, Value::Set(items)) => {
            Ok(items.iter().map(|item| written(item)).collect::<Vec<_>>().into())
        }
        (Shape::Tags, Value::Set(items)) => {
            Ok(items.iter().map(|name| json!({ "name": name })).collect::<Vec<_>>().into())
        }
        (Shape::User, Value::Text(id)) => Ok(json!({ "id": id })),
        (Shape::Lookup, Value::Reference(id)) => Ok(json!({ "id": id.as_str() })),
        (Shape::Polymorphic(_), _) => Err("name the module, as in `What_Id.Deals`".into()),
        (shape, _) => Err(format!("the value does not fit a field of kind {:?}", shape.kind())),
    }
}

/// `2026-01-10T09:15:00+00:00`: whole seconds, with an offset, as the API wants it.
pub(super) fn zoho_time(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%dT%H:%M:%S+00:00").to_string()
}

fn actual(form: &FieldForm, text: &str) -> String {
    let found = form.options.iter().find(|(display, _)| display == text);
    found.map_or_else(|| text.to_owned(), |(_, actual)| actual.clone())
}

/// A JSON number that reads back as exactly this decimal: whole, or a double that is not off by a digit.
fn json_number(number: Decimal) -> Result<Json, String> {
    let number = number.normalize();
    if let Some(whole) = number.is_integer().then(|| i64::try_from(number).ok()).flatten() {
        return Ok(whole.into());
    }
    let double = number.to_string().parse::<f64>().ok().and_then(serde_json::Number::from_f64);
    let json = double
        .map(Json::Number)
        .filter(|json| super::codec::number(json) == Some(Value::Number(number)));
    json.ok_or_else(|| "the number has more digits than Zoho's JSON numbers carry".into())
}
