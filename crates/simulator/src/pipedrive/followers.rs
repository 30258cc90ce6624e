//! Who follows a record, in v2 and in the twins of v1, and who began and ended to.

use serde_json::{Map, Value, json};

use super::kind::Kind;
use super::page;
use super::refusal::Refusal;
use super::routes::{Ctx, Outcome};
use super::state::State;
use super::table::Millis;
use super::time;
use crate::host::Reply;

/// A user who began or ended to follow.
#[derive(Clone, Debug)]
pub(super) struct Step {
    added: bool,
    actor: i64,
    follower: i64,
    at: Millis,
}

/// `GET /api/v2/{kind}/{id}/followers`
pub(super) fn list(state: &mut State, ctx: &Ctx) -> Outcome {
    ctx.allow(&["limit", "cursor"])?;
    let record = state.readable_record(ctx, ctx.kind, ctx.id(0)?)?;
    let rows = record
        .followers
        .iter()
        .map(|(user, since)| json!({ "user_id": user, "add_time": time::v2(*since) }))
        .collect();
    page::of_values(state, ctx, rows)
}

/// `GET /api/v2/{kind}/{id}/followers/changelog`
pub(super) fn changelog(state: &mut State, ctx: &Ctx) -> Outcome {
    ctx.allow(&["limit", "cursor"])?;
    let id = state.readable_record(ctx, ctx.kind, ctx.id(0)?)?.id;
    let steps = state.shelf.follow_steps.get(&(ctx.kind, id)).into_iter().flatten();
    let rows = steps
        .map(|step| {
            json!({ "action": if step.added { "added" } else { "removed" }, "actor_user_id": step.actor,
                "follower_user_id": step.follower, "time": time::v2(step.at) })
        })
        .collect();
    page::of_values(state, ctx, rows)
}

/// `GET /api/v2/users/{id}/followers`, `GET /v1/users/{id}/followers`: nobody follows a user here.
pub(super) fn of_user(state: &mut State, ctx: &Ctx) -> Outcome {
    let user = ctx.arg(0).parse().ok().and_then(|id| state.user(id));
    user.ok_or_else(|| Refusal::new(404, "User not found or not accessible."))?;
    Ok(Reply::json(
        200,
        &json!({ "success": true, "data": [], "additional_data": { "next_cursor": null } }),
    ))
}

fn begin(state: &mut State, ctx: &Ctx) -> Result<(i64, i64), Refusal> {
    let id = state.writable_record(ctx, ctx.kind, ctx.id(0)?)?.id;
    let user = ctx
        .object()?
        .get("user_id")
        .and_then(Value::as_i64)
        .ok_or_else(|| Refusal::not_a("user_id", "integer"))?;
    if state.user(user).is_none() {
        return Err(Refusal::new(400, "User not found or not accessible."));
    }
    match state.table_mut(ctx.kind).get_mut(id) {
        Some(record) if record.followers.iter().all(|(follower, _)| *follower != user) => {
            record.followers.push((user, ctx.now));
        }
        _ => return Err(Refusal::new(400, "User is already a follower")),
    }
    note(state, ctx, id, user, true);
    Ok((id, user))
}

fn end(state: &mut State, ctx: &Ctx) -> Result<i64, Refusal> {
    let id = state.writable_record(ctx, ctx.kind, ctx.id(0)?)?.id;
    let user = ctx.id(1)?;
    let record = state.table_mut(ctx.kind).get_mut(id);
    let ended = record.is_some_and(|record| {
        let before = record.followers.len();
        record.followers.retain(|(follower, _)| *follower != user);
        record.followers.len() < before
    });
    if !ended {
        return Err(Refusal::not_found("Follower"));
    }
    note(state, ctx, id, user, false);
    Ok(user)
}

fn note(state: &mut State, ctx: &Ctx, id: i64, follower: i64, added: bool) {
    let step = Step { added, actor: ctx.by.user, follower, at: ctx.now };
    state.shelf.follow_steps.entry((ctx.kind, id)).or_default().push(step);
}

/// `POST /api/v2/{kind}/{id}/followers`
pub(super) fn follow(state: &mut State, ctx: &Ctx) -> Outcome {
    ctx.allow(&[])?;
    let (_, user) = begin(state, ctx)?;
    let data = json!({ "user_id": user, "add_time": time::v2(ctx.now) });
    Ok(Reply::json(201, &json!({ "success": true, "data": data })).wrote(1))
}

/// `DELETE /api/v2/{kind}/{id}/followers/{user}`
pub(super) fn unfollow(state: &mut State, ctx: &Ctx) -> Outcome {
    ctx.allow(&[])?;
    let user = end(state, ctx)?;
    Ok(Reply::json(200, &json!({ "success": true, "data": { "user_id": user } })).wrote(1))
}

/// A follower as v1 has it: the id of the tie is the user's.
fn v1_row(kind: Kind, id: i64, user: i64, since: Millis) -> Value {
    let mut row = Map::from_iter([("id".to_owned(), user.into())]);
    row.insert("user_id".into(), user.into());
    row.insert(kind.link().unwrap_or("record_id").into(), id.into());
    row.insert("add_time".into(), time::v1(since).into());
    row.into()
}

/// `GET /v1/{kind}/{id}/followers`
pub(super) fn v1_list(state: &mut State, ctx: &Ctx) -> Outcome {
    let record = state.readable_record(ctx, ctx.kind, ctx.id(0)?)?;
    let rows = record.followers.iter();
    let rows = rows.map(|(user, since)| v1_row(ctx.kind, record.id, *user, *since)).collect();
    page::v1_list(state, ctx, rows)
}

/// `POST /v1/{kind}/{id}/followers`
pub(super) fn v1_follow(state: &mut State, ctx: &Ctx) -> Outcome {
    let (id, user) = begin(state, ctx)?;
    let data = v1_row(ctx.kind, id, user, ctx.now);
    let status = if ctx.kind == Kind::Product { 201 } else { 200 };
    Ok(Reply::json(status, &json!({ "success": true, "data": data })).wrote(1))
}

/// `DELETE /v1/{kind}/{id}/followers/{follower}`
pub(super) fn v1_unfollow(state: &mut State, ctx: &Ctx) -> Outcome {
    let id = end(state, ctx)?;
    Ok(Reply::json(200, &json!({ "success": true, "data": { "id": id } })).wrote(1))
}
