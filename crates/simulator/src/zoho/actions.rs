//! Calls under `actions`, the recycle bin, the timeline of a record.

use serde_json::{Map, Value, json};

use super::oauth::Right;
use super::refusal::{Answer, Refusal};
use super::request::Request;
use super::rows;
use super::schema::Module;
use super::state::State;
use super::table::{Row, id_of};
use super::transform::Tagging;
use super::write::Actor;
use crate::host::Reply;

fn actor(request: &Request<'_>) -> Actor {
    Actor { user: request.access.user, workflows: true }
}

fn path_id(text: &str) -> Result<u64, Refusal> {
    text.parse().map_err(|_| Refusal::invalid(json!({ "resource_path_index": 1 })))
}

/// `POST /Leads/{id}/actions/convert`.
pub(super) fn convert(state: &mut State, request: &Request<'_>, lead: &str) -> Answer {
    request.may(state.module("Leads", 0)?, Right::Update)?;
    let id = path_id(lead)?;
    let who = actor(request);
    let rows = request.rows()?.iter().take(1).cloned().collect::<Vec<_>>();
    rows::run(state, request, 200, &rows, |state, wishes, _| {
        let made = state.convert(id, wishes, who)?;
        let reference = |state: &State, module: &str, id: Option<u64>| {
            let row = id.and_then(|id| Some((id, state.modules.get(module)?)));
            row.and_then(|(id, module)| {
                let name = module.display_name(&module.table.get(id)?.fields);
                Some(json!({ "name": name, "id": id.to_string() }))
            })
        };
        let details = json!({
            "Contacts": reference(state, "Contacts", Some(made.contact)),
            "Accounts": reference(state, "Accounts", made.account),
            "Deals": reference(state, "Deals", made.deal),
        });
        Ok(
            json!({ "code": "SUCCESS", "details": details, "message": "The record has been converted successfully", "status": "success" }),
        )
    })
}

/// `GET /Leads/{id}/__conversion_options`: records that the lead may become instead of new ones.
pub(super) fn conversion_options(state: &State, request: &Request<'_>, lead: &str) -> Answer {
    let leads = state.module("Leads", 0)?;
    request.may_read(leads)?;
    let row = leads.table.get(path_id(lead)?);
    let row = row.ok_or_else(|| Refusal::invalid_id(json!({ "resource_path_index": 1 })))?;
    let alike = |module: &str, own: &str, theirs: &str| {
        let module = state.modules.get(module)?;
        let found = module.table.holding(theirs, row.fields.get(own)?)?;
        let rows = found.iter().filter_map(|id| module.table.get(*id));
        let shown = |row: &Row| json!({ "id": row.id.to_string(), "name": module.display_name(&row.fields) });
        Some(Value::from(rows.map(shown).collect::<Vec<_>>()))
    };
    let options = json!({
        "module_preference": null, "Contacts": alike("Contacts", "Email", "Email"), "Deals": null,
        "Accounts": alike("Accounts", "Company", "Account_Name"), "preference_field_matched_value": null,
        "modules_with_multiple_layouts": [],
    });
    Ok(Reply::json(200, &json!({ "__conversion_options": options })))
}

