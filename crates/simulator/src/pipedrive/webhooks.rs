//! Webhooks: subscriptions, and the queue of events on their way.
//!
//! Source: Pipedrive, "Webhooks v2 guide".

#![expect(clippy::unnecessary_wraps, reason = "handlers share one signature")]

use std::collections::BTreeMap;
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::kind::Kind;
use super::refusal::Refusal;
use super::routes::{Ctx, Outcome};
use super::rules::draw;
use super::state::{Actor, Source, State, uuid};
use super::table::{Millis, Version};
use super::time;
use super::time::DAY;
use crate::host::Reply;

const MAX_HOOKS: usize = 40;
/// Waits before the second, third and fourth attempt.
const RETRIES: [Millis; 3] = [3_000, 30_000, 150_000];
const STRIKES: u32 = 10;
const BAN: Millis = 30 * 60_000;
const DRY: Millis = 3 * DAY;

/// What the network does to events between the server and the subscriber.
#[derive(Clone, Debug, Default)]
pub struct WebhookWeather {
    pub lost_per_mille: u64,
    pub doubled_per_mille: u64,
    /// Longest wait before the first attempt; waits are drawn, so events overtake one another.
    pub delay: TimeDelta,
}

#[derive(Clone, Debug)]
pub(super) struct Hook {
    pub(super) id: i64,
    pub(super) user: i64,
    action: String,
    object: String,
    pub(super) url: String,
    name: String,
    pub(super) login: Option<(String, String)>,
    added: Millis,
    is_app: bool,
    strikes: u32,
    banned_until: Millis,
    last_delivery: Option<Millis>,
    last_status: Option<u16>,
    /// First failure since the last success.
    dry_since: Option<Millis>,
}

/// An event on its way to one subscriber.
#[derive(Clone, Debug)]
pub(super) struct Delivery {
    pub(super) hook: i64,
    pub(super) due: Millis,
    /// 1 for the first.
    pub(super) attempt: usize,
    pub(super) payload: Value,
}

/// The two records of the merge that is going on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trail {
    pub(super) loser: i64,
    pub(super) survivor: i64,
}

pub(super) struct Webhooks {
    hooks: BTreeMap<i64, Hook>,
    last_id: i64,
    pub(super) queue: Vec<Delivery>,
    pub(super) trail: Option<Trail>,
    pub(super) weather: WebhookWeather,
    dice: u64,
    /// Events given up: lost by the weather, by a ban, after the last attempt.
    pub(super) lost: usize,
}

impl Webhooks {
    pub(super) fn new(seed: u64) -> Self {
        let queue = Vec::new();
        Self {
            hooks: BTreeMap::new(),
            last_id: 90_000,
            queue,
            trail: None,
            weather: WebhookWeather::default(),
            dice: seed | 1,
            lost: 0,
        }
    }

    /// Removes the app's webhooks.
    pub(super) fn uninstall(&mut self) {
        self.hooks.retain(|_, hook| !hook.is_app);
    }

    pub(super) fn hook(&self, id: i64) -> Option<&Hook> {
        self.hooks.get(&id)
    }

    fn post(&mut self, hook: i64, payload: &Value, now: Millis) {
        let banned = self.hooks.get(&hook).is_none_or(|hook| hook.banned_until > now);
        if banned || draw(&mut self.dice) % 1_000 < self.weather.lost_per_mille {
            self.lost += 1;
            return;
        }
        let copies = 1 + usize::from(draw(&mut self.dice) % 1_000 < self.weather.doubled_per_mille);
        let longest = u64::try_from(self.weather.delay.num_milliseconds()).unwrap_or(0);
        for _ in 0..copies {
            let wait = Millis::try_from(draw(&mut self.dice) % (longest + 1)).unwrap_or(0);
            self.queue.push(Delivery {
                hook,
                due: now + wait,
                attempt: 1,
                payload: payload.clone(),
            });
        }
    }

    /// Takes the deliveries whose time has come, the oldest first.
    pub(super) fn take_due(&mut self, now: Millis) -> Vec<Delivery> {
        let (mut due, waiting): (Vec<_>, Vec<_>) =
            self.queue.drain(..).partition(|delivery| delivery.due <= now);
        self.queue = waiting;
        due.sort_by_key(|delivery| delivery.due);
        due
    }

    /// Books the outcome of an attempt: `status` 0 means no answer.
    pub(super) fn settle(&mut self, delivery: Delivery, status: u16, now: Millis) {
        let Some(hook) = self.hooks.get_mut(&delivery.hook) else { return };
        (hook.last_delivery, hook.last_status) = (Some(now), Some(status));
        if (200..300).contains(&status) {
            hook.dry_since = None;
            return;
        }
        let dry_since = *hook.dry_since.get_or_insert(now);
        if delivery.attempt == 1 {
            hook.strikes += 1;
            if hook.strikes == STRIKES {
                (hook.strikes, hook.banned_until) = (0, now + BAN);
            }
        }
        if now - dry_since >= DRY {
            self.hooks.remove(&delivery.hook);
            return;
        }
        match RETRIES.get(delivery.attempt - 1) {
            Some(wait) => self.queue.push(Delivery {
                due: now + wait,
                attempt: delivery.attempt + 1,
                ..delivery
            }),
            None => self.lost += 1,
        }
    }
}

