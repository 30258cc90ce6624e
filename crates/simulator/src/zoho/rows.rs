//! Writing records over the API: insert, update, upsert, delete, a status per row.

use serde_json::{Map, Value, json};

use super::oauth::Right;
use super::refusal::{Answer, Refusal};
use super::request::{MAX_ROWS, Request};
use super::schema::{Access, Module};
use super::state::State;
use super::table::seconds;
use super::write::{Actor, unknown_id, writable};
use crate::fault::Fault;
use crate::host::Reply;

type Row = Map<String, Value>;

/// `POST /{module}`.
pub(super) fn insert(state: &mut State, request: &Request<'_>, module: &str) -> Answer {
    request.may(state.module(module, 0)?, Right::Create)?;
    let actor = actor(request);
    each(state, request, 201, |state, row, path| {
        let id =
            state.insert_row(module, &resolved(state, request, module, row, path)?, actor, path)?;
        Ok(written(state, request, module, id, "record added"))
    })
}

/// `PUT /{module}` and `PUT /{module}/{id}`.
pub(super) fn update(
    state: &mut State,
    request: &Request<'_>,
    module: &str,
    id: Option<&str>,
) -> Answer {
    let schema = state.module(module, 0)?;
    request.may(schema, Right::Update)?;
    let fixed = id.map(|id| request.record(schema, &schema.table, id, 1)).transpose()?;
    let external = request.external(schema);
    let find = |state: &State, row: &Row, path: &str| -> Result<u64, Refusal> {
        if let Some(fixed) = fixed {
            return fixed.ok_or_else(|| unknown_id(path));
        }
        if let (Some(field), Some(schema)) = (&external, state.modules.get(module)) {
            let value = row
                .get(field)
                .ok_or_else(|| Refusal::mandatory(field, &format!("{path}.{field}")))?;
            let holder = schema.table.holding(field, value).and_then(|ids| ids.first().copied());
            let details = json!({ "api_name": field, "json_path": format!("{path}.{field}") });
            return holder.ok_or_else(|| {
                Refusal::new(
                    400,
                    "INVALID_DATA",
                    "The value of the external field is invalid.",
                    details,
                )
            });
        }
        own_id(row, path)
    };
    precondition(state, request, module, &find)?;
    let unseen =
        state.modules.get(module).is_some_and(|module| module.rules.access == Access::Unseen);
    let actor = actor(request);
    each(state, request, 200, |state, row, path| {
        let id = find(state, row, path)?;
        if unseen {
            return Err(unknown_id(path));
        }
        let row = resolved(state, request, module, row, path)?;
        state.update_row(module, id, &row, actor, path)?;
        Ok(written(state, request, module, id, "record updated"))
    })
}

/// `POST /{module}/upsert`.
pub(super) fn upsert(state: &mut State, request: &Request<'_>, module: &str) -> Answer {
    let schema = state.module(module, 0)?;
    request.may(schema, Right::Create)?;
    request.may(schema, Right::Update)?;
    if schema.is_activity() || module == "Notes" {
        return Err(Refusal::new(
            400,
            "NOT_SUPPORTED",
            "upsert is not supported for the module",
            json!({ "resource_path_index": 0 }),
        ));
    }
    let order = check_order(schema, request.object()?.get("duplicate_check_fields"))?;
    precondition(state, request, module, &|state, row, path| {
        found(state, module, row, &order).map(|(id, _)| id).ok_or_else(|| unknown_id(path))
    })?;
    let actor = actor(request);
    each(state, request, 200, |state, row, path| {
        let row = resolved(state, request, module, row, path)?;
        let hit = found(state, module, &row, &order);
        let mut status = if let Some((id, _)) = &hit {
            state.update_row(module, *id, &row, actor, path)?;
            written(state, request, module, *id, "record updated")
        } else {
            let id = state.insert_row(module, &row, actor, path)?;
            written(state, request, module, id, "record added")
        };
        status["action"] = if hit.is_some() { "update" } else { "insert" }.into();
        status["duplicate_field"] =
            hit.and_then(|(_, field)| field).map_or(Value::Null, Value::from);
        Ok(status)
    })
}