/// `POST /{module}/{master}/actions/merge`: at most two children.
pub(super) fn merge(
    state: &mut State,
    request: &Request<'_>,
    module: &str,
    master: &str,
) -> Answer {
    let schema = state.module(module, 0)?;
    request.may(schema, Right::Update)?;
    let custom = schema.custom;
    if !custom && !matches!(module, "Leads" | "Contacts" | "Accounts" | "Deals" | "Vendors") {
        return Err(Refusal::new(
            400,
            "NOT_ALLOWED",
            "the module cannot be merged",
            json!({ "resource_path_index": 0 }),
        ));
    }
    let master = path_id(master)?;
    let order = request.object()?.get("merge").and_then(|merge| merge.get(0));
    let order = order.ok_or_else(|| Refusal::mandatory("merge", "$.merge"))?;
    let children = order
        .get("data")
        .and_then(Value::as_array)
        .ok_or_else(|| Refusal::mandatory("data", "$.merge[0].data"))?;
    if children.len() > 2 {
        return Err(Refusal::new(
            400,
            "LIMIT_EXCEEDED",
            "You have exceeded the maximum limit",
            json!({ "limit": 2, "json_path": "$.merge[0].data" }),
        ));
    }
    let who = actor(request);
    let mut written = 0;
    for child in children {
        let id = id_of(child).ok_or_else(|| Refusal::mandatory("id", "$.merge[0].data[0].id"))?;
        let fields = child.get("_fields").and_then(Value::as_array).into_iter().flatten();
        let taken: Vec<String> =
            fields.filter_map(|field| field.get("api_name")?.as_str()).map(str::to_owned).collect();
        let done = state.merge(module, master, id, &taken, who);
        if let Err(refusal) = done {
            return Ok(
                Reply::json(refusal.status, &json!({ "merge": [refusal.object()] })).wrote(written)
            );
        }
        written += 2;
    }
    let status = json!({ "code": "SUCCESS", "details": { "id": master.to_string() }, "message": "records merged successfully", "status": "success" });
    Ok(Reply::json(201, &json!({ "merge": [status] })).wrote(written))
}

/// `POST /{module}/{id}/actions/clone`.
pub(super) fn clone(state: &mut State, request: &Request<'_>, module: &str, id: &str) -> Answer {
    request.may(state.module(module, 0)?, Right::Create)?;
    let copy = state.clone_row(module, path_id(id)?, actor(request))?;
    let details = state
        .table(module)
        .and_then(|table| table.get(copy))
        .map(|row| state.stamps(row, &request.zone));
    let status = json!({ "code": "SUCCESS", "details": details, "message": "record added", "status": "success" });
    Ok(Reply::json(201, &json!({ "data": [status] })).wrote(1))
}

/// `POST /{module}/actions/add_tags`, `remove_tags`, and the same for one record.
pub(super) fn tags(
    state: &mut State,
    request: &Request<'_>,
    module: &str,
    id: Option<&str>,
    change: Tagging,
) -> Answer {
    request.may(state.module(module, 0)?, Right::Update)?;
    let body = request.object()?;
    let names = body.get("tags").ok_or_else(|| Refusal::mandatory("tags", "$.tags"))?;
    let listed = body.get("ids").and_then(Value::as_array).into_iter().flatten();
    let ids: Vec<u64> = match id {
        Some(id) => vec![path_id(id)?],
        None => listed
            .filter_map(|id| id.as_str().and_then(|id| id.parse().ok()).or_else(|| id.as_u64()))
            .collect(),
    };
    if ids.is_empty() {
        return Err(Refusal::mandatory("ids", "$.ids"));
    }
    if ids.len() > 500 {
        return Err(Refusal::new(
            400,
            "LIMIT_EXCEEDED",
            "You have exceeded the maximum limit",
            json!({ "limit": 500, "json_path": "$.ids" }),
        ));
    }
    let change = if change == Tagging::Add && body.get("over_write") == Some(&Value::Bool(true)) {
        Tagging::Replace
    } else {
        change
    };
    let message = if change == Tagging::Remove {
        "tags updated successfully"
    } else {
        "tags added successfully"
    };
    let (who, mut done) = (actor(request), 0);
    let mut data = Vec::new();
    for id in ids {
        if state.retag(module, id, names, change, who) {
            done += 1;
            let stored =
                state.table(module).and_then(|table| table.get(id)?.fields.get("Tag").cloned());
            data.push(json!({ "code": "SUCCESS", "details": { "id": id.to_string(), "tags": stored }, "message": message, "status": "success" }));
        } else {
            data.push(Refusal::invalid_id(json!({ "id": id.to_string() })).object());
        }
    }
    let status = if done == 0 { 400 } else { 200 };
    let body = json!({ "data": data, "wf_scheduler": null, "success_count": done.to_string(), "locked_count": 0 });
    Ok(Reply::json(status, &body).wrote(done))
}

