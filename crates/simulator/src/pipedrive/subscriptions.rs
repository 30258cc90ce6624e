//! Webhooks as v1 manages them: create with a probe of the URL, list, delete.

#![expect(clippy::unnecessary_wraps, reason = "handlers share one signature")]

use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use serde_json::{Value, json};

use super::refusal::Refusal;
use super::routes::{Ctx, Outcome};
use super::state::{Source, State};
use super::webhooks::{Hook, MAX_HOOKS};
use crate::host::Reply;

fn refused(field: &str, text: &str) -> Refusal {
    Refusal {
        status: 400,
        body: json!({ "status": "error", "success": false, "errors": { field: [text] } }),
    }
}

/// Whether something listens at a URL.
fn is_reachable(url: &reqwest::Url) -> bool {
    let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
        return false;
    };
    let addresses = (host.trim_matches(['[', ']']), port).to_socket_addrs().into_iter().flatten();
    addresses
        .into_iter()
        .any(|address| TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok())
}

fn is_loopback(url: &reqwest::Url) -> bool {
    url.host_str()
        .is_some_and(|host| host == "localhost" || host.starts_with("127.") || host == "[::1]")
}

const OBJECTS: [&str; 17] = [
    "*",
    "activity",
    "deal",
    "lead",
    "note",
    "organization",
    "person",
    "pipeline",
    "product",
    "stage",
    "user",
    "deal_product",
    "deal_installment",
    "project",
    "task",
    "board",
    "phase",
];

/// `POST /v1/webhooks`
pub(super) fn create(state: &mut State, ctx: &Ctx) -> Outcome {
    ctx.admin(state)?;
    let given = ctx.object()?;
    let text = |key: &str| given.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (action, object, name) = (text("event_action"), text("event_object"), text("name"));
    if !["create", "change", "delete", "*"].contains(&action.as_str()) {
        return Err(refused("event_action", "invalid event action"));
    }
    if !OBJECTS.contains(&object.as_str()) {
        return Err(refused("event_object", "invalid event object"));
    }
    if name.is_empty() || name.chars().count() > 255 {
        return Err(refused("name", "must be between 1 and 255 characters"));
    }
    let unreachable = || refused("subscription_url", "invalid or non-reachable URL");
    let url: reqwest::Url = text("subscription_url").parse().map_err(|_| unreachable())?;
    // A loopback subscriber stands for a public one, which must speak HTTPS.
    if url.scheme() != "https" && !is_loopback(&url) {
        return Err(Refusal::gateway(403, "Scope and URL mismatch"));
    }
    let is_pipedrive = url.host_str().is_some_and(|host| host.ends_with("pipedrive.com"));
    if is_pipedrive || (state.settings.switches.probe_webhooks && !is_reachable(&url)) {
        return Err(unreachable());
    }
    let user = given.get("user_id").and_then(Value::as_i64).unwrap_or(ctx.by.user);
    let is_app = matches!(ctx.by.source, Source::App(_));
    if state
        .webhooks
        .hooks
        .values()
        .filter(|hook| hook.user == user && hook.is_app == is_app)
        .count()
        >= MAX_HOOKS
    {
        return Err(Refusal::new(422, "Webhooks limit reached"));
    }
    let login = given
        .get("http_auth_user")
        .and_then(Value::as_str)
        .map(|user| (user.to_owned(), text("http_auth_password")));
    state.webhooks.last_id += 1;
    let hook = Hook {
        id: state.webhooks.last_id,
        user,
        action,
        object,
        url: url.into(),
        name,
        login,
        added: ctx.now,
        is_app,
        strikes: 0,
        banned_until: 0,
        last_delivery: None,
        last_status: None,
        dry_since: None,
    };
    let data = state.hook_json(&hook);
    state.webhooks.hooks.insert(hook.id, hook);
    Ok(Reply::json(201, &json!({ "status": "ok", "success": true, "data": data })))
}

/// `GET /v1/webhooks`: an app sees its own, a token those of the company.
pub(super) fn list(state: &mut State, ctx: &Ctx) -> Outcome {
    let is_app = matches!(ctx.by.source, Source::App(_));
    let hooks = state.webhooks.hooks.values().filter(|hook| hook.is_app == is_app);
    let data: Vec<_> = hooks.map(|hook| state.hook_json(hook)).collect();
    Ok(Reply::json(200, &json!({ "status": "ok", "success": true, "data": data })))
}

/// `DELETE /v1/webhooks/{id}`
pub(super) fn delete(state: &mut State, ctx: &Ctx) -> Outcome {
    let id = ctx.arg(0).parse().unwrap_or(0);
    if state.webhooks.hooks.remove(&id).is_none() {
        let body =
            json!({ "status": "error", "success": false, "errors": { "id": ["not found"] } });
        return Err(Refusal { status: 404, body });
    }
    Ok(Reply::json(200, &json!({ "status": "ok", "success": true })))
}
