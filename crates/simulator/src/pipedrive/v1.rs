//! Notes, leads and their labels.

#![expect(clippy::unnecessary_wraps, reason = "handlers share one signature")]

use serde_json::{Map, Value, json};

use super::kind::Kind;
use super::refusal::Refusal;
use super::routes::{Ctx, Outcome};
use super::state::{State, uuid};
use super::table::{Record, Version};
use super::{page, time};
use crate::host::Reply;

pub(super) fn one(status: u16, data: &Value) -> Reply {
    Reply::json(status, &json!({ "success": true, "data": data }))
}

/// A body in JSON or, for POST, as a form.
pub(super) fn body(ctx: &Ctx) -> Result<Map<String, Value>, Refusal> {
    let form = ctx
        .call
        .header("content-type")
        .is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
    if !form {
        return ctx.object();
    }
    let number = |text: String| text.parse::<i64>().map_or(Value::String(text), Value::from);
    let pairs = crate::host::pairs(&String::from_utf8_lossy(&ctx.call.body));
    Ok(pairs.into_iter().map(|(key, value)| (key, number(value))).collect())
}

/// Versions a v1 list shows, in order of its `sort` parameter.
pub(super) fn rows(
    state: &State,
    ctx: &Ctx,
    keep: impl Fn(&Version) -> bool,
) -> Result<Vec<(i64, Version)>, Refusal> {
    state.permit(ctx.kind)?;
    let since = match ctx.call.query("updated_since") {
        None => None,
        Some(text) => Some(
            time::parse_whole(text)
                .ok_or_else(|| Refusal::new(400, "updated_since is not a valid datetime"))?,
        ),
    };
    let fits = |record: &Record, version: &Version| {
        !version.deleted
            && since.is_none_or(|since| version.updated.is_some_and(|updated| updated >= since))
            && state.sees(ctx.by.user, ctx.kind, record, version)
            && keep(version)
    };
    let all = state.table(ctx.kind).rows().values();
    let shown = all.filter_map(|record| Some((record, record.shown(ctx.now, ctx.as_of)?)));
    let mut rows: Vec<_> = shown
        .filter(|(record, version)| fits(record, version))
        .map(|(record, version)| (record.id, version.clone()))
        .collect();
    for part in ctx.call.query("sort").unwrap_or("id ASC").split(',').rev() {
        let (key, direction) = part.trim().split_once(' ').unwrap_or((part.trim(), "ASC"));
        let value = |row: &(i64, Version)| match key {
            "id" => (row.0, String::new()),
            "update_time" => (row.1.updated.unwrap_or(i64::MIN), String::new()),
            key => (row.1.int(key).unwrap_or(0), row.1.text(key).to_owned()),
        };
        rows.sort_by_key(value);
        if direction.eq_ignore_ascii_case("desc") {
            rows.reverse();
        }
    }
    Ok(rows)
}

/// `GET /v1/notes`
pub(super) fn notes(state: &mut State, ctx: &Ctx) -> Outcome {
    let number = |key: &str| ctx.call.query(key).and_then(|text| text.parse::<i64>().ok());
    let pinned = |key: &str| ctx.call.query(key).map(|flag| flag == "1");
    let keep = |note: &Version| {
        ["user_id", "deal_id", "person_id", "org_id", "project_id", "task_id"]
            .iter()
            .all(|key| number(key).is_none_or(|id| note.int(key) == Some(id)))
            && ctx.call.query("lead_id").is_none_or(|id| note.text("lead_id") == id)
            && ["lead", "deal", "organization", "person", "project", "task"].iter().all(|link| {
                let key = format!("pinned_to_{link}_flag");
                pinned(&key).is_none_or(|flag| note.flag(&key) == flag)
            })
            && ctx
                .call
                .query("start_date")
                .is_none_or(|date| note.text("add_time").get(..10).unwrap_or_default() >= date)
            && ctx
                .call
                .query("end_date")
                .is_none_or(|date| note.text("add_time").get(..10).unwrap_or_default() <= date)
    };
    let rows = rows(state, ctx, keep)?
        .iter()
        .map(|(_, note)| state.note_json(note, ctx.by.user))
        .collect();
    let (rows, pagination) = page::by_offset(state, ctx, rows)?;
    let data = page::v1_rows(state, rows);
    Ok(Reply::json(
        200,
        &json!({ "success": true, "data": data, "additional_data": { "pagination": pagination } }),
    ))
}

fn note(state: &State, ctx: &Ctx, id: i64) -> Value {
    state
        .record(Kind::Note, id)
        .map_or(Value::Null, |record| state.note_json(&record.version, ctx.by.user))
}

