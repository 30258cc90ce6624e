//! Answers as the API writes them: every key optional, unknown keys kept out of the way.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

/// What wraps every answer. Source: "Responses"; the gateway writes the same keys.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Envelope {
    pub(super) success: Option<bool>,
    #[serde(default)]
    pub(super) data: Json,
    #[serde(default)]
    pub(super) additional_data: Option<AdditionalData>,
    #[serde(default)]
    pub(super) error: Option<Json>,
    #[serde(default)]
    pub(super) message: Option<String>,
    /// Such as `feature_capping_deals_limit`.
    #[serde(default)]
    pub(super) code: Option<Json>,
    /// Reasons by field, as refusals of webhooks have them instead of `error`.
    #[serde(default)]
    pub(super) errors: Option<Json>,
}

impl Envelope {
    /// What the side says was wrong.
    pub(super) fn reason(&self) -> Option<&str> {
        self.error.as_ref().and_then(Json::as_str).or(self.message.as_deref())
    }

    /// The first field that is refused, and why.
    pub(super) fn field(&self) -> Option<(&str, &str)> {
        let (field, reasons) = self.errors.as_ref()?.as_object()?.iter().next()?;
        Some((field, reasons.get(0).unwrap_or(reasons).as_str()?))
    }
}

/// v2 pages by cursor; v1 by offset, with the keys one level lower for most lists and here for leads.
#[derive(Debug, Default, Deserialize)]
pub(super) struct AdditionalData {
    #[serde(default)]
    pub(super) next_cursor: Option<String>,
    #[serde(default)]
    pub(super) pagination: Option<Pagination>,
    #[serde(default)]
    pub(super) more_items_in_collection: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Pagination {
    #[serde(default)]
    pub(super) more_items_in_collection: Option<bool>,
}

impl AdditionalData {
    pub(super) fn more(&self) -> Option<bool> {
        let nested = self.pagination.as_ref().and_then(|page| page.more_items_in_collection);
        nested.or(self.more_items_in_collection)
    }
}

/// A row of `GET /api/v2/{entity}Fields`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Field {
    #[serde(rename = "field_name")]
    pub(super) name: String,
    /// A key of records, or 40 hexadecimal digits.
    #[serde(rename = "field_code")]
    pub(super) code: String,
    #[serde(rename = "field_type")]
    pub(super) type_name: String,
    #[serde(default, rename = "options")]
    pub(super) choices: Option<Vec<FieldOption>>,
    #[serde(default, rename = "is_custom_field")]
    pub(super) custom: bool,
    /// In an answer only when asked for.
    #[serde(default, rename = "is_optional_response_field")]
    pub(super) optional: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct FieldOption {
    /// A number for custom fields, a text for some built-in ones.
    pub(super) id: Json,
    #[serde(default)]
    pub(super) label: String,
}

/// A row of `/pipelines`, `/stages`, `/leadLabels`.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Named {
    pub(super) id: Json,
    pub(super) name: String,
    /// Of a stage.
    #[serde(default)]
    pub(super) pipeline_id: Option<i64>,
}

/// A row of `/activityTypes`: activities refer to the key.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct ActivityType {
    pub(super) key_string: String,
    pub(super) name: String,
    #[serde(default)]
    pub(super) active_flag: Option<bool>,
}

/// A row of `/currencies`.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Currency {
    pub(super) code: String,
    pub(super) name: String,
    #[serde(default)]
    pub(super) active_flag: Option<bool>,
}

/// A row of `/users`; `/users/me` adds the company.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct UserRow {
    pub(super) id: Json,
    #[serde(default)]
    pub(super) name: Option<String>,
    #[serde(default)]
    pub(super) email: Option<String>,
    #[serde(default)]
    pub(super) active_flag: Option<bool>,
    #[serde(default)]
    pub(super) timezone_name: Option<String>,
    #[serde(default)]
    pub(super) default_currency: Option<String>,
    /// 0 or 1, or a boolean.
    #[serde(default)]
    pub(super) is_admin: Json,
    #[serde(default)]
    pub(super) access: Option<Vec<Access>>,
    #[serde(default)]
    pub(super) company_id: Json,
    #[serde(default)]
    pub(super) company_name: Option<String>,
    #[serde(default)]
    pub(super) company_domain: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Access {
    #[serde(default)]
    pub(super) app: String,
    #[serde(default)]
    pub(super) admin: bool,
}

impl UserRow {
    /// Whether the user sees and may change everything in sales.
    pub(super) fn is_admin(&self) -> bool {
        let flag = self.is_admin == Json::Bool(true) || self.is_admin.as_i64() == Some(1);
        let by_app =
            |access: &Access| access.admin && ["sales", "global"].contains(&access.app.as_str());
        flag || self.access.iter().flatten().any(by_app)
    }
}

/// A row of `/recents`: the record in its v1 form.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Recent {
    pub(super) id: Json,
    #[serde(default)]
    pub(super) data: Json,
}

/// A row of `/{entity}/{id}/changelog`.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Change {
    pub(super) field_key: String,
    pub(super) time: String,
    #[serde(default)]
    pub(super) old_value: Json,
    #[serde(default)]
    pub(super) new_value: Json,
}
