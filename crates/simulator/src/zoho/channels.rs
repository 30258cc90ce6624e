//! `/actions/watch`: subscribing to notifications.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::oauth::Right;
use super::refusal::{Answer, Refusal};
use super::request::Request;
use super::state::State;
use super::times;
use super::watch::Channel;
use crate::host::Reply;

const HOUR: i64 = 60 * 60 * 1_000;
const DAY: i64 = 24 * HOUR;
const WEEK: i64 = 7 * DAY;
const MAX_TOKEN: usize = 50;

/// How a call changes a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Enable,
    Replace,
    Patch,
}

/// All verbs of `/actions/watch`.
pub(super) fn watch(state: &mut State, request: &Request<'_>) -> Answer {
    match request.call.method.as_str() {
        "GET" => list(state, request),
        "POST" => change(state, request, Right::Create, Change::Enable),
        "PUT" => change(state, request, Right::Update, Change::Replace),
        "PATCH" => change(state, request, Right::Update, Change::Patch),
        "DELETE" => disable(state, request),
        _ => Err(Refusal::wrong_verb()),
    }
}

fn change(state: &mut State, request: &Request<'_>, right: Right, change: Change) -> Answer {
    request.access.require("notifications", "", right)?;
    let rows = request.object()?.get("watch").and_then(Value::as_array);
    let rows = rows.ok_or_else(|| Refusal::mandatory("watch", "$.watch"))?;
    let (mut statuses, mut done) = (Vec::new(), 0);
    for (at, row) in rows.iter().enumerate() {
        let row = row.as_object().ok_or_else(Refusal::unparseable)?;
        match change_one(state, request, row, change, &format!("$.watch[{at}]")) {
            Ok(status) => {
                done += 1;
                statuses.push(status);
            }
            Err(refusal) => statuses.push(refusal.object()),
        }
    }
    let status = match done {
        0 => 400,
        done if done < statuses.len() => 207,
        _ if change == Change::Enable => 201,
        _ => 200,
    };
    Ok(Reply::json(status, &json!({ "watch": statuses })))
}

fn change_one(
    state: &mut State,
    request: &Request<'_>,
    row: &Map<String, Value>,
    change: Change,
    path: &str,
) -> Result<Value, Refusal> {
    let id =
        row.get("channel_id").map(|id| id.as_str().map_or_else(|| id.to_string(), str::to_owned));
    let id = id.filter(|id| id.parse::<u64>().is_ok());
    let id = id.ok_or_else(|| Refusal::mandatory("channel_id", &format!("{path}.channel_id")))?;
    let before = state.watches.channels.get(&id).cloned();
    if change != Change::Enable && before.is_none() {
        return Err(not_subscribed(&id));
    }
    if change == Change::Patch && row.get("_delete_events") == Some(&Value::Bool(true)) {
        return Ok(remove_events(state, &id, row));
    }
    let base = before.filter(|_| change == Change::Patch);
    let channel = channel(state, request, row, base.as_ref(), path)?;
    let status = described(
        state,
        request,
        &id,
        &channel,
        match change {
            Change::Enable => "Successfully subscribed for actions-watch of the given module",
            Change::Replace | Change::Patch => "Successfully updated the subscribe details",
        },
    );
    state.watches.channels.insert(id, channel);
    Ok(status)
}

/// A channel as told, on top of what it was when only some of it changes.
fn channel(
    state: &State,
    request: &Request<'_>,
    row: &Map<String, Value>,
    base: Option<&Channel>,
    path: &str,
) -> Result<Channel, Refusal> {
    let text = |key: &str| row.get(key).and_then(Value::as_str).map(str::to_owned);
    let flag = |key: &str| row.get(key).and_then(Value::as_bool);
    let missing = |key: &str| Refusal::mandatory(key, &format!("{path}.{key}"));
    let given = row.get("events").and_then(Value::as_array);
    let given: Option<BTreeSet<String>> =
        given.map(|events| events.iter().filter_map(Value::as_str).map(str::to_owned).collect());
    let events =
        given.or_else(|| base.map(|base| base.events.clone())).ok_or_else(|| missing("events"))?;
    for event in &events {
        let (module, kind) = event.split_once('.').unwrap_or((event, ""));
        let known = state.modules.contains_key(module)
            && !matches!(module, "Notes" | "Attachments")
            || module == "users";
        if !known || !matches!(kind, "create" | "edit" | "delete" | "all") {
            return Err(Refusal::invalid(
                json!({ "api_name": "events", "json_path": format!("{path}.events") }),
            ));
        }
    }
    let url = text("notify_url")
        .or_else(|| base.map(|base| base.url.clone()))
        .ok_or_else(|| missing("notify_url"))?;
    let token = text("token").or_else(|| base.and_then(|base| base.token.clone()));
    if token.as_ref().is_some_and(|token| token.chars().count() > MAX_TOKEN) {
        return Err(Refusal::invalid(
            json!({ "api_name": "token", "json_path": format!("{path}.token"), "maximum_length": MAX_TOKEN }),
        ));
    }
    Ok(Channel {
        events,
        token,
        url,
        expires: expiry(state.now(), text("channel_expiry").as_deref(), longest(request), path)?,
        values: flag("return_affected_field_values")
            .or(base.map(|base| base.values))
            .unwrap_or(false),
        related: flag("notify_on_related_action").or(base.map(|base| base.related)).unwrap_or(true),
        conditions: row.get("notification_condition").cloned().unwrap_or(json!([])),
        origin: request.call.origin.clone(),
    })
}

