//! From a call to its handler: authorization, credits, path, verb.

use serde_json::{Value, json};

use super::actions::Fate;
use super::oauth::Right;
use super::refusal::{Answer, Refusal};
use super::request::Request;
use super::state::State;
use super::times::ZoneClock;
use super::transform::Tagging;
use super::{
    actions, attachments, bulk, channels, coql, fields, limits, lists, metadata, organisation,
    related, rows, search, tags,
};
use crate::host::{Call, Reply};

pub(super) fn answer(state: &mut State, call: &Call) -> Reply {
    let segments = call.segments();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let reply = match segments[..] {
        ["oauth", "v2", "auth"] => consent(state, call),
        ["oauth", "v2", "token"] => oauth(state, call),
        ["oauth", "v2", "token", "revoke"] => Ok(state.tokens.revocation(call)),
        ["crm", "bulk", version, ref rest @ ..] if is_version(version) => {
            let rest: Vec<&str> = ["bulk"].into_iter().chain(rest.iter().copied()).collect();
            crm(state, call, &rest)
        }
        ["crm", version, ref rest @ ..] if is_version(version) && !rest.is_empty() => {
            crm(state, call, rest)
        }
        _ => Err(Refusal::wrong_url()),
    };
    reply.unwrap_or_else(|refusal| refused(state, &refusal))
}

fn oauth(state: &mut State, call: &Call) -> Answer {
    if call.method != "POST" {
        return Err(Refusal::wrong_verb());
    }
    let (now, switches) = (state.now(), state.switches.clone());
    Ok(state.tokens.token(call, now, &switches))
}

/// The page where a person allows an app its scopes.
fn consent(state: &mut State, call: &Call) -> Answer {
    if call.method != "GET" {
        return Err(Refusal::wrong_verb());
    }
    let (now, user) = (state.now(), state.api_user);
    Ok(state.tokens.authorization(call, user, now))
}

fn is_version(segment: &str) -> bool {
    matches!(segment, "v2" | "v2.1" | "v3" | "v4" | "v5" | "v6" | "v7" | "v8")
}

/// A failed precondition is answered as a row; two codes of authorization vary by switch.
fn refused(state: &State, refusal: &Refusal) -> Reply {
    match refusal.code {
        "ALREADY_MODIFIED" => Reply::json(412, &json!({ "data": [refusal.object()] })),
        "OAUTH_SCOPE_MISMATCH" => {
            Reply::json(state.switches.scope_mismatch_status, &refusal.object())
        }
        "INVALID_TOKEN" if state.switches.invalid_token_is_failure => {
            Refusal::new(401, "AUTHENTICATION_FAILURE", "Authentication failed", json!({})).reply()
        }
        _ => refusal.reply(),
    }
}

fn crm(state: &mut State, call: &Call, rest: &[&str]) -> Answer {
    let now = state.now();
    let access = state.tokens.caller(call, now)?;
    let body: Option<Value> = serde_json::from_slice(&call.body).ok();
    let cost = match rest {
        [_, "deleted"] => state.switches.deleted_feed_credits,
        _ => limits::price(&call.method, rest, call.query("cvid").is_some(), body.as_ref()),
    };
    let left = state.ledger.charge(now, cost)?;
    let zone = ZoneClock::new(state.zone(access.user));
    let mut request = Request { call, access, zone, body };
    let outcome = route(state, &mut request, rest);
    let reply = outcome.unwrap_or_else(|refusal| refused(state, &refusal)).charged(cost);
    Ok(match left {
        Some(left) => reply.header("x-api-credits-remaining", left.to_string()),
        None => reply,
    })
}

fn route(state: &mut State, request: &mut Request<'_>, rest: &[&str]) -> Answer {
    let method = request.call.method.as_str();
    match *rest {
        ["org" | "users" | "settings", ..] => settings(state, request, rest),
        ["actions", "watch"] => channels::watch(state, request),
        ["bulk", ..] => bulk::route(state, request, rest),
        ["files"] if method == "POST" => attachments::store(state, request),
        ["files"] => only(method, "GET", || attachments::fetch(state, request)),
        ["Contacts", "roles"] => only(method, "GET", || related::contact_roles(state, request)),
        ["coql"] => only(method, "POST", || coql::run(state, request)),
        [module] => match method {
            "GET" => lists::list(state, request, module),
            "POST" => rows::insert(state, request, module),
            "PUT" => rows::update(state, request, module, None),
            "DELETE" => rows::delete(state, request, module, None),
            _ => Err(Refusal::wrong_verb()),
        },
        [module, "search"] => only(method, "GET", || search::search(state, request, module)),
        [module, "actions", "count"] => {
            only(method, "GET", || search::count(state, request, module))
        }
        [module, "deleted"] => only(method, "GET", || lists::deleted(state, request, module)),
        [module, "upsert"] => only(method, "POST", || rows::upsert(state, request, module)),
        [module, id] => match method {
            "GET" => lists::single(state, request, module, id),
            "PUT" => rows::update(state, request, module, Some(id)),
            "DELETE" => rows::delete(state, request, module, Some(id)),
            _ => Err(Refusal::wrong_verb()),
        },
        ["Leads", id, "actions", "convert"] => {
            only(method, "POST", || actions::convert(state, request, id))
        }
        [module, "actions", "fetch_full_data"] => {
            only(method, "GET", || actions::full_data(state, request, module, None))
        }
        [module, "actions", action] => {
            only(method, "POST", || tagged(state, request, module, None, action))
        }
        [module, id, "actions", "merge"] => {
            only(method, "POST", || actions::merge(state, request, module, id))
        }
        [module, id, "actions", "clone"] => {
            only(method, "POST", || actions::clone(state, request, module, id))
        }
        [module, id, "actions", "fetch_full_data"] => {
            only(method, "GET", || actions::full_data(state, request, module, Some(id)))
        }
        [module, id, "actions", action] => {
            only(method, "POST", || tagged(state, request, module, Some(id), action))
        }
        [module, id, "__timeline"] => {
            only(method, "GET", || actions::timeline(state, request, module, id))
        }
        [module, id, "Attachments"] => attachments::all(state, request, module, id),
        [module, id, "Attachments", attachment] => {
            attachments::one(state, request, module, id, attachment)
        }
        [module, id, "photo"] => attachments::photo(state, request, module, id),
        ["Leads", id, "__conversion_options"] => {
            only(method, "GET", || actions::conversion_options(state, request, id))
        }
        ["Deals", id, "Contact_Roles"] => related::roles_of_deal(state, request, id, None),
        ["Deals", id, "Contact_Roles", contact] => {
            related::roles_of_deal(state, request, id, Some(contact))
        }
        [module, id, "Products"] if method != "GET" => {
            related::relate_products(state, request, module, id, None)
        }
        [module, id, "Products", product] if method != "GET" => {
            related::relate_products(state, request, module, id, Some(product))
        }
        [module, id, "Notes"] if method != "GET" => {
            related::write_notes(state, request, module, id, None)
        }
        [module, id, "Notes", note] => related::write_notes(state, request, module, id, Some(note)),
        [module, id, list] => {
            only(method, "GET", || related::list(state, request, module, id, list))
        }
        _ => Err(Refusal::wrong_url()),
    }
}

