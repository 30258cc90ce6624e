//! Field metadata: built-in and custom fields, their options.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::kind::Kind;
use super::schema::{self, Access, CONTACT_SYNC};
use super::state::State;
use super::table::Millis;
use super::time;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Choice {
    /// An integer for custom fields, a text for some built-in ones.
    pub(super) id: Value,
    pub(super) label: String,
    pub(super) color: Option<String>,
    pub(super) added: Option<Millis>,
}

/// A field as the Fields API knows it.
#[derive(Clone, Debug)]
pub(super) struct Field {
    /// Numeric id of the v1 Fields API.
    pub(super) id: i64,
    pub(super) code: String,
    pub(super) name: String,
    pub(super) value_type: String,
    pub(super) options: Option<Vec<Choice>>,
    pub(super) custom: bool,
    pub(super) optional: bool,
    pub(super) writable: bool,
    pub(super) visibility: Value,
    pub(super) important: Value,
    pub(super) required: Value,
    pub(super) description: Option<String>,
    pub(super) changed: Option<Millis>,
}

impl Field {
    pub(super) fn has_option(&self, id: i64) -> bool {
        self.options.iter().flatten().any(|choice| choice.id == id)
    }
}

pub(super) const TYPES: [&str; 16] = [
    "varchar",
    "varchar_auto",
    "text",
    "double",
    "monetary",
    "date",
    "daterange",
    "time",
    "timerange",
    "set",
    "enum",
    "user",
    "org",
    "people",
    "phone",
    "address",
];
pub(super) const MAX_OPTIONS: usize = 10_000;

/// The fields a new company has.
pub(super) fn built_in(contact_sync: bool) -> BTreeMap<Kind, Vec<Field>> {
    let mut next = 0;
    let mut all = BTreeMap::new();
    for kind in Kind::ALL {
        let sync = if kind == Kind::Person && contact_sync { CONTACT_SYNC } else { &[] };
        let mut fields: Vec<_> = schema::columns(kind)
            .iter()
            .chain(sync)
            .map(|column| {
                next += 1;
                let mut field = plain(
                    next,
                    code_of(kind, column.key),
                    column.name,
                    schema::field_type(kind, column),
                );
                field.writable = column.access != Access::ReadOnly;
                field.options = starting_options(kind, column.key);
                field
            })
            .collect();
        for key in schema::optional(kind) {
            next += 1;
            fields
                .push(Field { optional: true, ..plain(next, key, &key.replace('_', " "), "int") });
        }
        all.insert(kind, fields);
    }
    all
}

