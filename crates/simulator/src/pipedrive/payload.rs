//! Records in the form of webhooks v2, which is neither that of v1 nor that of v2.
//!
//! Source: Pipedrive, "Webhooks v2 migration guide", samples.

use serde_json::{Map, Value, json};

use super::kind::Kind;
use super::state::State;
use super::table::Version;
use super::values;

impl State {
    /// `data` and `previous` of an event; of a change only what changed is previous.
    pub(super) fn event_states(
        &self,
        kind: Kind,
        present: &Version,
        before: Option<&Version>,
        action: &str,
    ) -> (Value, Value) {
        let now = self.event_data(kind, present);
        match (action, before) {
            ("delete", Some(before)) => (Value::Null, self.event_data(kind, before).into()),
            ("change", Some(before)) => {
                let mut previous = self.event_data(kind, before);
                previous.retain(|key, value| now.get(key) != Some(value));
                if let (Some(Value::Object(then)), Some(Value::Object(custom))) =
                    (previous.get_mut("custom_fields"), now.get("custom_fields"))
                {
                    then.retain(|key, value| custom.get(key) != Some(value));
                }
                (now.into(), previous.into())
            }
            _ => (now.into(), Value::Null),
        }
    }

    fn event_data(&self, kind: Kind, version: &Version) -> Map<String, Value> {
        let mut data = version.body.clone();
        if let Some(level) = version.int("visible_to") {
            data.insert("visible_to".into(), level.to_string().into());
        }
        if kind.has_custom_fields() {
            let fields = self.custom_fields(kind);
            let tagged = fields.map(|field| {
                (
                    field.code.clone(),
                    values::in_webhook(
                        field,
                        version.custom.get(&field.code).unwrap_or(&Value::Null),
                    ),
                )
            });
            data.insert("custom_fields".into(), tagged.collect::<Map<_, _>>().into());
        }
        if self.settings.switches.webhook_plain_contacts {
            for key in ["emails", "phones"] {
                for item in data.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten() {
                    *item = item["value"].clone();
                }
            }
        }
        reshape(kind, version, &mut data);
        data
    }
}

fn rename(data: &mut Map<String, Value>, from: &str, to: &str) {
    if let Some(value) = data.remove(from) {
        data.insert(to.into(), value);
    }
}

fn reshape(kind: Kind, version: &Version, data: &mut Map<String, Value>) {
    let dropped: &[&str] = match kind {
        Kind::Deal => &[
            "is_archived",
            "archive_time",
            "local_won_date",
            "local_lost_date",
            "local_close_date",
            "acv",
            "arr",
            "mrr",
        ],
        Kind::Activity => &["participants", "attendees", "private"],
        Kind::Product => &["billing_frequency", "billing_frequency_cycles"],
        Kind::Pipeline => &["is_selected"],
        Kind::Person
        | Kind::Organization
        | Kind::Stage
        | Kind::Note
        | Kind::Lead
        | Kind::DealProduct => &[],
    };
    data.retain(|key, _| !dropped.contains(&key.as_str()) && key != "is_deleted");
    match kind {
        Kind::Deal => {
            data.insert(
                "first_won_time".into(),
                version.body.get("won_time").cloned().unwrap_or_default(),
            );
        }
        Kind::Person | Kind::Organization => {
            let label = data.remove("label_ids").and_then(|ids| ids.get(0).cloned());
            data.insert("label".into(), label.unwrap_or_default());
            if kind == Kind::Organization {
                data.insert("country_code".into(), Value::Null);
            }
        }
        Kind::Activity => {
            rename(data, "busy", "busy_flag");
            data.insert("active_flag".into(), (!version.deleted).into());
            data.insert("update_user_id".into(), Value::Null);
            data.insert("custom_fields".into(), json!({}));
            for key in ["due_time", "duration"] {
                let value = data.remove(key).filter(|value| !value.is_null());
                data.insert(
                    key.into(),
                    value.map_or(
                        Value::Null,
                        |value| json!({ "timezone_id": null, "value": value }),
                    ),
                );
            }
        }
        Kind::Product => rename(data, "is_linkable", "selectable"),
        Kind::Pipeline => {
            rename(data, "is_deal_probability_enabled", "deal_probability");
            data.insert("active_flag".into(), (!version.deleted).into());
            data.insert("url_title".into(), version.text("name").replace(' ', "-").into());
        }
        Kind::Stage => {
            rename(data, "is_deal_rot_enabled", "rotten_flag");
            rename(data, "days_to_rotten", "rotten_days");
            data.insert("active_flag".into(), (!version.deleted).into());
        }
        Kind::Note => {
            data.insert("active_flag".into(), (!version.deleted).into());
        }
        Kind::Lead | Kind::DealProduct => {}
    }
}
