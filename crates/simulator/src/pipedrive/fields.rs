//! Field metadata and the Fields API of v2.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::kind::Kind;
use super::refusal::Refusal;
use super::routes::{Ctx, Outcome};
use super::schema::{self, Access, CONTACT_SYNC};
use super::state::State;
use super::table::Millis;
use super::{page, time};
use crate::host::Reply;

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

const TYPES: [&str; 16] = [
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
const MAX_OPTIONS: usize = 10_000;

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
                let mut field =
                    plain(next, column.key, column.name, schema::field_type(kind, column));
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

    fn field_mut(&mut self, kind: Kind, code: &str) -> Option<&mut Field> {
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

fn one(data: &Value) -> Reply {
    Reply::json(200, &json!({ "success": true, "data": data }))
}

fn include(ctx: &Ctx) -> Result<Vec<String>, Refusal> {
    let names: Vec<String> = ctx
        .call
        .query("include_fields")
        .unwrap_or_default()
        .split(',')
        .filter(|name| !name.is_empty())
        .map(Into::into)
        .collect();
    match names.iter().find(|name| {
        !["ui_visibility", "important_fields", "required_fields"].contains(&name.as_str())
    }) {
        Some(_) => Err(Refusal::invalid("include_fields", "Invalid value")),
        None => Ok(names),
    }
}

fn found<'a>(state: &'a State, ctx: &Ctx) -> Result<&'a Field, Refusal> {
    let field = state.fields_of(ctx.kind).iter().find(|field| field.code == ctx.arg(0));
    field.ok_or_else(|| Refusal::not_found("Field"))
}

fn custom<'a>(state: &'a State, ctx: &Ctx) -> Result<&'a Field, Refusal> {
    let field = found(state, ctx)?;
    if field.custom {
        Ok(field)
    } else {
        Err(Refusal::new(400, "Only custom fields can be changed"))
    }
}

/// `GET /api/v2/{kind}Fields`
pub(super) fn list(state: &mut State, ctx: &Ctx) -> Outcome {
    ctx.allow(&["include_fields", "limit", "cursor"])?;
    let include = include(ctx)?;
    let rows: Vec<Value> =
        state.fields_of(ctx.kind).iter().map(|field| State::field_json(field, &include)).collect();
    page::of_values(state, ctx, rows)
}

/// `GET /api/v2/{kind}Fields/{code}`
pub(super) fn get(state: &mut State, ctx: &Ctx) -> Outcome {
    ctx.allow(&["include_fields"])?;
    let include = include(ctx)?;
    Ok(one(&State::field_json(found(state, ctx)?, &include)))
}

/// `POST /api/v2/{kind}Fields`
pub(super) fn create(state: &mut State, ctx: &Ctx) -> Outcome {
    ctx.allow(&[])?;
    ctx.admin(state)?;
    let body = ctx.object()?;
    let keys = [
        "field_name",
        "field_type",
        "options",
        "ui_visibility",
        "important_fields",
        "required_fields",
        "description",
    ];
    if let Some(key) = body.keys().find(|key| !keys.contains(&key.as_str())) {
        return Err(Refusal::invalid(key, &format!("Unknown key '{key}'")));
    }
    let name = field_name(&body)?
        .ok_or_else(|| Refusal::invalid("field_name", "Required field is missing"))?;
    let field_type = body.get("field_type").and_then(Value::as_str).unwrap_or_default().to_owned();
    if !TYPES.contains(&field_type.as_str()) {
        return Err(Refusal::invalid("field_type", "Invalid value"));
    }
    let labels = match body.get("options") {
        Some(options) => labels(options)?,
        None => Vec::new(),
    };
    if matches!(field_type.as_str(), "enum" | "set") == labels.is_empty() {
        return Err(Refusal::invalid(
            "options",
            "Required for the field types 'enum' and 'set' only",
        ));
    }
    let held: usize = state.fields.values().flatten().filter(|field| field.custom).count();
    if held >= state.settings.company.plan.custom_fields() {
        let text = "Couldn't add the field. Custom fields limit reached.";
        return Err(Refusal::coded(403, text, "feature_capping_custom_fields_limit"));
    }
    let code = state.add_field(ctx.kind, &name, &field_type, &labels);
    adjust(state, ctx.kind, &code, &body);
    let reply = State::field_json(custom_by(state, ctx.kind, &code)?, &[]);
    Ok(one(&reply).wrote(1))
}

fn custom_by<'a>(state: &'a State, kind: Kind, code: &str) -> Result<&'a Field, Refusal> {
    state.custom_field(kind, code).ok_or_else(|| Refusal::not_found("Field"))
}

fn field_name(body: &Map<String, Value>) -> Result<Option<String>, Refusal> {
    match body.get("field_name") {
        None => Ok(None),
        Some(Value::String(name)) if (1..=255).contains(&name.chars().count()) => {
            Ok(Some(name.clone()))
        }
        Some(_) => Err(Refusal::not_a("field_name", "string")),
    }
}