/// `GET /v1/notes/{id}`: a deleted note answers too.
pub(super) fn get_note(state: &mut State, ctx: &Ctx) -> Outcome {
    let id = state.named(ctx, Kind::Note, ctx.id(0)?)?.id;
    Ok(one(200, &note(state, ctx, id)))
}

/// `POST /v1/notes`
pub(super) fn create_note(state: &mut State, ctx: &Ctx) -> Outcome {
    state.permit(Kind::Note)?;
    let given = body(ctx)?;
    if given.contains_key("id") {
        return Err(Refusal::new(400, "Inserting ID with POST request is not allowed."));
    }
    let id = state.create(Kind::Note, &given, &ctx.by, ctx.now)?;
    let status = if state.settings.switches.flip_created { 200 } else { 201 };
    Ok(one(status, &note(state, ctx, id)).wrote(1))
}

/// `PUT /v1/notes/{id}`
pub(super) fn change_note(state: &mut State, ctx: &Ctx) -> Outcome {
    let id = state.writable_record(ctx, Kind::Note, ctx.id(0)?)?.id;
    state.change(Kind::Note, id, &body(ctx)?, &ctx.by, ctx.now)?;
    Ok(one(200, &note(state, ctx, id)).wrote(1))
}

/// `DELETE /v1/notes/{id}`
pub(super) fn delete_note(state: &mut State, ctx: &Ctx) -> Outcome {
    let id = state.writable_record(ctx, Kind::Note, ctx.id(0)?)?.id;
    state.remove(Kind::Note, id, &ctx.by, ctx.now);
    Ok(one(200, &true.into()).wrote(1))
}

/// `GET /v1/leads`, `GET /v1/leads/archived`
fn leads_where(state: &State, ctx: &Ctx, archived: bool) -> Outcome {
    let number = |key: &str| ctx.call.query(key).and_then(|text| text.parse::<i64>().ok());
    let keep = |lead: &Version| {
        lead.flag("is_archived") == archived
            && ["owner_id", "person_id", "organization_id"]
                .iter()
                .all(|key| number(key).is_none_or(|id| lead.int(key) == Some(id)))
    };
    let rows = rows(state, ctx, keep)?.iter().map(|(_, lead)| state.lead_json(lead)).collect();
    let (rows, pagination) = page::by_offset(state, ctx, rows)?;
    let data = page::v1_rows(state, rows);
    Ok(Reply::json(
        200,
        &json!({ "success": true, "data": data, "additional_data": { "pagination": pagination } }),
    ))
}

pub(super) fn leads(state: &mut State, ctx: &Ctx) -> Outcome {
    leads_where(state, ctx, false)
}

pub(super) fn archived_leads(state: &mut State, ctx: &Ctx) -> Outcome {
    leads_where(state, ctx, true)
}

/// The ordinal of the lead a path names.
pub(super) fn lead_id(state: &State, ctx: &Ctx) -> Result<i64, Refusal> {
    state.permit(Kind::Lead)?;
    let id = state.leads.get(ctx.arg(0)).copied();
    let seen = id
        .and_then(|id| state.live(Kind::Lead, id))
        .filter(|lead| state.sees(ctx.by.user, Kind::Lead, lead, &lead.version));
    seen.map(|lead| lead.id).ok_or_else(Refusal::lead_not_found)
}

fn lead(state: &State, id: i64) -> Value {
    state.record(Kind::Lead, id).map_or(Value::Null, |record| state.lead_json(&record.version))
}

pub(super) fn get_lead(state: &mut State, ctx: &Ctx) -> Outcome {
    Ok(one(200, &lead(state, lead_id(state, ctx)?)))
}

/// Flat custom fields of a v1 body, gathered as v2 has them.
pub(super) fn gathered(
    state: &State,
    kind: Kind,
    mut given: Map<String, Value>,
) -> Map<String, Value> {
    let mut custom = Map::new();
    for field in state.custom_fields(kind) {
        let Some(mut value) = given.remove(&field.code) else { continue };
        let with = |suffix: &str, given: &mut Map<String, Value>| {
            given.remove(&format!("{}_{suffix}", field.code)).unwrap_or_default()
        };
        value = match (field.value_type.as_str(), value) {
            ("monetary", amount @ Value::Number(_)) => {
                json!({ "value": amount, "currency": with("currency", &mut given) })
            }
            ("daterange", from @ Value::String(_)) => {
                json!({ "value": from, "until": with("until", &mut given) })
            }
            ("time" | "address", plain @ Value::String(_)) => json!({ "value": plain }),
            ("enum", Value::String(id)) => id.parse::<i64>().map_or(Value::String(id), Value::from),
            ("set", Value::String(ids)) => {
                ids.split(',').filter_map(|id| id.trim().parse::<i64>().ok()).collect()
            }
            (_, value) => value,
        };
        custom.insert(field.code.clone(), value);
    }
    if !custom.is_empty() {
        given.insert("custom_fields".into(), custom.into());
    }
    given
}

