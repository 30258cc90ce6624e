//! Zoho's JSON as it stands on the wire. Unknown keys are passed over, missing ones are `None`.
//!
//! Source: Zoho CRM API v8, `OpenAPI` files and "Fields metadata".

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// An object with one list in it, and where the list goes on.
#[derive(Debug, Deserialize)]
pub(super) struct Rows {
    pub(super) data: Vec<Value>,
    #[serde(default)]
    pub(super) info: Info,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Info {
    #[serde(default)]
    pub(super) more_records: bool,
    #[serde(default)]
    pub(super) next_page_token: Option<String>,
}

/// A refusal of a whole request, and the outcome of one row: the same object.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Status {
    #[serde(default)]
    pub(super) code: String,
    #[serde(default)]
    pub(super) message: String,
    #[serde(default, rename = "status")]
    pub(super) outcome: String,
    #[serde(default, deserialize_with = "object_or_nothing")]
    pub(super) details: Map<String, Value>,
}

impl Status {
    pub(super) fn is_success(&self) -> bool {
        self.outcome == "success" || self.code == "SUCCESS"
    }

    pub(super) fn detail(&self, key: &str) -> Option<&str> {
        self.details.get(key).and_then(Value::as_str)
    }

    /// The record's ID, sent as text and, in places, as a number.
    pub(super) fn id(&self) -> Option<String> {
        self.details.get("id").and_then(id_text)
    }

    /// Row that the refusal speaks of: 3 in `$.data[3].Email`.
    pub(super) fn row(&self) -> Option<usize> {
        let path = self.detail("json_path").or_else(|| self.nested_path())?;
        let (_, rest) = path.split_once('[')?;
        rest.split_once(']')?.0.parse().ok()
    }

    fn nested_path(&self) -> Option<&str> {
        self.details.get("errors")?.get(0)?.pointer("/details/json_path")?.as_str()
    }
}

/// Text of an ID that came as text or as a number.
pub(super) fn id_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
            None
        }
    }
}

/// One row of `/settings/modules`.
#[derive(Debug, Deserialize)]
pub(super) struct Module {
    pub(super) api_name: String,
    #[serde(default, rename = "module_name")]
    pub(super) tab: Option<String>,
    #[serde(default)]
    pub(super) plural_label: Option<String>,
    #[serde(default)]
    pub(super) generated_type: Option<String>,
    #[serde(default)]
    pub(super) api_supported: bool,
    #[serde(default)]
    pub(super) status: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Modules {
    #[serde(default)]
    pub(super) modules: Vec<Module>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Fields {
    #[serde(default)]
    pub(super) fields: Vec<Field>,
}

/// One row of `/settings/fields`, as far as a sync cares.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Field {
    pub(super) api_name: String,
    #[serde(default, rename = "field_label")]
    pub(super) label: Option<String>,
    #[serde(default)]
    pub(super) data_type: String,
    #[serde(default)]
    pub(super) length: Option<usize>,
    #[serde(default, rename = "custom_field")]
    pub(super) custom: bool,
    #[serde(default)]
    pub(super) system_mandatory: bool,
    #[serde(default)]
    pub(super) read_only: bool,
    #[serde(default)]
    pub(super) operation_type: Option<OperationType>,
    #[serde(default)]
    pub(super) view_type: Option<ViewType>,
    #[serde(default, deserialize_with = "object_or_nothing")]
    pub(super) unique: Map<String, Value>,
    #[serde(default, deserialize_with = "list_or_nothing")]
    pub(super) pick_list_values: Vec<PickValue>,
    #[serde(default, deserialize_with = "object_or_nothing")]
    pub(super) lookup: Map<String, Value>,
    #[serde(default, deserialize_with = "object_or_nothing")]
    pub(super) multi_module_lookup: Map<String, Value>,
    #[serde(default, deserialize_with = "object_or_nothing")]
    pub(super) formula: Map<String, Value>,
    #[serde(default, deserialize_with = "object_or_nothing")]
    pub(super) rollup_summary: Map<String, Value>,
    #[serde(default, deserialize_with = "object_or_nothing")]
    pub(super) textarea: Map<String, Value>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct OperationType {
    #[serde(default)]
    pub(super) api_create: bool,
    #[serde(default)]
    pub(super) api_update: bool,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct ViewType {
    #[serde(default)]
    pub(super) view: bool,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct PickValue {
    pub(super) display_value: String,
    #[serde(default)]
    pub(super) actual_value: Option<String>,
    #[serde(default, rename = "type")]
    pub(super) usage: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Users {
    #[serde(default)]
    pub(super) users: Vec<User>,
    #[serde(default)]
    pub(super) info: Info,
}

#[derive(Debug, Deserialize)]
pub(super) struct User {
    pub(super) id: String,
    #[serde(default)]
    pub(super) full_name: Option<String>,
    #[serde(default)]
    pub(super) email: Option<String>,
    #[serde(default)]
    pub(super) status: Option<String>,
    #[serde(default)]
    pub(super) time_zone: Option<String>,
    #[serde(default)]
    pub(super) profile: Option<Named>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Named {
    #[serde(default)]
    pub(super) name: String,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Orgs {
    #[serde(default)]
    pub(super) org: Vec<Org>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Org {
    #[serde(default)]
    pub(super) id: Value,
    #[serde(default)]
    pub(super) zgid: Value,
    #[serde(default)]
    pub(super) domain_name: Option<String>,
    #[serde(default)]
    pub(super) company_name: Option<String>,
    #[serde(default)]
    pub(super) time_zone: Option<String>,
    #[serde(default)]
    pub(super) iso_code: Option<String>,
    #[serde(default)]
    pub(super) license_details: Option<License>,
    #[serde(default, rename = "type")]
    pub(super) kind: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct License {
    #[serde(default)]
    pub(super) paid: bool,
    #[serde(default)]
    pub(super) paid_type: Option<String>,
    #[serde(default)]
    pub(super) trial_type: Option<String>,
}

/// Zoho writes "nothing" as null, `{}`, `[]` or `""` by mood.
fn object_or_nothing<'de, D: Deserializer<'de>>(from: D) -> Result<Map<String, Value>, D::Error> {
    Ok(match Value::deserialize(from)? {
        Value::Object(object) => object,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Map::new()
        }
    })
}

fn list_or_nothing<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<PickValue>, D::Error> {
    let value = Value::deserialize(from)?;
    if value.is_array() {
        serde_json::from_value(value).map_err(serde::de::Error::custom)
    } else {
        Ok(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn given_row_statuses_when_read_then_the_row_is_found_wherever_it_stands() {
        let cases = [
            ("own path", json!({ "json_path": "$.data[3].Email" }), Some(3)),
            (
                "path of the first of several errors",
                json!({ "errors": [{ "details": { "json_path": "$.data[12].Phone" } }] }),
                Some(12),
            ),
            ("no path", json!({ "api_name": "Email" }), None),
            ("nothing at all", json!([]), None),
        ];

        for (name, details, expected) in cases {
            let status = json!({ "code": "INVALID_DATA", "details": details });
            let status: Status = serde_json::from_value(status).unwrap();
            assert_eq!(status.row(), expected, "{name}");
        }
    }
}