fn labels(options: &Value) -> Result<Vec<String>, Refusal> {
    let items = options.as_array().filter(|items| (1..=MAX_OPTIONS).contains(&items.len()));
    let labels = items.and_then(|items| {
        items
            .iter()
            .map(|item| {
                item.get("label")?.as_str().filter(|label| !label.is_empty()).map(Into::into)
            })
            .collect()
    });
    labels.ok_or_else(|| Refusal::invalid("options", "Invalid collection"))
}

fn adjust(state: &mut State, kind: Kind, code: &str, body: &Map<String, Value>) {
    let Some(field) = state.field_mut(kind, code) else { return };
    if let Some(name) = body.get("field_name").and_then(Value::as_str) {
        name.clone_into(&mut field.name);
    }
    if let Some(text) = body.get("description") {
        field.description = text.as_str().map(Into::into);
    }
    let parts = [
        ("ui_visibility", &mut field.visibility),
        ("important_fields", &mut field.important),
        ("required_fields", &mut field.required),
    ];
    for (key, held) in parts {
        for (name, value) in body.get(key).and_then(Value::as_object).into_iter().flatten() {
            held[name] = value.clone();
        }
    }
}

/// `PATCH /api/v2/{kind}Fields/{code}`
pub(super) fn change(state: &mut State, ctx: &Ctx) -> Outcome {
    ctx.allow(&[])?;
    ctx.admin(state)?;
    let body = ctx.object()?;
    custom(state, ctx)?;
    let keys =
        ["field_name", "ui_visibility", "important_fields", "required_fields", "description"];
    if let Some(key) = body.keys().find(|key| !keys.contains(&key.as_str())) {
        return Err(Refusal::invalid(key, &format!("Unknown key '{key}'")));
    }
    field_name(&body)?;
    adjust(state, ctx.kind, ctx.arg(0), &body);
    Ok(one(&State::field_json(found(state, ctx)?, &[])).wrote(1))
}

/// `DELETE /api/v2/{kind}Fields/{code}`
pub(super) fn delete(state: &mut State, ctx: &Ctx) -> Outcome {
    ctx.allow(&[])?;
    ctx.admin(state)?;
    let json = State::field_json(custom(state, ctx)?, &[]);
    state.delete_field(ctx.kind, ctx.arg(0));
    Ok(one(&json).wrote(1))
}

/// `POST /api/v2/{kind}Fields/{code}/options`
pub(super) fn add_options(state: &mut State, ctx: &Ctx) -> Outcome {
    ctx.allow(&[])?;
    ctx.admin(state)?;
    let labels = labels(&ctx.json()?)?;
    let held = found(state, ctx)?
        .options
        .as_ref()
        .ok_or_else(|| Refusal::new(400, "Field has no options"))?;
    if held.len() + labels.len() > MAX_OPTIONS {
        return Err(Refusal::invalid("options", "Too many options"));
    }
    let ids: Vec<_> =
        labels.iter().filter_map(|label| state.add_option(ctx.kind, ctx.arg(0), label)).collect();
    touched(state, ctx, &ids)
}

fn touched(state: &State, ctx: &Ctx, ids: &[i64]) -> Outcome {
    let options = found(state, ctx)?.options.iter().flatten();
    let data: Vec<_> = options
        .filter(|choice| ids.iter().any(|id| choice.id == *id))
        .map(|choice| json!({ "id": choice.id, "label": choice.label }))
        .collect();
    Ok(one(&data.into()).wrote(1))
}

fn option_ids(state: &State, ctx: &Ctx, items: &Value) -> Result<Vec<i64>, Refusal> {
    let ids: Option<Vec<i64>> =
        items.as_array().filter(|items| !items.is_empty()).and_then(|items| {
            items.iter().map(|item| item.get("id").and_then(Value::as_i64)).collect()
        });
    let ids = ids.ok_or_else(|| Refusal::invalid("options", "Invalid collection"))?;
    let field = found(state, ctx)?;
    if ids.iter().all(|id| field.has_option(*id)) {
        Ok(ids)
    } else {
        Err(Refusal::not_found("Option"))
    }
}

/// `PATCH /api/v2/{kind}Fields/{code}/options`: all or none.
pub(super) fn change_options(state: &mut State, ctx: &Ctx) -> Outcome {
    ctx.allow(&[])?;
    ctx.admin(state)?;
    let items = ctx.json()?;
    let ids = option_ids(state, ctx, &items)?;
    let labels = labels(&items)?;
    for (id, label) in ids.iter().zip(&labels) {
        state.rename_option(ctx.kind, ctx.arg(0), *id, label);
    }
    touched(state, ctx, &ids)
}

/// `DELETE /api/v2/{kind}Fields/{code}/options`: all or none.
pub(super) fn delete_options(state: &mut State, ctx: &Ctx) -> Outcome {
    ctx.allow(&[])?;
    ctx.admin(state)?;
    let ids = option_ids(state, ctx, &ctx.json()?)?;
    let reply = touched(state, ctx, &ids)?;
    for id in ids {
        state.remove_option(ctx.kind, ctx.arg(0), id);
    }
    Ok(reply)
}