/// `GET /{module}/{id}/__timeline`: newest first.
pub(super) fn timeline(state: &State, request: &Request<'_>, module: &str, id: &str) -> Answer {
    let module = state.module(module, 0)?;
    request.may_read(module)?;
    let Some(row) = module.table.get(path_id(id)?) else { return Ok(Reply::empty(204)) };
    let per_page = request.per_page(200)?;
    let page = usize::try_from(request.page()?).unwrap_or(usize::MAX);
    let events = history(state, request, module, row);
    let more = events.len() > page.saturating_mul(per_page);
    let shown: Vec<Value> =
        events.into_iter().skip((page - 1).saturating_mul(per_page)).take(per_page).collect();
    let info = json!({ "per_page": per_page, "count": shown.len(), "page": page, "more_records": more, "next_page_token": null });
    Ok(Reply::json(200, &json!({ "__timeline": shown, "info": info })))
}

fn history(state: &State, request: &Request<'_>, module: &Module, row: &Row) -> Vec<Value> {
    let record = json!({
        "id": row.id.to_string(), "name": module.display_name(&row.fields),
        "module": { "api_name": module.api_name, "id": module.id.to_string() },
    });
    let event = |at: i64, by: u64, action: &str, history: Value| {
        json!({
            "id": format!("{}{}", row.id, at.rem_euclid(1_000_000)), "action": action, "audited_time": request.zone.millis(at),
            "done_by": state.user_ref(by), "source": "crm_ui", "type": null, "extension": null, "automation_details": null,
            "related_record": null, "record": record, "field_history": history,
        })
    };
    let first_by = row.past.first().map_or(row.modified_by, |_| row.created_by);
    let mut events = vec![event(row.created, first_by, "added", Value::Null)];
    for (at, version) in row.past.iter().enumerate() {
        let (after, by) = match row.past.get(at + 1) {
            Some(next) => (&next.fields, next.modified_by),
            None => (&row.fields, row.modified_by),
        };
        events.push(event(
            version.until,
            by,
            "updated",
            differences(module, &version.fields, after),
        ));
    }
    events.reverse();
    events
}

fn differences(module: &Module, before: &Map<String, Value>, after: &Map<String, Value>) -> Value {
    let changed = module
        .fields
        .iter()
        .filter(|field| before.get(&field.api_name) != after.get(&field.api_name));
    let entry = changed.map(|field| {
        json!({
            "id": field.id.to_string(), "api_name": field.api_name, "field_label": field.label, "data_type": field.kind.name(),
            "_value": { "old": before.get(&field.api_name), "new": after.get(&field.api_name) },
            "pick_list_values": [], "enable_colour_code": false,
        })
    });
    Value::Array(entry.collect())
}

/// `GET /{module}[/{id}]/actions/fetch_full_data`: rich text uncut.
pub(super) fn full_data(
    state: &State,
    request: &Request<'_>,
    module: &str,
    id: Option<&str>,
) -> Answer {
    let module = state.module(module, 0)?;
    request.may_read(module)?;
    let fields = request.fields()?;
    let ids: Vec<u64> = match id {
        Some(id) => vec![path_id(id)?],
        None => {
            request.ids(module)?.ok_or_else(|| Refusal::param_missing("ids"))?.into_iter().collect()
        }
    };
    let depth = super::render::Depth::Single;
    let renderer = super::render::Renderer { state, module, zone: &request.zone, depth };
    let rows = ids.into_iter().filter_map(|id| module.table.get(id));
    let data: Vec<Value> = rows.map(|row| renderer.selected(row, &fields)).collect();
    if data.is_empty() {
        Ok(Reply::empty(204))
    } else {
        Ok(Reply::json(200, &json!({ "data": data })))
    }
}