/// The code in the Fields API: e-mails and phones go by other names there than in the entity.
fn code_of(kind: Kind, key: &'static str) -> &'static str {
    match (kind, key) {
        (Kind::Person, "emails") => "email",
        (Kind::Person, "phones") => "phone",
        _ => key,
    }
}

fn plain(id: i64, code: &str, name: &str, field_type: &str) -> Field {
    Field {
        id,
        code: code.into(),
        name: name.into(),
        value_type: field_type.into(),
        options: None,
        custom: false,
        optional: false,
        writable: false,
        visibility: json!({ "add_visible_flag": false, "details_visible_flag": true }),
        important: json!({ "enabled": false, "stage_ids": [] }),
        required: json!({ "enabled": false, "stage_ids": [], "statuses": {} }),
        description: None,
        changed: None,
    }
}

fn starting_options(kind: Kind, key: &str) -> Option<Vec<Choice>> {
    let choices: &[(Value, &str, Option<&str>)] = match (kind, key) {
        (Kind::Deal, "status") => &[
            (json!("open"), "Open", None),
            (json!("won"), "Won", None),
            (json!("lost"), "Lost", None),
            (json!("deleted"), "Deleted", None),
        ],
        (Kind::Person | Kind::Organization | Kind::Deal, "label_ids") => &[
            (json!(5), "Hot", Some("red")),
            (json!(6), "Warm", Some("yellow")),
            (json!(7), "Cold", Some("blue")),
        ],
        (Kind::Organization, "industry") => &[
            (json!(1), "Accounting", None),
            (json!(2), "Computer Software", None),
            (json!(3), "Retail", None),
        ],
        (Kind::Activity, "priority") => {
            &[(json!(1), "Low", None), (json!(2), "Medium", None), (json!(3), "High", None)]
        }
        (Kind::Product, "category") => {
            &[(json!(18), "Software", None), (json!(19), "Services", None)]
        }
        _ => return None,
    };
    let choice = |(id, label, color): &(Value, &str, Option<&str>)| Choice {
        id: id.clone(),
        label: (*label).into(),
        color: color.map(Into::into),
        added: None,
    };
    Some(choices.iter().map(choice).collect())
}

impl State {
    pub(super) fn fields_of(&self, kind: Kind) -> &[Field] {
        self.fields.get(&kind.field_owner()).map_or(&[], Vec::as_slice)
    }

    pub(super) fn custom_fields(&self, kind: Kind) -> impl Iterator<Item = &Field> {
        self.fields_of(kind).iter().filter(|field| field.custom)
    }

    pub(super) fn custom_field(&self, kind: Kind, code: &str) -> Option<&Field> {
        self.custom_fields(kind).find(|field| field.code == code)
    }

    pub(super) fn field_mut(&mut self, kind: Kind, code: &str) -> Option<&mut Field> {
        self.fields.get_mut(&kind.field_owner())?.iter_mut().find(|field| field.code == code)
    }

    /// Option ids are unique in the company.
    fn next_option_id(&self) -> i64 {
        let choices =
            self.fields.values().flatten().flat_map(|field| field.options.iter().flatten());
        choices.filter_map(|choice| choice.id.as_i64()).max().unwrap_or(0).max(100) + 1
    }

    /// Adds a custom field.
    pub(super) fn add_field(
        &mut self,
        kind: Kind,
        name: &str,
        field_type: &str,
        labels: &[String],
    ) -> String {
        let code = self.draw_hex("field");
        let id = self.fields.values().flatten().map(|field| field.id).max().unwrap_or(0) + 1;
        let now = self.now();
        let mut field =
            Field { custom: true, writable: true, ..plain(id, &code, name, field_type) };
        field.changed = Some(now);
        field.options = matches!(field_type, "enum" | "set").then(Vec::new);
        self.fields.entry(kind.field_owner()).or_default().push(field);
        for label in labels {
            self.add_option(kind, &code, label);
        }
        self.epoch += 1;
        code
    }

    pub(super) fn add_option(&mut self, kind: Kind, code: &str, label: &str) -> Option<i64> {
        let (id, now) = (self.next_option_id(), self.now());
        let field = self.field_mut(kind, code)?;
        let choice = Choice { id: id.into(), label: label.into(), color: None, added: Some(now) };
        field.options.get_or_insert_default().push(choice);
        Some(id)
    }

    pub(super) fn rename_option(&mut self, kind: Kind, code: &str, id: i64, label: &str) -> bool {
        let options = self.field_mut(kind, code).and_then(|field| field.options.as_mut());
        let choice = options.and_then(|options| options.iter_mut().find(|choice| choice.id == id));
        choice.map(|choice| choice.label = label.into()).is_some()
    }

    /// Removes an option; records that had it lose it.
    pub(super) fn remove_option(&mut self, kind: Kind, code: &str, id: i64) -> bool {
        let Some(options) = self.field_mut(kind, code).and_then(|field| field.options.as_mut())
        else {
            return false;
        };
        let before = options.len();
        options.retain(|choice| choice.id != id);
        let removed = options.len() < before;
        if removed {
            self.forget_values(kind, code, Some(id));
        }
        removed
    }

    pub(super) fn delete_field(&mut self, kind: Kind, code: &str) -> bool {
        let fields = self.fields.entry(kind.field_owner()).or_default();
        let before = fields.len();
        fields.retain(|field| !field.custom || field.code != code);
        let removed = fields.len() < before;
        if removed {
            self.forget_values(kind, code, None);
        }
        removed
    }

    pub(super) fn rename_field(&mut self, kind: Kind, code: &str, name: &str) -> bool {
        self.field_mut(kind, code).map(|field| name.clone_into(&mut field.name)).is_some()
    }

    pub(super) fn retype_field(&mut self, kind: Kind, code: &str, field_type: &str) -> bool {
        let Some(field) = self.field_mut(kind, code) else { return false };
        field_type.clone_into(&mut field.value_type);
        field.options = matches!(field_type, "enum" | "set").then(Vec::new);
        self.forget_values(kind, code, None);
        true
    }

    /// Metadata changes leave no trace in `update_time`.
    fn forget_values(&mut self, kind: Kind, code: &str, option: Option<i64>) {
        let owners: &[Kind] = if kind == Kind::Deal { &[Kind::Deal, Kind::Lead] } else { &[kind] };
        for owner in owners {
            let ids: Vec<i64> = self.table(*owner).rows().keys().copied().collect();
            for id in ids {
                if let Some(record) = self.table_mut(*owner).get_mut(id) {
                    drop_value(&mut record.version.custom, code, option);
                }
            }
        }
        self.epoch += 1;
    }

    pub(super) fn field_json(field: &Field, include: &[String]) -> Value {
        let options = field
            .options
            .as_ref()
            .map(|choices| choices.iter().map(choice_json).collect::<Vec<_>>());
        let subfields = match field.value_type.as_str() {
            "monetary" => {
                json!([{ "field_code": "currency", "field_name": format!("Currency of {}", field.name), "field_type": "varchar" }])
            }
            "address" => {
                json!([{ "field_code": "locality", "field_name": format!("City/town of {}", field.name), "field_type": "varchar" },
                { "field_code": "country", "field_name": format!("Country of {}", field.name), "field_type": "varchar" }])
            }
            _ => Value::Null,
        };
        let mut json = json!({
            "field_name": field.name, "field_code": field.code, "field_type": field.value_type,
            "description": field.description, "options": options, "subfields": subfields,
            "is_custom_field": field.custom, "is_optional_response_field": field.optional,
            "is_writable": field.writable,
        });
        for (key, value) in [
            ("ui_visibility", &field.visibility),
            ("important_fields", &field.important),
            ("required_fields", &field.required),
        ] {
            if include.iter().any(|wanted| wanted == key) {
                json[key] = value.clone();
            }
        }
        json
    }
}

fn drop_value(custom: &mut Map<String, Value>, code: &str, option: Option<i64>) {
    let Some(id) = option else {
        custom.remove(code);
        return;
    };
    match custom.get_mut(code) {
        Some(Value::Array(ids)) => {
            ids.retain(|held| *held != id);
            if ids.is_empty() {
                custom.remove(code);
            }
        }
        Some(held) if *held == id => {
            custom.remove(code);
        }
        _ => {}
    }
}

fn choice_json(choice: &Choice) -> Value {
    let added = choice.added.map(time::v2);
    json!({ "id": choice.id, "label": choice.label, "color": choice.color, "add_time": added, "update_time": added })
}
