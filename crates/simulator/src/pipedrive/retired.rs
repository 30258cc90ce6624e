//! The entity calls of v1 that are retired and still answer: lists, single records, writes, searches.
//!
//! A body is put into the form of v2 first, so one set of rules holds for both. What v1 did not know it
//! passed over, so strange keys are dropped here.
//! Source: recorded answers of the live v1 API, May 2026; Pipedrive's `OpenAPI` document v1 of January 2026.

use serde_json::{Map, Value, json};

use super::kind::Kind;
use super::page;
use super::refusal::Refusal;
use super::routes::{Ctx, Outcome};
use super::schema;
use super::state::State;
use super::v1::{body, gathered, one, rows};
use crate::host::Reply;

/// `GET /v1/{kind}`
pub(super) fn list(state: &mut State, ctx: &Ctx) -> Outcome {
    let rows = rows(state, ctx, |version| ctx.kind != Kind::Deal || !version.flag("is_archived"))?;
    let rows = rows
        .iter()
        .filter_map(|(id, version)| Some(state.v1(ctx.kind, state.record(ctx.kind, *id)?, version)))
        .collect();
    let (rows, pagination) = page::by_offset(state, ctx, rows)?;
    let data = page::v1_rows(state, rows);
    Ok(Reply::json(
        200,
        &json!({ "success": true, "data": data, "additional_data": { "pagination": pagination }, "related_objects": {} }),
    ))
}

/// `GET /v1/{kind}/{id}`
pub(super) fn get(state: &mut State, ctx: &Ctx) -> Outcome {
    let record = state.readable_record(ctx, ctx.kind, ctx.id(0)?)?;
    Ok(Reply::json(
        200,
        &json!({ "success": true, "data": state.v1(ctx.kind, record, &record.version), "related_objects": {} }),
    ))
}

/// Lists of records that point to the one in the path, such as `GET /v1/persons/{id}/deals`.
fn pointing(state: &State, ctx: &Ctx, child: Kind) -> Outcome {
    let id = state.readable_record(ctx, ctx.kind, ctx.id(0)?)?.id;
    let link = ctx.kind.link().unwrap_or_default();
    let rows = state.table(child).rows().values();
    let rows = rows.filter(|row| {
        !row.version.deleted
            && row.version.int(link) == Some(id)
            && state.sees(ctx.by.user, child, row, &row.version)
    });
    let rows = rows.map(|row| state.v1(child, row, &row.version)).collect();
    page::v1_list(state, ctx, rows)
}

pub(super) fn deals_of(state: &mut State, ctx: &Ctx) -> Outcome {
    pointing(state, ctx, Kind::Deal)
}

pub(super) fn activities_of(state: &mut State, ctx: &Ctx) -> Outcome {
    pointing(state, ctx, Kind::Activity)
}

pub(super) fn persons_of(state: &mut State, ctx: &Ctx) -> Outcome {
    pointing(state, ctx, Kind::Person)
}

/// Key of v1 and what v2 calls it.
fn renamed(kind: Kind) -> &'static [(&'static str, &'static str)] {
    match kind {
        Kind::Person => &[("email", "emails"), ("phone", "phones"), ("label", "label_ids")],
        Kind::Organization => &[("label", "label_ids")],
        Kind::Deal => &[("user_id", "owner_id"), ("label", "label_ids")],
        Kind::Activity => &[("user_id", "owner_id"), ("busy_flag", "busy")],
        Kind::Product => &[("selectable", "is_linkable")],
        Kind::Pipeline => &[("deal_probability", "is_deal_probability_enabled")],
        Kind::Stage => &[("rotten_flag", "is_deal_rot_enabled"), ("rotten_days", "days_to_rotten")],
        Kind::Note | Kind::Lead | Kind::DealProduct => &[],
    }
}

/// A v1 body in the form of v2.
fn translated(state: &State, kind: Kind, given: Map<String, Value>) -> Map<String, Value> {
    let mut given = gathered(state, kind, given);
    for (old, new) in renamed(kind) {
        if let Some(value) = given.remove(*old) {
            given.entry(*new).or_insert(value);
        }
    }
    if kind == Kind::Activity {
        join_participants(&mut given);
    }
    let known = |key: &str| {
        key == "custom_fields" || schema::columns(kind).iter().any(|column| column.key == key)
    };
    let kept = given.into_iter().filter(|(key, _)| known(key));
    kept.map(|(key, value)| (key.clone(), form(&key, value))).collect()
}

/// The person of an activity is its primary participant.
fn join_participants(given: &mut Map<String, Value>) {
    let person = given.remove("person_id").and_then(|person| number(&person).as_i64());
    let others = given.remove("participants");
    let others = others.as_ref().and_then(Value::as_array).cloned().unwrap_or_default();
    let others = others.iter().filter_map(|row| Some((row.get("person_id")?.as_i64()?, row)));
    let mut rows: Vec<Value> = others
        .map(|(id, row)| {
            let primary = person.map_or_else(|| truth(&row["primary_flag"]), |own| own == id);
            json!({ "person_id": id, "primary": primary })
        })
        .collect();
    if let Some(person) = person.filter(|own| rows.iter().all(|row| row["person_id"] != *own)) {
        rows.insert(0, json!({ "person_id": person, "primary": true }));
    }
    if !rows.is_empty() {
        given.insert("participants".into(), rows.into());
    }
}

