//! Modules, layouts, pipelines, related lists.

use serde_json::{Value, json};

use super::defaults;
use super::fields::{field_object, named_module};
use super::oauth::Right;
use super::refusal::{Answer, Refusal};
use super::request::Request;
use super::schema::{Access, Module};
use super::state::State;
use crate::host::Reply;

/// `GET /settings/modules` and `GET /settings/modules/{api_name}`.
pub(super) fn modules(state: &State, request: &Request<'_>, name: Option<&str>) -> Answer {
    request.access.require("settings", "modules", Right::Read)?;
    let present = state.modules.values().filter(|module| module.rules.access != Access::Absent);
    let listed: Vec<Value> = present
        .filter(|module| {
            name.is_none_or(|name| module.api_name == name || module.id.to_string() == name)
        })
        .enumerate()
        .map(|(at, module)| module_object(state, module, at))
        .collect();
    if listed.is_empty() {
        return Err(Refusal::module(2));
    }
    Ok(Reply::json(200, &json!({ "modules": listed })))
}

fn module_object(state: &State, module: &Module, at: usize) -> Value {
    let notes = module.api_name == "Notes";
    json!({
        "id": module.id.to_string(),
        "api_name": module.api_name,
        "module_name": module.tab,
        "singular_label": module.singular,
        "plural_label": module.plural,
        "actual_singular_label": module.singular,
        "actual_plural_label": module.plural,
        "generated_type": if module.custom { "custom" } else { "default" },
        "api_supported": true,
        "creatable": true,
        "editable": true,
        "deletable": true,
        "viewable": true,
        "convertable": module.api_name == "Leads",
        "quick_create": !notes,
        "status": "visible",
        "visibility": 1,
        "sequence_number": at + 1,
        "parent_module": {},
        "modified_time": null,
        "modified_by": null,
        "profiles": profiles(state),
        "has_more_profiles": false,
        "profile_count": 2,
        "private_profile": null,
        "access_type": "org_based",
        "recycle_bin_on_delete": true,
        "description": null,
        "feeds_required": false,
        "show_as_tab": !notes,
        "presence_sub_menu": !notes,
        "sub_menu_available": !notes,
        "isBlueprintSupported": !notes,
        "business_card_field_limit": 5,
        "web_link": null,
        "arguments": [],
    })
}

fn profiles(state: &State) -> Value {
    json!([{ "name": "Administrator", "id": state.profile(true) }, { "name": "Standard", "id": state.profile(false) }])
}

/// `GET /settings/layouts?module=` and `GET /settings/layouts/{id}?module=`.
pub(super) fn layouts(state: &State, request: &Request<'_>, id: Option<&str>) -> Answer {
    request.access.require("settings", "layouts", Right::Read)?;
    let module = named_module(state, request)?;
    if id.is_some_and(|id| module.layout.to_string() != id) {
        return Ok(Reply::empty(204));
    }
    let fields: Vec<Value> = module
        .fields
        .iter()
        .filter(|field| !field.unseen)
        .enumerate()
        .map(|(at, field)| {
            let mut object = field_object(state, request, module, field);
            object["required"] = field.mandatory.into();
            object["sequence_number"] = (at + 1).into();
            object
        })
        .collect();
    let section = json!({
        "api_name": format!("{} Information", module.singular), "display_label": format!("{} Information", module.singular),
        "name": format!("{} Information", module.singular), "sequence_number": 1, "isSubformSection": false, "tab_traversal": 2,
        "type": "used", "column_count": 2, "generated_type": "default", "properties": null, "fields": fields,
    });
    let layout = json!({
        "id": module.layout.to_string(), "name": "Standard", "api_name": "Standard", "display_label": "Standard",
        "status": "active", "visible": true, "source": "crm", "generated_type": "default", "has_more_profiles": false,
        "created_time": null, "modified_time": null, "created_by": null, "modified_by": null, "created_for": null,
        "mode": "view", "show_business_card": true, "display_type": -1, "profiles": profiles(state),
        "convert_mapping": {}, "sections": [section], "actions_allowed": null,
    });
    Ok(Reply::json(200, &json!({ "layouts": [layout] })))
}

