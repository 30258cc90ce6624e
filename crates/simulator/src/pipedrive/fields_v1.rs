//! The Fields API of v1, where fields go by a number.

use serde_json::{Map, Value, json};

use super::fields::{Field, TYPES};
use super::page;
use super::query;
use super::refusal::Refusal;
use super::routes::{Ctx, Outcome};
use super::state::State;
use super::time;
use crate::host::Reply;

fn one(data: &Value) -> Reply {
    Reply::json(200, &json!({ "success": true, "data": data }))
}

fn row(order: usize, field: &Field) -> Value {
    let by_user = field.custom.then_some(7001);
    let mut row = json!({ "id": field.id, "key": field.code, "name": field.name, "order_nr": order, "field_type": field.value_type,
        "add_time": field.changed.map(time::v1), "update_time": field.changed.map(time::v1), "last_updated_by_user_id": null,
        "created_by_user_id": by_user, "active_flag": true, "edit_flag": field.custom, "index_visible_flag": true, "details_visible_flag": true,
        "add_visible_flag": field.visibility["add_visible_flag"], "important_flag": false, "bulk_edit_allowed": field.writable, "searchable_flag": false,
        "filtering_allowed": true, "sortable_flag": true, "mandatory_flag": false });
    if let Some(options) = &field.options {
        let option =
            |choice: &super::fields::Choice| json!({ "id": choice.id, "label": choice.label });
        row["options"] = options.iter().map(option).collect();
    }
    row
}

/// `GET /v1/{kind}Fields`
pub(super) fn list(state: &mut State, ctx: &Ctx) -> Outcome {
    let rows = (1..).zip(state.fields_of(ctx.kind).iter().filter(|field| !field.optional));
    let rows = rows.map(|(order, field)| row(order, field)).collect();
    let (rows, pagination) = page::by_offset(state, ctx, rows)?;
    Ok(Reply::json(
        200,
        &json!({ "success": true, "data": rows, "additional_data": { "pagination": pagination } }),
    ))
}

/// The row of the field that the path names.
fn named(state: &State, ctx: &Ctx, id: i64) -> Result<Value, Refusal> {
    let mut all = (1..).zip(state.fields_of(ctx.kind));
    let found = all.find(|(_, field)| field.id == id && !field.optional);
    let (order, field) = found.ok_or_else(|| Refusal::not_found("Field"))?;
    Ok(row(order, field))
}

/// `GET /v1/{kind}Fields/{id}`
pub(super) fn get(state: &mut State, ctx: &Ctx) -> Outcome {
    Ok(one(&named(state, ctx, ctx.id(0)?)?))
}

/// Labels with their ids, where they have one.
type Labels = Vec<(Option<i64>, String)>;

/// The options of a body; the list may come as text.
fn options(given: &Map<String, Value>) -> Result<Option<Labels>, Refusal> {
    let invalid = || Refusal::new(400, "The options are not valid.");
    let list = match given.get("options") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) => serde_json::from_str(text).map_err(|_| invalid())?,
        Some(list) => list.clone(),
    };
    let option = |option: &Value| {
        let label = option.as_str().or_else(|| option.get("label")?.as_str())?;
        Some((option.get("id").and_then(Value::as_i64), label.to_owned()))
    };
    let list = list.as_array().ok_or_else(invalid)?;
    list.iter().map(option).collect::<Option<Vec<_>>>().map(Some).ok_or_else(invalid)
}