/// `DELETE /{module}?ids=` and `DELETE /{module}/{id}`.
pub(super) fn delete(
    state: &mut State,
    request: &Request<'_>,
    module: &str,
    id: Option<&str>,
) -> Answer {
    let schema = state.module(module, 0)?;
    request.may(schema, Right::Delete)?;
    let text = id.or_else(|| request.call.query("ids")).filter(|ids| !ids.is_empty());
    let text = text.ok_or_else(|| Refusal::param_missing("ids"))?;
    let ids: Vec<&str> = text.split(',').map(str::trim).collect();
    if ids.len() > MAX_ROWS {
        return Err(Refusal::new(
            400,
            "LIMIT_EXCEEDED",
            "You have exceeded the maximum limit",
            json!({ "limit": MAX_ROWS, "param_name": "ids" }),
        ));
    }
    let found: Result<Vec<Option<u64>>, Refusal> = ids
        .iter()
        .map(|id| request.record(schema, &schema.table, id, 1).map_err(|_| Refusal::unparseable()))
        .collect();
    let workflows = request.call.query("wf_trigger") != Some("false");
    let actor = Actor { user: request.access.user, workflows };
    let unseen = schema.rules.access == Access::Unseen;
    let rows: Vec<Value> =
        found?.into_iter().map(|id| json!({ "id": id.unwrap_or_default().to_string() })).collect();
    run(state, request, 200, &rows, |state, row, path| {
        let id = own_id(row, path)?;
        let gone = || {
            Refusal::new(400, "INVALID_DATA", "record not deleted", json!({ "id": id.to_string() }))
        };
        let stored = state
            .table(module)
            .and_then(|table| table.get(id))
            .filter(|_| !unseen)
            .ok_or_else(gone)?;
        writable(stored, path, "delete")?;
        state.delete_row(module, id, actor);
        Ok(
            json!({ "code": "SUCCESS", "details": { "id": id.to_string() }, "message": "record deleted", "status": "success" }),
        )
    })
}

fn each(
    state: &mut State,
    request: &Request<'_>,
    status: u16,
    write: impl FnMut(&mut State, &Row, &str) -> Result<Value, Refusal>,
) -> Answer {
    run(state, request, status, request.rows()?, write)
}

/// Writes row by row: all succeed, some do, or none does decides the status.
pub(super) fn run(
    state: &mut State,
    request: &Request<'_>,
    status: u16,
    rows: &[Value],
    mut write: impl FnMut(&mut State, &Row, &str) -> Result<Value, Refusal>,
) -> Answer {
    let taken = match request.call.fault {
        Some(Fault::PartialRows { rows: taken }) => taken.min(rows.len()),
        _ => rows.len(),
    };
    let (mut data, mut written) = (Vec::new(), 0);
    for (at, row) in rows.iter().take(taken).enumerate() {
        let row = row.as_object().ok_or_else(Refusal::unparseable)?;
        match write(state, row, &format!("$.data[{at}]")) {
            Ok(status) => {
                written += 1;
                data.push(status);
            }
            Err(refusal) => data.push(refusal.object()),
        }
    }
    let status = match written {
        0 if !data.is_empty() => state.switches.all_failed_status,
        count if count < data.len() => state.switches.mixed_status,
        _ => status,
    };
    if let Some(Fault::StatusesMissing { kept }) = request.call.fault {
        data.truncate(kept);
    }
    Ok(Reply::json(status, &json!({ "data": data })).wrote(written))
}

/// Refuses the whole call when a record was modified after `If-Unmodified-Since`.
fn precondition(
    state: &State,
    request: &Request<'_>,
    module: &str,
    find: &dyn Fn(&State, &Row, &str) -> Result<u64, Refusal>,
) -> Result<(), Refusal> {
    let Some(since) = request.since("if-unmodified-since")? else { return Ok(()) };
    for (at, row) in request.rows()?.iter().filter_map(Value::as_object).enumerate() {
        let Ok(id) = find(state, row, &format!("$.data[{at}]")) else { continue };
        let Some(stored) = state.table(module).and_then(|table| table.get(id)) else { continue };
        if seconds(stored.modified) > since {
            let message = "record updated time has already passed if-unmodified-since time";
            return Err(Refusal::new(
                412,
                "ALREADY_MODIFIED",
                message,
                state.stamps(stored, &request.zone).into(),
            ));
        }
    }
    Ok(())
}