/// `GET /settings/pipeline?layout_id=` and `GET /settings/pipeline/{id}?layout_id=`.
pub(super) fn pipeline(state: &State, request: &Request<'_>, id: Option<&str>) -> Answer {
    request.access.require("settings", "pipeline", Right::Read)?;
    let deals = state.module("Deals", 0)?;
    let layout =
        request.call.query("layout_id").ok_or_else(|| Refusal::param_missing("layout_id"))?;
    if layout != deals.layout.to_string() {
        return Err(Refusal::invalid_param("layout_id"));
    }
    let stages = deals.field("Stage").map(|field| field.options.clone()).unwrap_or_default();
    let maps: Vec<Value> = stages
        .iter()
        .enumerate()
        .map(|(at, stage)| {
            let (kind, _) = defaults::stage(&stage.actual);
            let category = if kind == "Open" { "Pipeline" } else { "Closed" };
            json!({
                "display_value": stage.display, "actual_value": stage.actual, "sequence_number": at + 1, "colour_code": null,
                "forecast_category": { "name": category, "id": (deals.id + 900 + u64::from(kind == "Open")).to_string() },
                "forecast_type": kind, "id": stage.id.to_string(), "delete": false,
            })
        })
        .collect();
    let pipelines: Vec<Value> = deals
        .field("Pipeline")
        .map(|field| &field.options)
        .into_iter()
        .flatten()
        .enumerate()
        .filter(|(_, option)| id.is_none_or(|id| option.id.to_string() == id))
        .map(|(at, option)| {
            json!({
                "display_value": option.display, "actual_value": option.actual, "default": at == 0,
                "id": option.id.to_string(), "maps": maps, "child_available": false, "parent": null,
            })
        })
        .collect();
    if pipelines.is_empty() {
        return Ok(Reply::empty(204));
    }
    Ok(Reply::json(200, &json!({ "pipeline": pipelines })))
}

/// `GET /settings/related_lists?module=`.
pub(super) fn related_lists(state: &State, request: &Request<'_>) -> Answer {
    request.access.require("settings", "related_lists", Right::Read)?;
    let module = named_module(state, request)?;
    let lists = super::related::lists_of(state, module);
    let listed: Vec<Value> = lists
        .iter()
        .enumerate()
        .map(|(at, (name, target))| {
            json!({
                "api_name": name, "display_label": name.replace('_', " "), "name": name,
                "href": format!("{}/{{ENTITYID}}/{name}", module.api_name),
                "module": { "api_name": target.api_name, "id": target.id.to_string() },
                "type": "default", "connectedmodule": null, "linkingmodule": null, "action": null, "personality_name": null,
                "sequence_number": (at + 1).to_string(), "status": "visible", "id": (module.layout + 700_000_000 + at as u64).to_string(),
            })
        })
        .collect();
    if listed.is_empty() {
        return Ok(Reply::empty(204));
    }
    Ok(Reply::json(200, &json!({ "related_lists": listed })))
}

/// `GET /settings/custom_views?module=` and `GET /settings/custom_views/{id}?module=`: the view of all records.
pub(super) fn custom_views(state: &State, request: &Request<'_>, id: Option<&str>) -> Answer {
    request.access.require("settings", "custom_views", Right::Read)?;
    let module = named_module(state, request)?;
    let own = (module.layout + 800_000_000).to_string();
    if id.is_some_and(|id| id != own) {
        return Ok(Reply::empty(204));
    }
    let name = format!("All {}", module.plural);
    let shown = module.field(&module.name_field);
    let fields: Vec<Value> = shown
        .into_iter()
        .map(|field| json!({ "api_name": field.api_name, "id": field.id.to_string(), "_pin": false }))
        .collect();
    let view = json!({
        "id": own, "name": name, "display_value": name, "system_name": "ALLVIEWS", "system_defined": true,
        "default": true, "category": "public_views", "access_type": "public", "favorite": null, "offline": true, "locked": false,
        "criteria": null, "shared_to": null, "sort_by": null, "sort_order": null, "fields": fields,
        "module": { "api_name": module.api_name, "id": module.id.to_string() },
        "created_time": null, "created_by": null, "modified_time": null, "modified_by": null, "last_accessed_time": null,
    });
    let info = json!({ "per_page": 200, "default": own, "count": 1, "page": 1, "more_records": false,
        "translation": { "public_views": "Public Views", "other_users_views": "Other Users' Views", "shared_with_me": "Shared with Me", "created_by_me": "Created by Me" } });
    Ok(Reply::json(200, &json!({ "custom_views": [view], "info": info })))
}