/// `GET /settings/recycle_bin` and `GET /settings/recycle_bin/{id}`.
pub(super) fn bin(state: &State, request: &Request<'_>, id: Option<&str>) -> Answer {
    request.access.require("settings", "recycle_bin", Right::Read)?;
    let per_page = request.per_page(200)?;
    let page = usize::try_from(request.page()?).unwrap_or(usize::MAX);
    let wanted: Option<Vec<&str>> =
        id.or_else(|| request.call.query("ids")).map(|ids| ids.split(',').collect());
    let mut graves: Vec<(&Module, &super::table::Grave)> = state
        .modules
        .values()
        .flat_map(|module| module.table.graves().values().map(move |grave| (module, grave)))
        .filter(|(_, grave)| !grave.permanent)
        .filter(|(_, grave)| {
            wanted.as_ref().is_none_or(|ids| ids.contains(&grave.row.id.to_string().as_str()))
        })
        .collect();
    graves.sort_by_key(|(_, grave)| std::cmp::Reverse((grave.at, grave.row.id)));
    let more = graves.len() > page.saturating_mul(per_page);
    let shown: Vec<Value> = graves
        .into_iter()
        .skip((page - 1).saturating_mul(per_page))
        .take(per_page)
        .map(|(module, grave)| {
            json!({
                "owner": grave.row.fields.get("Owner").and_then(id_of).map(|id| state.user_ref(id)),
                "module": { "api_name": module.api_name, "id": module.id.to_string() },
                "deleted_by": grave.by.map(|by| state.user_ref(by)),
                "id": grave.row.id.to_string(), "display_name": grave.name, "deleted_time": request.zone.millis(grave.at),
            })
        })
        .collect();
    if shown.is_empty() {
        return Ok(Reply::empty(204));
    }
    let info =
        json!({ "per_page": per_page, "count": shown.len(), "page": page, "more_records": more });
    Ok(Reply::json(200, &json!({ "recycle_bin": shown, "info": info })))
}

/// What happens to records in the recycle bin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Restore,
    Purge,
}

/// `POST /settings/recycle_bin/actions/restore`, `DELETE /settings/recycle_bin?ids=`, and the same for one.
pub(super) fn empty_bin(
    state: &mut State,
    request: &Request<'_>,
    id: Option<&str>,
    fate: Fate,
) -> Answer {
    let right = if fate == Fate::Restore { Right::Update } else { Right::Delete };
    request.access.require("settings", "recycle_bin", right)?;
    let listed = request.body.as_ref().and_then(|body| body.get("ids")).and_then(Value::as_array);
    let listed =
        listed.map(|ids| ids.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(","));
    let text =
        id.map(str::to_owned).or_else(|| request.call.query("ids").map(str::to_owned)).or(listed);
    let text = text.ok_or_else(|| Refusal::param_missing("ids"))?;
    let (who, mut done) = (actor(request), 0);
    let mut rows = Vec::new();
    for id in text.split(',').map(|id| id.trim().parse::<u64>().unwrap_or_default()) {
        let module = state.modules.values().find(|module| module.table.graves().contains_key(&id));
        let module = module.map(|module| module.api_name.clone());
        let took = module.is_some_and(|module| match fate {
            Fate::Restore => state.restore_row(&module, id, who),
            Fate::Purge => {
                state.modules.get_mut(&module).is_some_and(|module| module.table.empty_grave(id))
            }
        });
        done += usize::from(took);
        let message = if fate == Fate::Restore {
            "record restored successfully"
        } else {
            "record deleted successfully"
        };
        rows.push(if took {
            json!({ "code": "SUCCESS", "details": { "id": id.to_string() }, "message": message, "status": "success" })
        } else {
            Refusal::invalid_id(json!({ "id": id.to_string() })).object()
        });
    }
    let status = match done {
        0 => 400,
        done if done < rows.len() => 207,
        _ => 200,
    };
    Ok(Reply::json(status, &json!({ "recycle_bin": rows })).wrote(done))
}
