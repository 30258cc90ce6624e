//! The tags of a module, under `/settings/tags`.
//!
//! Source: Zoho CRM API v8, "Tags".

use serde_json::{Map, Value, json};

use super::fields::named_module;
use super::oauth::Right;
use super::refusal::{Answer, Refusal};
use super::request::Request;
use super::state::State;
use super::table::{Row, id_of};
use crate::host::Reply;

const MAX_TAGS: usize = 100;

/// All verbs of `/settings/tags?module=`.
pub(super) fn all(state: &mut State, request: &Request<'_>) -> Answer {
    match request.call.method.as_str() {
        "GET" => list(state, request),
        "POST" => create(state, request),
        "PUT" => update(state, request, None),
        _ => Err(Refusal::wrong_verb()),
    }
}

/// All verbs of `/settings/tags/{id}`.
pub(super) fn one(state: &mut State, request: &Request<'_>, id: &str) -> Answer {
    match request.call.method.as_str() {
        "PUT" => update(state, request, Some(id)),
        "DELETE" => delete(state, request, id),
        _ => Err(Refusal::wrong_verb()),
    }
}

fn list(state: &State, request: &Request<'_>) -> Answer {
    request.access.require("settings", "tags", Right::Read)?;
    let module = named_module(state, request)?;
    let tag = |(name, id): (&String, &u64)| {
        json!({
            "id": id.to_string(), "name": name, "color_code": null, "created_by": null, "modified_by": null,
            "created_time": null, "modified_time": null,
        })
    };
    let tags: Vec<Value> = module.tags.iter().map(tag).collect();
    if tags.is_empty() {
        return Ok(Reply::empty(204));
    }
    let info = json!({ "count": tags.len(), "allowed_count": MAX_TAGS });
    Ok(Reply::json(200, &json!({ "tags": tags, "info": info })))
}

fn sent(request: &Request<'_>) -> Result<Vec<Map<String, Value>>, Refusal> {
    let tags = request.object()?.get("tags").and_then(Value::as_array);
    let tags = tags.ok_or_else(|| Refusal::mandatory("tags", "$.tags"))?;
    tags.iter().map(|tag| tag.as_object().cloned().ok_or_else(Refusal::unparseable)).collect()
}

/// The name in a sent tag, when no other tag of the module has it.
fn name(
    state: &State,
    module: &str,
    tag: &Map<String, Value>,
    path: &str,
    own: Option<u64>,
) -> Result<String, Refusal> {
    let path = format!("{path}.name");
    let name = tag.get("name").and_then(Value::as_str).filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| Refusal::mandatory("name", &path))?;
    let twin = state.modules.get(module).and_then(|module| module.tags.get(name).copied());
    match twin.filter(|twin| Some(*twin) != own) {
        Some(id) => Err(Refusal::new(
            400,
            "DUPLICATE_DATA",
            "duplicate data",
            json!({ "api_name": "name", "json_path": path, "id": id.to_string() }),
        )),
        None => Ok(name.to_owned()),
    }
}

fn create(state: &mut State, request: &Request<'_>) -> Answer {
    request.access.require("settings", "tags", Right::Create)?;
    let module = named_module(state, request)?.api_name.clone();
    let mut rows = Vec::new();
    for (at, tag) in sent(request)?.iter().enumerate() {
        let outcome = name(state, &module, tag, &format!("$.tags[{at}]"), None).map(|name| {
            let id = state.fresh_id();
            if let Some(module) = state.modules.get_mut(&module) {
                module.tags.insert(name, id);
            }
            id
        });
        rows.push(outcome);
    }
    Ok(answered(state, request, 201, &rows, "tags created successfully"))
}

/// Renames tags, and what records show of them.
fn update(state: &mut State, request: &Request<'_>, id: Option<&str>) -> Answer {
    request.access.require("settings", "tags", Right::Update)?;
    let module = named_module(state, request)?.api_name.clone();
    let mut rows = Vec::new();
    for (at, tag) in sent(request)?.iter().enumerate() {
        let path = format!("$.tags[{at}]");
        let text = id.or_else(|| tag.get("id").and_then(Value::as_str));
        let outcome = text
            .ok_or_else(|| Refusal::mandatory("id", &format!("{path}.id")))
            .and_then(|text| known(state, &module, text))
            .and_then(|id| {
                let name = name(state, &module, tag, &path, Some(id))?;
                rename(state, &module, id, &name);
                Ok(id)
            });
        rows.push(outcome);
    }
    Ok(answered(state, request, 200, &rows, "tags updated successfully"))
}

