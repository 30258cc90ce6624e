//! Comments on notes. Source: Pipedrive API v1, "Notes".

use serde_json::{Value, json};

use super::kind::Kind;
use super::page;
use super::refusal::Refusal;
use super::routes::{Ctx, Outcome};
use super::state::State;
use super::time;
use crate::host::Reply;

fn note(state: &State, ctx: &Ctx) -> Result<i64, Refusal> {
    Ok(state.writable_record(ctx, Kind::Note, ctx.id(0)?)?.id)
}

fn content(ctx: &Ctx) -> Result<String, Refusal> {
    let given = ctx.object()?;
    let content = given.get("content").and_then(Value::as_str).filter(|text| !text.is_empty());
    content.map(str::to_owned).ok_or_else(|| Refusal::new(400, "Content must be given."))
}

fn one(data: &Value) -> Reply {
    Reply::json(200, &json!({ "success": true, "data": data }))
}

/// The comment a path names, on its note.
fn found<'a>(state: &'a mut State, ctx: &Ctx) -> Result<&'a mut Value, Refusal> {
    let note = note(state, ctx)?.to_string();
    let held = state.shelf.comments.iter_mut();
    let mut held = held.filter(|row| row["object_id"] == note && row["active_flag"] == true);
    held.find(|row| row["uuid"] == ctx.arg(1)).ok_or_else(|| Refusal::not_found("Comment"))
}

/// `GET /v1/notes/{id}/comments`
pub(super) fn list(state: &mut State, ctx: &Ctx) -> Outcome {
    let note = note(state, ctx)?.to_string();
    let held = state.shelf.comments.iter();
    let held = held.filter(|row| row["object_id"] == note && row["active_flag"] == true);
    let rows = held.cloned().collect();
    page::v1_list(state, ctx, rows)
}

/// `POST /v1/notes/{id}/comments`
pub(super) fn add(state: &mut State, ctx: &Ctx) -> Outcome {
    let (note, content) = (note(state, ctx)?, content(ctx)?);
    let at = time::exact(ctx.now);
    let row = json!({
        "uuid": state.draw_uuid(), "active_flag": true, "add_time": at, "update_time": at, "company_id": state.settings.company.id,
        "content": content, "object_id": note.to_string(), "object_type": "note", "updater_id": ctx.by.user, "user_id": ctx.by.user,
    });
    state.shelf.comments.push(row.clone());
    Ok(one(&row).wrote(1))
}

/// `GET /v1/notes/{id}/comments/{uuid}`
pub(super) fn get(state: &mut State, ctx: &Ctx) -> Outcome {
    Ok(one(found(state, ctx)?))
}

/// `PUT /v1/notes/{id}/comments/{uuid}`
pub(super) fn change(state: &mut State, ctx: &Ctx) -> Outcome {
    let content = content(ctx)?;
    let row = found(state, ctx)?;
    row["content"] = content.into();
    row["update_time"] = time::exact(ctx.now).into();
    row["updater_id"] = ctx.by.user.into();
    Ok(one(row).wrote(1))
}

/// `DELETE /v1/notes/{id}/comments/{uuid}`
pub(super) fn delete(state: &mut State, ctx: &Ctx) -> Outcome {
    found(state, ctx)?["active_flag"] = false.into();
    Ok(one(&true.into()).wrote(1))
}
