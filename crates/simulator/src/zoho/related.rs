//! Related lists: notes and other records that point to a record.

use super::lists::{page, seen};
use super::pages::{Selection, Sort};
use super::refusal::{Answer, Refusal};
use super::request::Request;
use super::rows;
use super::schema::Module;
use super::state::State;

/// Related lists of a module: API name and the module of the rows.
pub(super) fn lists_of<'a>(state: &'a State, module: &Module) -> Vec<(String, &'a Module)> {
    if module.api_name == "Notes" || module.is_activity() {
        return Vec::new();
    }
    let points = |other: &&Module| {
        let any = matches!(other.api_name.as_str(), "Notes" | "Tasks" | "Events" | "Calls");
        any || other
            .fields
            .iter()
            .any(|field| !field.read_only && field.target.as_ref() == Some(&module.api_name))
    };
    let others =
        state.modules.values().filter(points).filter(|other| other.api_name != module.api_name);
    others.map(|other| (other.api_name.clone(), other)).collect()
}

/// `GET /{module}/{id}/{related_list}`.
pub(super) fn list(
    state: &State,
    request: &Request<'_>,
    module: &str,
    id: &str,
    list: &str,
) -> Answer {
    let parent = state.module(module, 0)?;
    request.may_read(parent)?;
    let Some((_, target)) = lists_of(state, parent).into_iter().find(|(name, _)| name == list)
    else {
        return Err(Refusal::wrong_url());
    };
    request.may_read(target)?;
    let fields = request.fields()?;
    let table = seen(state, target, request);
    let parent =
        request.record(parent, &parent.table, id, 1)?.filter(|id| parent.table.get(*id).is_some());
    let parent = parent
        .ok_or_else(|| Refusal::invalid_id(serde_json::json!({ "resource_path_index": 1 })))?;
    let ids = table.pointing_to(parent).into_iter().collect();
    let since = request.since("if-modified-since")?;
    let ascending = request.call.query("sort_order").is_none_or(|order| order == "asc");
    let sort = request.call.query("sort_by").and_then(Sort::parse).unwrap_or(Sort::Id);
    let selection = Selection { sort, ascending, since, converted: None, ids: Some(ids) };
    page(state, request, target, &table, &selection, &fields)
}

/// `POST`, `PUT`, `DELETE` under `/{module}/{id}/Notes`.
pub(super) fn write_notes(
    state: &mut State,
    request: &mut Request<'_>,
    module: &str,
    id: &str,
    note: Option<&str>,
) -> Answer {
    let parent = state.module(module, 0)?;
    let found =
        request.record(parent, &parent.table, id, 1)?.filter(|id| parent.table.get(*id).is_some());
    let found = found
        .ok_or_else(|| Refusal::invalid_id(serde_json::json!({ "resource_path_index": 1 })))?;
    let reference =
        serde_json::json!({ "id": found.to_string(), "module": { "api_name": parent.api_name } });
    match request.call.method.as_str() {
        "POST" if note.is_none() => {
            let rows = request
                .body
                .as_mut()
                .and_then(|body| body.get_mut("data"))
                .and_then(|data| data.as_array_mut());
            for row in rows.into_iter().flatten().filter_map(|row| row.as_object_mut()) {
                row.insert("Parent_Id".into(), reference.clone());
            }
            rows::insert(state, request, "Notes")
        }
        "PUT" => rows::update(state, request, "Notes", note),
        "DELETE" => rows::delete(state, request, "Notes", note),
        _ => Err(Refusal::wrong_verb()),
    }
}
