//! Cursors: opaque keyset positions, good for the parameters they were made with.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::refusal::Refusal;
use super::routes::{Ctx, Outcome};
use super::settings::BadCursor;
use super::state::State;
use super::table::Millis;
use crate::host::Reply;

/// Largest page of most lists.
const MAX_LIMIT: usize = 500;

/// Where a walk goes on: after the row with this sort value and id.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Position {
    pub(super) value: Value,
    pub(super) id: i64,
}

/// Page size asked for.
pub(super) fn limit(state: &State, ctx: &Ctx) -> Result<usize, Refusal> {
    limit_to(state, ctx, MAX_LIMIT)
}

pub(super) fn limit_to(state: &State, ctx: &Ctx, max: usize) -> Result<usize, Refusal> {
    let Some(text) = ctx.call.query("limit") else { return Ok(100.min(max)) };
    let limit: usize = text.parse().map_err(|_| Refusal::not_a("limit", "integer"))?;
    match limit {
        0 => Err(Refusal::invalid("limit", "The value must be at least 1")),
        limit if limit <= max => Ok(limit),
        _ if state.settings.switches.clamp_limit => Ok(max),
        _ => Err(Refusal::invalid("limit", &format!("The value must be at most {max}"))),
    }
}

/// Fingerprint of the parameters that a cursor is bound to.
fn fingerprint(ctx: &Ctx) -> String {
    let mut pairs: Vec<_> = ctx
        .call
        .query
        .iter()
        .filter(|(key, _)| !matches!(key.as_str(), "cursor" | "limit" | "api_token"))
        .collect();
    pairs.sort();
    let text = pairs
        .iter()
        .fold(ctx.call.path.clone(), |text, (key, value)| format!("{text}&{key}={value}"));
    blake3::hash(text.as_bytes()).to_hex()[..8].to_owned()
}

pub(super) fn encode(ctx: &Ctx, field: &str, descending: bool, at: &Position) -> String {
    let direction = if descending { "desc" } else { "asc" };
    let keyset = json!({ "field": field, "fieldValue": at.value, "sortDirection": direction, "id": at.id,
        "query": fingerprint(ctx), "issued": ctx.now });
    URL_SAFE_NO_PAD.encode(keyset.to_string())
}

/// The position in the call's cursor; `None` without one.
pub(super) fn decode(state: &State, ctx: &Ctx) -> Result<Option<Position>, Refusal> {
    let Some(text) = ctx.call.query("cursor") else { return Ok(None) };
    let switches = &state.settings.switches;
    let keyset = URL_SAFE_NO_PAD
        .decode(text)
        .ok()
        .and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    let fits = |keyset: &Value| {
        let issued: Millis = keyset["issued"].as_i64().unwrap_or(0);
        let fresh =
            switches.cursor_lifetime.is_none_or(|life| issued + life.num_milliseconds() > ctx.now);
        fresh && keyset["query"] == fingerprint(ctx)
    };
    match (keyset.filter(fits), switches.bad_cursor) {
        (Some(keyset), _) => {
            let id = keyset["id"].as_i64().unwrap_or(0);
            Ok(Some(Position { value: keyset["fieldValue"].clone(), id }))
        }
        (None, BadCursor::Restart) => Ok(None),
        (None, BadCursor::Status(400)) => Err(Refusal::invalid("cursor", "Invalid cursor")),
        (None, BadCursor::Status(status)) => Err(Refusal::new(status, "Invalid cursor")),
    }
}

/// A page of rows that have no ids of their own, by position.
pub(super) fn of_values(state: &State, ctx: &Ctx, rows: Vec<Value>) -> Outcome {
    let limit = limit(state, ctx)?;
    let start = decode(state, ctx)?.map_or(0, |at| usize::try_from(at.id).unwrap_or(0));
    let more = rows.len() > start + limit;
    let end = i64::try_from(start + limit).unwrap_or(i64::MAX);
    let next = more.then(|| encode(ctx, "id", false, &Position { value: end.into(), id: end }));
    let data: Vec<_> = rows.into_iter().skip(start).take(limit).collect();
    Ok(Reply::json(
        200,
        &json!({ "success": true, "data": data, "additional_data": { "next_cursor": next } }),
    ))
}

/// A v1 page by offset; `nested` puts the figures under `pagination`.
pub(super) fn by_offset<T>(
    state: &State,
    ctx: &Ctx,
    rows: Vec<T>,
) -> Result<(Vec<T>, Value), Refusal> {
    let number = |key: &str, default: usize| match ctx.call.query(key) {
        None => Ok(default),
        Some(text) => {
            text.parse::<usize>().map_err(|_| Refusal::new(400, &format!("Invalid {key}")))
        }
    };
    let (start, limit) = (number("start", 0)?, number("limit", 100)?);
    if limit > MAX_LIMIT && !state.settings.switches.clamp_limit {
        return Err(Refusal::new(400, "Limit must be at most 500"));
    }
    let limit = limit.min(MAX_LIMIT);
    let more = rows.len() > start + limit;
    let mut pagination =
        json!({ "start": start, "limit": limit, "more_items_in_collection": more });
    if more {
        pagination["next_start"] = (start + limit).into();
    }
    Ok((rows.into_iter().skip(start).take(limit).collect(), pagination))
}

/// A v1 list by offset.
pub(super) fn v1_list(state: &State, ctx: &Ctx, rows: Vec<Value>) -> Outcome {
    let (rows, pagination) = by_offset(state, ctx, rows)?;
    let data = v1_rows(state, rows);
    Ok(Reply::json(
        200,
        &json!({ "success": true, "data": data, "additional_data": { "pagination": pagination } }),
    ))
}

/// `data` of a v1 list.
pub(super) fn v1_rows(state: &State, rows: Vec<Value>) -> Value {
    if rows.is_empty() && state.settings.switches.empty_v1_null { Value::Null } else { rows.into() }
}
