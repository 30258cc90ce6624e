//! Webhooks: subscriptions, and the queue of events on their way.
//!
//! Source: Pipedrive, "Webhooks v2 guide".

use std::collections::BTreeMap;

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::kind::Kind;
use super::rules::draw;
use super::state::{Actor, Source, State, uuid};
use super::table::{Millis, Version};
use super::time;
use super::time::DAY;

pub(super) const MAX_HOOKS: usize = 40;
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
    pub(super) action: String,
    pub(super) object: String,
    pub(super) url: String,
    pub(super) name: String,
    pub(super) login: Option<(String, String)>,
    pub(super) added: Millis,
    pub(super) is_app: bool,
    pub(super) strikes: u32,
    pub(super) banned_until: Millis,
    pub(super) last_delivery: Option<Millis>,
    pub(super) last_status: Option<u16>,
    /// First failure since the last success.
    pub(super) dry_since: Option<Millis>,
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
    pub(super) hooks: BTreeMap<i64, Hook>,
    pub(super) last_id: i64,
    pub(super) queue: Vec<Delivery>,
    pub(super) trail: Option<Trail>,
    /// Whether a bulk edit is going on.
    pub(super) bulk: bool,
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
            bulk: false,
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
        let permitted: Vec<String> =
            self.permitted(kind, record).iter().map(ToString::to_string).collect();
        let (data, previous) = self.event_states(kind, &record.version, before, action);
        let entity_id =
            record.version.body["id"].as_str().map_or_else(|| id.to_string(), Into::into);
        let mut meta = self.event_meta(action, kind.singular(), &entity_id, by, now);
        meta["permitted_user_ids"] = permitted.into();
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
        let source_type =
            if matches!(by.source, Source::App(_)) { "application" } else { "general" };
        json!({ "action": action, "entity": entity, "entity_id": id, "company_id": company.id.to_string(),
            "correlation_id": correlation, "id": event, "is_bulk_edit": self.webhooks.bulk, "timestamp": time::exact(now), "type": source_type,
            "user_id": by.user.to_string(), "version": "2.0", "change_source": by.source.word(), "attempt": 1,
            "host": format!("{}.pipedrive.com", company.domain) })
    }

    pub(super) fn hook_json(&self, hook: &Hook) -> Value {
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
