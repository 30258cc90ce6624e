//! Related lists: notes and other records that point to a record, and records tied by hand.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::lists::{page, seen};
use super::oauth::Right;
use super::pages::{Selection, Sort};
use super::refusal::{Answer, Refusal};
use super::request::Request;
use super::rows;
use super::schema::Module;
use super::state::State;
use super::table::id_of;
use crate::host::Reply;

/// What ties records without a field of their own.
#[derive(Debug, Default)]
pub(super) struct Relations {
    /// Record and product.
    products: BTreeSet<(u64, u64)>,
    /// Role by deal and contact.
    roles: BTreeMap<(u64, u64), u64>,
}

/// The roles of a new organisation.
const ROLES: [&str; 4] = ["Decision Maker", "Evaluator", "Executive Sponsor", "Influencer"];

/// Modules whose records have products tied to them.
fn has_products(module: &Module) -> bool {
    matches!(module.api_name.as_str(), "Leads" | "Accounts" | "Contacts" | "Deals")
}

/// Related lists of a module: API name and the module of the rows.
pub(super) fn lists_of<'a>(state: &'a State, module: &Module) -> Vec<(String, &'a Module)> {
    if module.api_name == "Notes" || module.is_activity() {
        return Vec::new();
    }
    let points = |other: &&Module| {
        let any = matches!(other.api_name.as_str(), "Notes" | "Tasks" | "Events" | "Calls")
            || other.api_name == "Products" && has_products(module);
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
    let parent = parent.ok_or_else(|| Refusal::invalid_id(json!({ "resource_path_index": 1 })))?;
    let ids = if list == "Products" {
        let tied = state.relations.products.range((parent, 0)..=(parent, u64::MAX));
        tied.map(|(_, product)| *product).collect()
    } else {
        table.pointing_to(parent).into_iter().collect()
    };
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
    let found = found.ok_or_else(|| Refusal::invalid_id(json!({ "resource_path_index": 1 })))?;
    let reference = json!({ "id": found.to_string(), "module": { "api_name": parent.api_name } });
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

fn existing(
    state: &State,
    request: &Request<'_>,
    module: &str,
    id: &str,
    segment: usize,
) -> Result<u64, Refusal> {
    let module = state.module(module, 0)?;
    let found = request.record(module, &module.table, id, segment)?;
    let found = found.filter(|id| module.table.get(*id).is_some());
    found.ok_or_else(|| Refusal::invalid_id(json!({ "resource_path_index": segment })))
}

fn related(outcome: Result<u64, Refusal>, message: &str) -> Value {
    match outcome {
        Ok(id) => {
            json!({ "code": "SUCCESS", "details": { "id": id.to_string() }, "message": message, "status": "success" })
        }
        Err(refusal) => refusal.object(),
    }
}

fn answered(rows: &[Value]) -> Reply {
    let done = rows.iter().filter(|row| row["code"] == "SUCCESS").count();
    let status = match done {
        0 => 400,
        done if done < rows.len() => 207,
        _ => 200,
    };
    Reply::json(status, &json!({ "data": rows })).wrote(done)
}

/// `PUT` and `DELETE` under `/{module}/{id}/Products`, for many or for one.
pub(super) fn relate_products(
    state: &mut State,
    request: &Request<'_>,
    module: &str,
    id: &str,
    product: Option<&str>,
) -> Answer {
    let schema = state.module(module, 0)?;
    request.may(schema, Right::Update)?;
    if !has_products(schema) {
        return Err(Refusal::wrong_url());
    }
    let parent = existing(state, request, module, id, 1)?;
    let listed: Vec<String> = match (request.call.method.as_str(), product) {
        (_, Some(product)) => vec![product.to_owned()],
        ("PUT", None) => {
            request.rows()?.iter().map(|row| id_of(row).unwrap_or(0).to_string()).collect()
        }
        (_, None) => {
            let ids = request.call.query("ids").ok_or_else(|| Refusal::param_missing("ids"))?;
            ids.split(',').map(|id| id.trim().to_owned()).collect()
        }
    };
    let mut rows = Vec::new();
    for text in listed {
        let product = existing(state, request, "Products", &text, 3)
            .map_err(|_| Refusal::invalid_id(json!({ "id": text })));
        rows.push(match request.call.method.as_str() {
            "PUT" => {
                let tied = product.inspect(|product| {
                    state.relations.products.insert((parent, *product));
                });
                related(tied, "relation added")
            }
            "DELETE" => {
                let held = product.and_then(|product| {
                    let held = state.relations.products.remove(&(parent, product));
                    let unknown = || Refusal::invalid_id(json!({ "id": text }));
                    if held { Ok(product) } else { Err(unknown()) }
                });
                related(held, "relation removed")
            }
            _ => return Err(Refusal::wrong_verb()),
        });
    }
    Ok(answered(&rows))
}

/// Id and name of each contact role.
fn roles(contacts: &Module) -> impl Iterator<Item = (u64, &'static str)> {
    let first = contacts.layout + 900_000_000;
    (first..).zip(ROLES)
}

/// `GET /Contacts/roles`.
pub(super) fn contact_roles(state: &State, request: &Request<'_>) -> Answer {
    let contacts = state.module("Contacts", 0)?;
    request.may_read(contacts)?;
    let rows: Vec<Value> = roles(contacts)
        .zip(1..)
        .map(
            |((id, name), at)| json!({ "id": id.to_string(), "name": name, "sequence_number": at }),
        )
        .collect();
    Ok(Reply::json(200, &json!({ "contact_roles": rows })))
}

/// All verbs under `/Deals/{id}/Contact_Roles`.
pub(super) fn roles_of_deal(
    state: &mut State,
    request: &Request<'_>,
    deal: &str,
    contact: Option<&str>,
) -> Answer {
    let method = request.call.method.as_str();
    let right = if method == "GET" { Right::Read } else { Right::Update };
    request.may(state.module("Deals", 0)?, right)?;
    let deal = existing(state, request, "Deals", deal, 1)?;
    match (method, contact) {
        ("GET", _) => shown_roles(state, request, deal, contact),
        ("PUT", Some(contact)) => {
            let role = request.rows()?.first().and_then(|row| id_of(row.get("Contact_Role")?));
            let contacts = state.module("Contacts", 0)?;
            let role = role.filter(|role| roles(contacts).any(|(id, _)| id == *role));
            let role =
                role.ok_or_else(|| Refusal::mandatory("Contact_Role", "$.data[0].Contact_Role"))?;
            let contact = existing(state, request, "Contacts", contact, 3)?;
            state.relations.roles.insert((deal, contact), role);
            Ok(answered(&[related(Ok(contact), "contact role added")]))
        }
        ("DELETE", _) => {
            let ids = contact.or_else(|| request.call.query("ids"));
            let ids = ids.ok_or_else(|| Refusal::param_missing("ids"))?;
            let mut rows = Vec::new();
            for text in ids.split(',').map(str::trim) {
                let id = text.parse().unwrap_or(0);
                let held = state.relations.roles.remove(&(deal, id)).is_some();
                let unknown = || Refusal::invalid_id(json!({ "id": text }));
                let outcome = if held { Ok(id) } else { Err(unknown()) };
                rows.push(related(outcome, "contact role removed"));
            }
            Ok(answered(&rows))
        }
        _ => Err(Refusal::wrong_verb()),
    }
}

fn shown_roles(state: &State, request: &Request<'_>, deal: u64, contact: Option<&str>) -> Answer {
    let contacts = state.module("Contacts", 0)?;
    let renderer = super::render::Renderer {
        state,
        module: contacts,
        zone: &request.zone,
        depth: super::render::Depth::List,
    };
    let fields = if contact.is_none() { request.fields()? } else { Vec::new() };
    let tied = state.relations.roles.range((deal, 0)..=(deal, u64::MAX));
    let wanted = tied.filter(|((_, id), _)| contact.is_none_or(|text| text == id.to_string()));
    let rows: Vec<Value> = wanted
        .filter_map(|((_, id), role)| Some((contacts.table.get(*id)?, *role)))
        .map(|(row, role)| {
            let mut shown = renderer.selected(row, &fields);
            shown["name"] = contacts.display_name(&row.fields);
            let name = roles(contacts).find(|(id, _)| *id == role).map(|(_, name)| name);
            shown["Contact_Role"] = json!({ "name": name, "id": role.to_string() });
            shown
        })
        .collect();
    if rows.is_empty() {
        return Ok(Reply::empty(204));
    }
    let info = json!({
        "per_page": 200, "count": rows.len(), "page": 1, "more_records": false,
        "next_page_token": null, "previous_page_token": null, "page_token_expiry": null,
    });
    Ok(Reply::json(200, &json!({ "data": rows, "info": info })))
}