fn known(state: &State, module: &str, text: &str) -> Result<u64, Refusal> {
    let id = text.parse::<u64>().ok();
    let known = |id: &u64| {
        state.modules.get(module).is_some_and(|module| module.tags.values().any(|tag| tag == id))
    };
    id.filter(known).ok_or_else(|| Refusal::invalid_id(json!({ "id": text })))
}

fn rename(state: &mut State, module: &str, id: u64, name: &str) {
    let Some(module) = state.modules.get_mut(module) else { return };
    module.tags.retain(|_, tag| *tag != id);
    module.tags.insert(name.to_owned(), id);
    for holder in holders(module.table.rows().values(), id) {
        module.table.touch(holder, |row| {
            for tag in tags_of(row).filter(|tag| id_of(tag) == Some(id)) {
                tag["name"] = name.into();
            }
        });
    }
}

fn tags_of(row: &mut Row) -> impl Iterator<Item = &mut Value> {
    row.fields.get_mut("Tag").and_then(Value::as_array_mut).into_iter().flatten()
}

/// Records that carry a tag.
fn holders<'a>(rows: impl Iterator<Item = &'a Row>, id: u64) -> Vec<u64> {
    let carries = |row: &&Row| {
        let tags = row.fields.get("Tag").and_then(Value::as_array);
        tags.into_iter().flatten().any(|tag| id_of(tag) == Some(id))
    };
    rows.filter(carries).map(|row| row.id).collect()
}

/// Takes a tag away from its module and from all records that carry it.
fn delete(state: &mut State, request: &Request<'_>, text: &str) -> Answer {
    request.access.require("settings", "tags", Right::Delete)?;
    let id: u64 = text.parse().unwrap_or(0);
    let module =
        state.modules.values_mut().find(|module| module.tags.values().any(|tag| *tag == id));
    let module = module.ok_or_else(|| Refusal::invalid_id(json!({ "id": text })))?;
    module.tags.retain(|_, tag| *tag != id);
    for holder in holders(module.table.rows().values(), id) {
        module.table.touch(holder, |row| {
            if let Some(tags) = row.fields.get_mut("Tag").and_then(Value::as_array_mut) {
                tags.retain(|tag| id_of(tag) != Some(id));
            }
        });
    }
    let status = json!({ "code": "SUCCESS", "details": { "id": text }, "message": "tags deleted successfully", "status": "success" });
    Ok(Reply::json(200, &json!({ "tags": [status] })).wrote(1))
}

/// `GET /settings/tags/{id}/actions/records_count?module=`: a number in a string.
pub(super) fn count(state: &State, request: &Request<'_>, id: &str) -> Answer {
    request.access.require("settings", "tags", Right::Read)?;
    let module = named_module(state, request)?;
    let id = known(state, &module.api_name, id)?;
    let count = holders(module.table.rows().values(), id).len();
    Ok(Reply::json(200, &json!({ "count": count.to_string() })))
}

fn answered(
    state: &State,
    request: &Request<'_>,
    good: u16,
    rows: &[Result<u64, Refusal>],
    message: &str,
) -> Reply {
    let (now, by) = (request.zone.millis(state.now()), state.user_ref(request.access.user));
    let done = rows.iter().filter(|row| row.is_ok()).count();
    let statuses: Vec<Value> = rows
        .iter()
        .map(|row| match row {
            Ok(id) => {
                let details = json!({ "created_time": now, "modified_time": now, "modified_by": by, "id": id.to_string(), "created_by": by, "color_code": null });
                json!({ "code": "SUCCESS", "details": details, "message": message, "status": "success" })
            }
            Err(refusal) => refusal.object(),
        })
        .collect();
    let status = match done {
        0 => 400,
        done if done < rows.len() => 207,
        _ => good,
    };
    Reply::json(status, &json!({ "tags": statuses })).wrote(done)
}
