//! Records as the API shows them.

use serde_json::{Map, Value, json};

use super::schema::{Field, FieldType, Module};
use super::state::State;
use super::table::{Row, id_of};
use super::times::ZoneClock;

/// Lists leave out subforms and cut rich text; the single-record call shows all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Depth {
    List,
    Single,
}

/// Characters of rich text shown in lists.
const RICH_TEXT_IN_LISTS: usize = 500;

pub(super) struct Renderer<'a> {
    pub(super) state: &'a State,
    pub(super) module: &'a Module,
    pub(super) zone: &'a ZoneClock,
    pub(super) depth: Depth,
}

impl Renderer<'_> {
    /// The requested fields and the id; unknown names are passed over.
    pub(super) fn selected(&self, row: &Row, names: &[String]) -> Value {
        let mut shown = Map::new();
        for name in names {
            if name == "$approval_state" {
                shown.insert(name.clone(), "approved".into());
            } else if let Some(field) = self.module.field(name).filter(|field| self.shows(field)) {
                shown.insert(name.clone(), self.value(field, row));
            }
        }
        shown.insert("id".into(), row.id.to_string().into());
        shown.into()
    }

    /// All fields with the `$` attributes.
    pub(super) fn whole(&self, row: &Row) -> Value {
        let fields =
            self.module.fields.iter().map(|field| (field.api_name.clone(), self.value(field, row)));
        let mut shown: Map<String, Value> = fields.collect();
        if let Some(related) = row.fields.get("$se_module") {
            shown.insert("$se_module".into(), related.clone());
        }
        let attributes =
            if self.module.api_name == "Notes" { note_attributes(row) } else { attributes(row) };
        if let Value::Object(attributes) = attributes {
            shown.extend(attributes);
        }
        shown.into()
    }

    pub(super) fn shows(&self, field: &Field) -> bool {
        self.depth == Depth::Single || !field.kind.only_in_single()
    }

    pub(super) fn value(&self, field: &Field, row: &Row) -> Value {
        match field.api_name.as_str() {
            "id" => return row.id.to_string().into(),
            "Created_Time" => return self.zone.millis(row.created).into(),
            "Modified_Time" | "Change_Log_Time__s" | "Last_Activity_Time" => {
                return self.zone.millis(row.modified).into();
            }
            "Created_By" => return self.state.owner_ref(row.created_by),
            "Modified_By" => return self.state.owner_ref(row.modified_by),
            "Locked__s" => return row.locked.into(),
            "Record_Status__s" => return "Available".into(),
            "Layout" => return json!({ "name": "Standard", "id": self.module.layout.to_string() }),
            _ => {}
        }
        let Some(stored) = row.fields.get(&field.api_name) else { return empty(field.kind) };
        match field.kind {
            FieldType::DateTime => {
                stored.as_str().map_or(Value::Null, |text| self.zone.stored(text).into())
            }
            FieldType::Owner | FieldType::User => {
                id_of(stored).map_or(Value::Null, |id| self.state.owner_ref(id))
            }
            FieldType::Lookup | FieldType::MultiModule => self.lookup(field, stored, row),
            FieldType::RichText if self.depth == Depth::List => {
                stored.as_str().map_or(Value::Null, |text| {
                    text.chars().take(RICH_TEXT_IN_LISTS).collect::<String>().into()
                })
            }
            FieldType::Text
            | FieldType::SmallText
            | FieldType::LargeText
            | FieldType::RichText
            | FieldType::Email
            | FieldType::Phone
            | FieldType::Website
            | FieldType::Picklist
            | FieldType::MultiPicklist
            | FieldType::Boolean
            | FieldType::Integer
            | FieldType::Bigint
            | FieldType::Double
            | FieldType::Currency
            | FieldType::Percent
            | FieldType::Date
            | FieldType::Autonumber
            | FieldType::Formula
            | FieldType::Subform
            | FieldType::Tag
            | FieldType::Layout
            | FieldType::Json
            | FieldType::Alarm
            | FieldType::Recurrence
            | FieldType::CallReminder => stored.clone(),
        }
    }

    /// Name and id of the record pointed to; null when it is gone.
    fn lookup(&self, field: &Field, stored: &Value, row: &Row) -> Value {
        let related = row.fields.get("$se_module").and_then(Value::as_str);
        let related = related.filter(|_| field.kind == FieldType::MultiModule);
        let Some((module, target)) = self.state.target(field, stored, related) else {
            return Value::Null;
        };
        let mut shown =
            json!({ "name": module.display_name(&target.fields), "id": target.id.to_string() });
        if field.api_name == "Parent_Id" {
            shown["module"] = json!({ "api_name": module.api_name, "id": module.id.to_string() });
        }
        shown
    }
}

/// The `$` keys of a single record.
fn attributes(row: &Row) -> Value {
    json!({
        "$currency_symbol": "€",
        "$field_states": null,
        "$sharing_permission": "full_access",
        "$process_flow": false,
        "$locked_for_me": row.locked,
        "$approval": { "delegate": false, "approve": false, "reject": false, "resubmit": false },
        "$approval_state": "approved",
        "$wizard_connection_path": null,
        "$editable": !row.locked,
        "$zia_owner_assignment": "owner_recommendation_unavailable",
        "$review_process": { "approve": false, "reject": false, "resubmit": false },
        "$review": null,
        "$zia_visions": null,
        "$orchestration": null,
        "$pathfinder": null,
        "$in_merge": false,
        "$state": "save",
        "$canvas_id": null,
        "$has_more": {},
    })
}

/// The `$` keys of a single note.
fn note_attributes(row: &Row) -> Value {
    json!({
        "$editable": !row.locked,
        "$attachments": [],
        "$is_shared_to_client": false,
        "$voice_note": false,
        "$size": null,
        "$sharing_permission": "full_access",
        "$state": "save",
    })
}

/// How a field without a value looks.
fn empty(kind: FieldType) -> Value {
    match kind {
        FieldType::Boolean => false.into(),
        FieldType::Tag | FieldType::Subform => json!([]),
        FieldType::Text
        | FieldType::SmallText
        | FieldType::LargeText
        | FieldType::RichText
        | FieldType::Email
        | FieldType::Phone
        | FieldType::Website
        | FieldType::Picklist
        | FieldType::MultiPicklist
        | FieldType::Integer
        | FieldType::Bigint
        | FieldType::Double
        | FieldType::Currency
        | FieldType::Percent
        | FieldType::Date
        | FieldType::DateTime
        | FieldType::Autonumber
        | FieldType::Formula
        | FieldType::Lookup
        | FieldType::Owner
        | FieldType::User
        | FieldType::MultiModule
        | FieldType::Layout
        | FieldType::Json
        | FieldType::Alarm
        | FieldType::Recurrence
        | FieldType::CallReminder => Value::Null,
    }
}