/// Fields that upsert compares, in order. Source: Zoho CRM API v8, "Upsert records".
fn check_order(module: &Module, given: Option<&Value>) -> Result<Vec<String>, Refusal> {
    let unique: Vec<String> = module
        .fields
        .iter()
        .filter(|field| field.refuses_duplicates())
        .map(|field| field.api_name.clone())
        .collect();
    let Some(given) = given.filter(|given| !given.is_null()) else {
        return Ok(module.duplicate_field.iter().cloned().chain(unique).collect());
    };
    let names: Option<Vec<String>> = given
        .as_array()
        .and_then(|names| names.iter().map(|name| name.as_str().map(str::to_owned)).collect());
    let names = names.ok_or_else(|| {
        let details = json!({ "expected_data_type": "jsonarray", "api_name": "duplicate_check_fields", "json_path": "$.duplicate_check_fields" });
        Refusal::invalid(details)
    })?;
    let allowed =
        |name: &String| unique.contains(name) || module.duplicate_field.as_ref() == Some(name);
    if let Some(at) = names.iter().position(|name| !allowed(name)) {
        return Err(Refusal::invalid(
            json!({ "api_name": "duplicate_check_fields", "json_path": format!("$.duplicate_check_fields[{at}]") }),
        ));
    }
    let rest: Vec<String> = unique.into_iter().filter(|name| !names.contains(name)).collect();
    Ok(names.into_iter().chain(rest).collect())
}

/// The record an upsert row means, and the field that said so.
fn found(
    state: &State,
    module: &str,
    row: &Row,
    order: &[String],
) -> Option<(u64, Option<String>)> {
    let table = state.table(module)?;
    if let Some(id) = row.get("id").and_then(Value::as_str).and_then(|id| id.parse().ok()) {
        return Some((id, None));
    }
    order.iter().find_map(|field| {
        let value = row.get(field).filter(|value| !value.is_null())?;
        let id = table.holding(field, value)?.first()?;
        Some((*id, Some(field.clone())))
    })
}

/// Replaces lookups by external value (header `X-EXTERNAL`) with lookups by id.
fn resolved(
    state: &State,
    request: &Request<'_>,
    module: &str,
    row: &Row,
    path: &str,
) -> Result<Row, Refusal> {
    let mut row = row.clone();
    let Some(schema) = state.modules.get(module) else { return Ok(row) };
    for (lookup, field) in request.external_lookups(schema) {
        let Some(value) = row.get(&lookup).and_then(|value| value.get(&field)) else { continue };
        let target =
            schema.field(&lookup).and_then(|lookup| state.table(lookup.target.as_deref()?));
        let id = target.and_then(|table| table.holding(&field, value)?.first().copied());
        let id = id.ok_or_else(|| {
            let message = "The external ID of the lookup field or the Price Book is incorrect";
            Refusal::new(
                400,
                "INVALID_DATA",
                message,
                json!({ "api_name": lookup, "json_path": format!("{path}.{lookup}") }),
            )
        })?;
        row.insert(lookup, json!({ "id": id.to_string() }));
    }
    Ok(row)
}

fn own_id(row: &Row, path: &str) -> Result<u64, Refusal> {
    let id = row.get("id").filter(|id| !id.is_null());
    let id = id.ok_or_else(|| Refusal::mandatory("id", &format!("{path}.id")))?;
    let id = id.as_u64().or_else(|| id.as_str().and_then(|id| id.parse().ok()));
    id.ok_or_else(|| unknown_id(path))
}

fn actor(request: &Request<'_>) -> Actor {
    Actor { user: request.access.user, workflows: request.workflows() }
}

/// The status of a written row.
fn written(state: &State, request: &Request<'_>, module: &str, id: u64, message: &str) -> Value {
    let stored = state.table(module).and_then(|table| table.get(id));
    let mut details = stored.map(|row| state.stamps(row, &request.zone)).unwrap_or_default();
    details.insert("$approval_state".into(), "approved".into());
    if let (Some(row), Some(schema)) = (stored, state.modules.get(module)) {
        let externals = schema.fields.iter().filter(|field| field.external.is_some());
        let given = externals.filter_map(|field| {
            Some((field.api_name.clone(), row.fields.get(&field.api_name)?.clone()))
        });
        details.extend(given);
    }
    json!({ "code": "SUCCESS", "details": details, "message": message, "status": "success" })
}