/// `POST /v1/{kind}Fields`
pub(super) fn create(state: &mut State, ctx: &Ctx) -> Outcome {
    ctx.admin(state)?;
    let given = ctx.object()?;
    let text = |key: &str| given.get(key).and_then(Value::as_str).unwrap_or_default();
    let (name, field_type) = (text("name"), text("field_type"));
    if name.is_empty() {
        return Err(Refusal::new(400, "Name must be given."));
    }
    if !TYPES.contains(&field_type) {
        return Err(Refusal::new(400, "The field type is not known."));
    }
    let labels: Vec<String> =
        options(&given)?.into_iter().flatten().map(|(_, label)| label).collect();
    if matches!(field_type, "enum" | "set") == labels.is_empty() {
        return Err(Refusal::new(400, "Options are for the types enum and set only."));
    }
    let held = state.fields.values().flatten().filter(|field| field.custom).count();
    if held >= state.settings.company.plan.custom_fields() {
        let text = "Couldn't add the field. Custom fields limit reached.";
        return Err(Refusal::coded(403, text, "feature_capping_custom_fields_limit"));
    }
    let code = state.add_field(ctx.kind, name, field_type, &labels);
    show_when_adding(state, ctx, &code, &given);
    let id = state.custom_field(ctx.kind, &code).map_or(0, |field| field.id);
    Ok(one(&named(state, ctx, id)?).wrote(1))
}

fn show_when_adding(state: &mut State, ctx: &Ctx, code: &str, given: &Map<String, Value>) {
    let flag = given.get("add_visible_flag").and_then(Value::as_bool);
    if let (Some(flag), Some(field)) = (flag, state.field_mut(ctx.kind, code)) {
        field.visibility["add_visible_flag"] = flag.into();
    }
}

/// Code of a custom field.
fn custom(state: &State, ctx: &Ctx, id: i64) -> Result<String, Refusal> {
    let field = state.fields_of(ctx.kind).iter().find(|field| field.id == id);
    let field = field.ok_or_else(|| Refusal::not_found("Field"))?;
    if field.custom {
        Ok(field.code.clone())
    } else {
        Err(Refusal::new(400, "Only custom fields can be changed"))
    }
}

/// `PUT /v1/{kind}Fields/{id}`: options that are not listed go.
pub(super) fn change(state: &mut State, ctx: &Ctx) -> Outcome {
    ctx.admin(state)?;
    let (id, given) = (ctx.id(0)?, ctx.object()?);
    let code = custom(state, ctx, id)?;
    if let Some(name) = given.get("name").and_then(Value::as_str).filter(|name| !name.is_empty()) {
        state.rename_field(ctx.kind, &code, name);
    }
    if let Some(wanted) = options(&given)? {
        let held: Vec<i64> = state
            .custom_field(ctx.kind, &code)
            .and_then(|field| field.options.as_ref())
            .ok_or_else(|| Refusal::new(400, "Field has no options"))?
            .iter()
            .filter_map(|choice| choice.id.as_i64())
            .collect();
        for gone in held.iter().filter(|id| wanted.iter().all(|(kept, _)| *kept != Some(**id))) {
            state.remove_option(ctx.kind, &code, *gone);
        }
        for (kept, label) in &wanted {
            match kept {
                Some(id) => {
                    state.rename_option(ctx.kind, &code, *id, label);
                }
                None => {
                    state.add_option(ctx.kind, &code, label);
                }
            }
        }
    }
    show_when_adding(state, ctx, &code, &given);
    Ok(one(&named(state, ctx, id)?).wrote(1))
}

/// `DELETE /v1/{kind}Fields/{id}`
pub(super) fn delete(state: &mut State, ctx: &Ctx) -> Outcome {
    ctx.admin(state)?;
    let id = ctx.id(0)?;
    let code = custom(state, ctx, id)?;
    state.delete_field(ctx.kind, &code);
    Ok(one(&json!({ "id": id })).wrote(1))
}

/// `DELETE /v1/{kind}Fields?ids=`
pub(super) fn delete_many(state: &mut State, ctx: &Ctx) -> Outcome {
    ctx.admin(state)?;
    let ids = query::ids(ctx, "ids")?.ok_or_else(|| Refusal::new(400, "ids must be given."))?;
    let mut gone = Vec::new();
    for id in ids {
        let code = custom(state, ctx, id)?;
        state.delete_field(ctx.kind, &code);
        gone.push(id);
    }
    let count = gone.len();
    Ok(one(&json!({ "id": gone })).wrote(count))
}