pub(super) fn create_lead(state: &mut State, ctx: &Ctx) -> Outcome {
    state.permit(Kind::Lead)?;
    let given = gathered(state, Kind::Lead, ctx.object()?);
    let id = state.create(Kind::Lead, &given, &ctx.by, ctx.now)?;
    let status = if state.settings.switches.flip_created { 200 } else { 201 };
    Ok(one(status, &lead(state, id)).wrote(1))
}

pub(super) fn change_lead(state: &mut State, ctx: &Ctx) -> Outcome {
    let id = lead_id(state, ctx)?;
    let given = gathered(state, Kind::Lead, ctx.object()?);
    state.change(Kind::Lead, id, &given, &ctx.by, ctx.now)?;
    Ok(one(200, &lead(state, id)).wrote(1))
}

pub(super) fn delete_lead(state: &mut State, ctx: &Ctx) -> Outcome {
    let id = lead_id(state, ctx)?;
    state.remove(Kind::Lead, id, &ctx.by, ctx.now);
    Ok(one(200, &json!({ "id": ctx.arg(0) })).wrote(1))
}

pub(super) fn lead_labels(state: &mut State, _: &Ctx) -> Outcome {
    Ok(one(200, &state.shelf.lead_labels.clone().into()))
}

const COLORS: [&str; 10] =
    ["blue", "brown", "dark-gray", "gray", "green", "orange", "pink", "purple", "red", "yellow"];

pub(super) fn create_lead_label(state: &mut State, ctx: &Ctx) -> Outcome {
    let given = ctx.object()?;
    let name = given.get("name").and_then(Value::as_str).filter(|name| !name.is_empty());
    let color = given.get("color").and_then(Value::as_str).filter(|color| COLORS.contains(color));
    let (Some(name), Some(color)) = (name, color) else {
        return Err(Refusal::new(400, "Name and color must be given."));
    };
    let id = uuid(&state.draw("lead label"));
    let stamp = time::exact(ctx.now);
    let label =
        json!({ "id": id, "name": name, "color": color, "add_time": stamp, "update_time": stamp });
    state.shelf.lead_labels.push(label.clone());
    Ok(one(200, &label).wrote(1))
}

/// `PATCH /v1/leadLabels/{id}`
pub(super) fn change_lead_label(state: &mut State, ctx: &Ctx) -> Outcome {
    let given = ctx.object()?;
    if given.get("color").is_some_and(|color| !COLORS.iter().any(|known| color == known)) {
        return Err(Refusal::new(400, "The color is not one of the known ones."));
    }
    let label = state.shelf.lead_labels.iter_mut().find(|label| label["id"] == ctx.arg(0));
    let label = label.ok_or_else(|| Refusal::not_found("Lead label"))?;
    for key in ["name", "color"] {
        if let Some(value) = given.get(key) {
            label[key] = value.clone();
        }
    }
    label["update_time"] = time::exact(ctx.now).into();
    Ok(one(200, label).wrote(1))
}

/// `DELETE /v1/leadLabels/{id}`
pub(super) fn delete_lead_label(state: &mut State, ctx: &Ctx) -> Outcome {
    let before = state.shelf.lead_labels.len();
    state.shelf.lead_labels.retain(|label| label["id"] != ctx.arg(0));
    if state.shelf.lead_labels.len() == before {
        return Err(Refusal::not_found("Lead label"));
    }
    Ok(one(200, &json!({ "id": ctx.arg(0) })).wrote(1))
}

pub(super) fn lead_sources(_: &mut State, _: &Ctx) -> Outcome {
    let names = [
        "Manually created",
        "Deal",
        "Web forms",
        "Prospector",
        "Leadbooster",
        "Live chat",
        "Import",
        "Website visitors",
        "Workflow automation",
        "API",
    ];
    Ok(one(200, &names.iter().map(|name| json!({ "name": name })).collect()))
}

/// `GET /v1/{kind}/{id}/permittedUsers`
pub(super) fn permitted_users(state: &mut State, ctx: &Ctx) -> Outcome {
    let id = if ctx.kind == Kind::Lead { lead_id(state, ctx)? } else { ctx.id(0)? };
    let record = state.readable_record(ctx, ctx.kind, id)?;
    Ok(one(200, &state.permitted(ctx.kind, record).into()))
}