fn truth(value: &Value) -> bool {
    *value == true || *value == 1 || value == "1" || value == "true"
}

/// A number, also where it is written as a text.
fn number(value: &Value) -> Value {
    let text = value.as_str().map(str::trim).unwrap_or_default();
    if let Ok(whole) = text.parse::<i64>() {
        return whole.into();
    }
    text.parse::<f64>().map_or_else(|_| value.clone(), Value::from)
}

/// A value in the form that v2 has under this key.
fn form(key: &str, value: Value) -> Value {
    if value.is_null() {
        return value;
    }
    match key {
        "emails" | "phones" => contacts(&value),
        "label_ids" => ids(&value),
        "address" | "location" if value.is_string() => json!({ "value": value }),
        "done" | "busy" | "is_linkable" | "is_deal_probability_enabled" | "is_deal_rot_enabled" => {
            truth(&value).into()
        }
        "category" | "visible_to" | "value" | "probability" | "tax" | "order_nr"
        | "deal_probability" | "days_to_rotten" | "priority" => number(&value),
        _ if key.ends_with("_id") && key != "lead_id" => number(&value),
        _ => value,
    }
}

/// One address, or many, each a text or an object.
fn contacts(value: &Value) -> Value {
    let many = value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
    let filled = many.into_iter().filter(|one| one.get("value").unwrap_or(one) != "");
    let rows = filled.enumerate().map(|(at, one)| {
        let text = one.get("value").unwrap_or(&one);
        let label = one.get("label").and_then(Value::as_str).unwrap_or("work");
        let primary = one.get("primary").map_or(at == 0, truth);
        json!({ "value": text, "primary": primary, "label": label })
    });
    rows.collect()
}

/// `7`, `"3,7"` or `[3, 7]`.
fn ids(value: &Value) -> Value {
    match value {
        Value::Array(_) => value.clone(),
        Value::String(text) => text
            .split(',')
            .filter_map(|id| id.trim().parse::<i64>().ok())
            .map(Value::from)
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => json!([value]),
    }
}

/// The record in v1 form.
fn shown(state: &State, kind: Kind, id: i64) -> Value {
    state.record(kind, id).map_or(Value::Null, |record| state.v1(kind, record, &record.version))
}

/// `POST /v1/{kind}`
pub(super) fn create(state: &mut State, ctx: &Ctx) -> Outcome {
    state.permit(ctx.kind)?;
    if matches!(ctx.kind, Kind::Pipeline | Kind::Stage) {
        ctx.admin(state)?;
    }
    let given = body(ctx)?;
    if given.contains_key("id") {
        return Err(Refusal::new(400, "Inserting ID with POST request is not allowed."));
    }
    let given = translated(state, ctx.kind, given);
    let nameless = given.get("name").is_none_or(|name| name == "");
    match ctx.kind {
        Kind::Person if nameless && !given.contains_key("first_name") => {
            return Err(Refusal::new(400, "Name must be given."));
        }
        Kind::Organization if nameless => {
            return Err(Refusal::new(400, "Organization name must be given."));
        }
        Kind::Person
        | Kind::Organization
        | Kind::Deal
        | Kind::Activity
        | Kind::Product
        | Kind::Pipeline
        | Kind::Stage
        | Kind::Note
        | Kind::Lead
        | Kind::DealProduct => {}
    }
    let id = state.create(ctx.kind, &given, &ctx.by, ctx.now)?;
    let data = shown(state, ctx.kind, id);
    let mut answer = json!({ "success": true, "data": data, "related_objects": {} });
    if matches!(ctx.kind, Kind::Person | Kind::Organization) {
        answer["additional_data"] = json!({ "didMerge": false });
    }
    let status = if state.settings.switches.flip_created { 200 } else { 201 };
    Ok(Reply::json(status, &answer).wrote(1))
}

/// `PUT /v1/{kind}/{id}`: here null clears even a deal's expected close date, which v2 refuses.
/// Source: live answers of September 2026.
pub(super) fn change(state: &mut State, ctx: &Ctx) -> Outcome {
    if matches!(ctx.kind, Kind::Pipeline | Kind::Stage) {
        ctx.admin(state)?;
    }
    let id = state.writable_record(ctx, ctx.kind, ctx.id(0)?)?.id;
    let mut given = translated(state, ctx.kind, body(ctx)?);
    if given.get("expected_close_date") == Some(&Value::Null) {
        given.remove("expected_close_date");
        clear_close_date(state, ctx, id);
    }
    state.change(ctx.kind, id, &given, &ctx.by, ctx.now)?;
    Ok(one(200, &shown(state, ctx.kind, id)).wrote(1))
}

fn clear_close_date(state: &mut State, ctx: &Ctx, id: i64) {
    let Some(record) = state.record(ctx.kind, id) else { return };
    let (mut body, custom) = (record.version.body.clone(), record.version.custom.clone());
    body.insert("expected_close_date".into(), Value::Null);
    state.commit(ctx.kind, id, body, custom, &ctx.by, ctx.now);
}
