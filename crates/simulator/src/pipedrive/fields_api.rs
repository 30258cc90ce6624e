//! The Fields API of v2.

use serde_json::{Map, Value, json};

use super::fields::{Field, MAX_OPTIONS, TYPES};
use super::kind::Kind;
use super::page;
use super::refusal::Refusal;
use super::routes::{Ctx, Outcome};
use super::state::State;
use crate::host::Reply;

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