fn tagged(
    state: &mut State,
    request: &Request<'_>,
    module: &str,
    id: Option<&str>,
    action: &str,
) -> Answer {
    match action {
        "add_tags" => actions::tags(state, request, module, id, Tagging::Add),
        "remove_tags" => actions::tags(state, request, module, id, Tagging::Remove),
        _ => Err(Refusal::wrong_url()),
    }
}

fn settings(state: &mut State, request: &Request<'_>, rest: &[&str]) -> Answer {
    let method = request.call.method.as_str();
    match *rest {
        ["org"] => only(method, "GET", || organisation::org(state, request)),
        ["org", "currencies"] => only(method, "GET", || organisation::currencies(state, request)),
        ["users"] => only(method, "GET", || organisation::users(state, request, None)),
        ["users", "actions", "count"] => {
            only(method, "GET", || organisation::user_count(state, request))
        }
        ["users", id] => only(method, "GET", || organisation::users(state, request, Some(id))),
        ["settings", "modules"] => only(method, "GET", || metadata::modules(state, request, None)),
        ["settings", "modules", name] => {
            only(method, "GET", || metadata::modules(state, request, Some(name)))
        }
        ["settings", "fields"] if method == "POST" => fields::create_fields(state, request),
        ["settings", "fields"] => only(method, "GET", || fields::fields(state, request, None)),
        ["settings", "fields", id] => {
            only(method, "GET", || fields::fields(state, request, Some(id)))
        }
        ["settings", "layouts"] => only(method, "GET", || metadata::layouts(state, request, None)),
        ["settings", "layouts", id] => {
            only(method, "GET", || metadata::layouts(state, request, Some(id)))
        }
        ["settings", "custom_views"] => {
            only(method, "GET", || metadata::custom_views(state, request, None))
        }
        ["settings", "custom_views", id] => {
            only(method, "GET", || metadata::custom_views(state, request, Some(id)))
        }
        ["settings", "recycle_bin"] if method == "DELETE" => {
            actions::empty_bin(state, request, None, Fate::Purge)
        }
        ["settings", "recycle_bin"] => only(method, "GET", || actions::bin(state, request, None)),
        ["settings", "recycle_bin", "actions", "restore"] => {
            only(method, "POST", || actions::empty_bin(state, request, None, Fate::Restore))
        }
        ["settings", "recycle_bin", id, "actions", "restore"] => {
            only(method, "POST", || actions::empty_bin(state, request, Some(id), Fate::Restore))
        }
        ["settings", "recycle_bin", id] if method == "GET" => {
            actions::bin(state, request, Some(id))
        }
        ["settings", "recycle_bin", id] => {
            only(method, "DELETE", || actions::empty_bin(state, request, Some(id), Fate::Purge))
        }
        ["settings", "roles"] => only(method, "GET", || organisation::roles(state, request, None)),
        ["settings", "roles", id] => {
            only(method, "GET", || organisation::roles(state, request, Some(id)))
        }
        ["settings", "profiles"] => {
            only(method, "GET", || organisation::profiles(state, request, None))
        }
        ["settings", "profiles", id] => {
            only(method, "GET", || organisation::profiles(state, request, Some(id)))
        }
        ["settings", "tags"] => tags::all(state, request),
        ["settings", "tags", id] => tags::one(state, request, id),
        ["settings", "tags", id, "actions", "records_count"] => {
            only(method, "GET", || tags::count(state, request, id))
        }
        ["settings", "pipeline"] => {
            only(method, "GET", || metadata::pipeline(state, request, None))
        }
        ["settings", "pipeline", id] => {
            only(method, "GET", || metadata::pipeline(state, request, Some(id)))
        }
        ["settings", "territories", ..] => only(method, "GET", || {
            request.access.require("settings", "territories", Right::Read)?;
            let message = "territory is not enabled";
            Err(Refusal::new(403, "TERRITORY_NOT_ENABLED", message, json!({})))
        }),
        ["settings", "related_lists"] => {
            only(method, "GET", || metadata::related_lists(state, request))
        }
        _ => Err(Refusal::wrong_url()),
    }
}

fn only(method: &str, allowed: &str, handle: impl FnOnce() -> Answer) -> Answer {
    if method == allowed { handle() } else { Err(Refusal::wrong_verb()) }
}