impl State {
    /// Queues an event for every webhook that wants it and whose user sees the record.
    pub(super) fn announce(
        &mut self,
        kind: Kind,
        id: i64,
        before: Option<&Version>,
        by: &Actor,
        now: Millis,
    ) {
        if self.webhooks.hooks.is_empty() {
            return;
        }
        let Some(record) = self.record(kind, id) else { return };
        let action = match before {
            None => "create",
            Some(before) if record.version.deleted && !before.deleted => "delete",
            Some(_) => "change",
        };
        let wanted = self.webhooks.hooks.values().filter(|hook| {
            hook.takes(action, kind.singular())
                && self.sees(hook.user, kind, record, &record.version)
        });
        let hooks: Vec<i64> = wanted.map(|hook| hook.id).collect();
        if hooks.is_empty() {
            return;
        }
        let (data, previous) = self.event_states(kind, &record.version, before, action);
        let entity_id =
            record.version.body["id"].as_str().map_or_else(|| id.to_string(), Into::into);
        let mut meta = self.event_meta(action, kind.singular(), &entity_id, by, now);
        if let Some(trail) = self.webhooks.trail {
            match action {
                "delete" => meta["merged_to_id"] = trail.survivor.to_string().into(),
                _ => meta["merged_from_id"] = trail.loser.to_string().into(),
            }
        }
        self.post(&hooks, &meta, &json!({ "data": data, "previous": previous }), now);
    }

    /// A user's event: a deactivation comes as a change.
    pub(super) fn announce_user(
        &mut self,
        id: i64,
        action: &str,
        previous: &Value,
        by: &Actor,
        now: Millis,
    ) {
        let hooks: Vec<i64> = self
            .webhooks
            .hooks
            .values()
            .filter(|hook| hook.takes(action, "user"))
            .map(|hook| hook.id)
            .collect();
        let Some(user) = self.user(id).filter(|_| !hooks.is_empty()) else { return };
        let mut data = self.user_json(user, id, now);
        data["id"] = id.to_string().into();
        data["lang"] = "en-US".into();
        data["access"] = Value::Null;
        let mut meta = self.event_meta(action, "user", &id.to_string(), by, now);
        meta["id"] = id.to_string().into();
        meta["timestamp"] = (now / 1000).into();
        if let Some(meta) = meta.as_object_mut() {
            meta.remove("permitted_user_ids");
        }
        self.post(&hooks, &meta, &json!({ "data": data, "previous": previous }), now);
    }

    fn post(&mut self, hooks: &[i64], meta: &Value, states: &Value, now: Millis) {
        for id in hooks {
            let owner = self.webhooks.hook(*id).map(|hook| hook.user.to_string());
            let mut meta = meta.clone();
            meta["webhook_id"] = id.to_string().into();
            meta["webhook_owner_id"] = owner.into();
            let payload =
                json!({ "meta": meta, "data": states["data"], "previous": states["previous"] });
            self.webhooks.post(*id, &payload, now);
        }
    }

    fn event_meta(
        &mut self,
        action: &str,
        entity: &str,
        id: &str,
        by: &Actor,
        now: Millis,
    ) -> Value {
        let (event, correlation) = (self.draw_uuid(), uuid(&self.draw("correlation")));
        let company = &self.settings.company;
        let users: Vec<String> = self
            .users
            .values()
            .filter(|user| user.active)
            .map(|user| user.id.to_string())
            .collect();
        let source_type =
            if matches!(by.source, Source::App(_)) { "application" } else { "general" };
        json!({ "action": action, "entity": entity, "entity_id": id, "company_id": company.id.to_string(),
            "correlation_id": correlation, "id": event, "is_bulk_edit": false, "timestamp": time::exact(now), "type": source_type,
            "user_id": by.user.to_string(), "version": "2.0", "change_source": by.source.word(), "attempt": 1,
            "host": format!("{}.pipedrive.com", company.domain), "permitted_user_ids": users })
    }

    fn hook_json(&self, hook: &Hook) -> Value {
        let sealed = |text: Option<&str>| {
            text.map(|text| format!("v1u:{}", &blake3::hash(text.as_bytes()).to_hex()[..24]))
        };
        let login = hook.login.as_ref();
        json!({ "id": hook.id, "company_id": self.settings.company.id, "owner_id": hook.user, "user_id": hook.user,
            "event_action": hook.action, "event_object": hook.object, "subscription_url": hook.url, "version": "2.0", "is_active": 1,
            "add_time": time::exact(hook.added), "remove_time": null, "type": if hook.is_app { "application" } else { "general" },
            "http_auth_user": sealed(login.map(|(user, _)| user.as_str())), "http_auth_password": sealed(login.map(|(_, password)| password.as_str())),
            "remove_reason": null, "last_delivery_time": hook.last_delivery.map(time::exact), "last_http_status": hook.last_status,
            "admin_id": hook.user, "name": hook.name })
    }
}

impl Hook {
    fn takes(&self, action: &str, object: &str) -> bool {
        (self.action == "*" || self.action == action)
            && (self.object == "*" || self.object == object)
    }
}

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