/// Versions 2 and 3 of the API allow a day, later ones a week.
fn longest(request: &Request<'_>) -> i64 {
    match request.call.segments().get(1).map(String::as_str) {
        Some("v2" | "v2.1" | "v3") => DAY,
        _ => WEEK,
    }
}

/// An hour without a time; at most `longest`, and an hour again beyond it.
fn expiry(now: i64, asked: Option<&str>, longest: i64, path: &str) -> Result<i64, Refusal> {
    let Some(text) = asked else { return Ok(now + HOUR) };
    let details = json!({ "api_name": "channel_expiry", "json_path": format!("{path}.channel_expiry"), "expected_data_type": "datetime" });
    let at = times::parse(text).ok_or_else(|| Refusal::invalid(details))?.timestamp_millis();
    Ok(if at > now + longest || at <= now { now + HOUR } else { at })
}

fn remove_events(state: &mut State, id: &str, row: &Map<String, Value>) -> Value {
    let gone =
        row.get("events").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    if let Some(channel) = state.watches.channels.get_mut(id) {
        for event in gone {
            channel.events.remove(event);
        }
        if channel.events.is_empty() {
            state.watches.channels.remove(id);
        }
    }
    let details = json!({ "channel_id": id });
    json!({ "code": "SUCCESS", "details": details, "message": "Successfully removed the subscribe details", "status": "success" })
}

fn described(
    state: &State,
    request: &Request<'_>,
    id: &str,
    channel: &Channel,
    message: &str,
) -> Value {
    let events: Vec<Value> = modules(channel)
        .into_iter()
        .map(|name| {
            json!({
                "channel_expiry": request.zone.millis(channel.expires),
                "resource_uri": format!("{}/crm/v2/{name}", channel.origin),
                "resource_id": state.modules.get(&name).map(|module| module.id.to_string()),
                "resource_name": name,
                "channel_id": id,
                "notification_condition": channel.conditions,
            })
        })
        .collect();
    json!({ "code": "SUCCESS", "details": { "events": events }, "message": message, "status": "success" })
}

fn modules(channel: &Channel) -> BTreeSet<String> {
    channel
        .events
        .iter()
        .filter_map(|event| event.split_once('.'))
        .map(|(module, _)| module.to_owned())
        .collect()
}

/// One row per channel and module; expired channels are gone.
fn list(state: &State, request: &Request<'_>) -> Answer {
    request.access.require("notifications", "", Right::Read)?;
    let now = state.now();
    let wanted =
        |key: &str, value: &str| request.call.query(key).is_none_or(|asked| asked == value);
    let mut rows = Vec::new();
    for (id, channel) in state
        .watches
        .channels
        .iter()
        .filter(|(id, channel)| now < channel.expires && wanted("channel_id", id))
    {
        for name in modules(channel).into_iter().filter(|name| wanted("module", name)) {
            let events: Vec<&String> = channel
                .events
                .iter()
                .filter(|event| event.starts_with(&format!("{name}.")))
                .collect();
            rows.push(json!({
                "channel_id": id, "notify_url": channel.url, "events": events, "token": channel.token, "fields": null,
                "notify_on_related_action": channel.related, "return_affected_field_values": channel.values,
                "resource_name": name, "resource_id": state.modules.get(&name).map(|module| module.id.to_string()),
                "resource_uri": format!("{}/crm/v2/{name}", channel.origin),
                "channel_expiry": request.zone.millis(channel.expires), "notification_condition": channel.conditions,
            }));
        }
    }
    if rows.is_empty() {
        return Ok(Reply::empty(204));
    }
    let info = json!({ "per_page": 200, "page": 1, "count": rows.len(), "more_records": false });
    Ok(Reply::json(200, &json!({ "watch": rows, "info": info })))
}

fn disable(state: &mut State, request: &Request<'_>) -> Answer {
    request.access.require("notifications", "", Right::Delete)?;
    let ids =
        request.call.query("channel_ids").ok_or_else(|| Refusal::param_missing("channel_ids"))?;
    let mut gone = 0;
    let mut rows = Vec::new();
    for id in ids.split(',').map(str::trim) {
        let removed = state.watches.channels.remove(id);
        gone += usize::from(removed.is_some());
        rows.push(removed.map_or_else(|| not_subscribed(id).object(), |channel| {
            let name = modules(&channel).into_iter().next().unwrap_or_default();
            let details = json!({ "resource_uri": format!("{}/crm/v2/{name}", channel.origin), "channel_id": id });
            json!({ "code": "SUCCESS", "details": details, "message": "Successfully un-subscribed from actions-watch", "status": "success" })
        }));
    }
    let status = match gone {
        0 => 400,
        gone if gone < rows.len() => 207,
        _ => 200,
    };
    Ok(Reply::json(status, &json!({ "watch": rows })))
}

fn not_subscribed(id: &str) -> Refusal {
    Refusal::new(
        400,
        "NOT_SUBSCRIBED",
        "Not subscribed for actions-watch of the given module",
        json!({ "channel_id": id }),
    )
}
