//! Pipedrive, API v2 and the parts that only v1 has.
//!
//! One company per [`Pipedrive`]: records, field metadata, users, credentials, limits and webhooks behind
//! one lock. It answers as the documentation says; where that is silent, [`Switches`] decide. Read
//! `paths.rs` for what there is, `write.rs` for how records change, `list.rs` for how they are read, and
//! `backdoor.rs` for what a test or a person in the web UI may do. Nothing here helps a client along.

mod attached;
mod auth;
mod backdoor;
mod beside;
mod comments;
mod deals;
mod delivery;
mod derive;
mod dialect;
mod entities;
mod feeds;
mod fields;
mod fields_api;
mod fields_v1;
mod files;
mod filters;
mod followers;
mod kind;
mod limits;
mod list;
mod merge;
mod page;
mod participants;
mod paths;
mod payload;
mod pricing;
mod query;
mod refusal;
mod relationships;
mod render;
mod retired;
mod routes;
mod rules;
mod schema;
mod search;
mod settings;
mod small;
mod state;
mod subscriptions;
mod table;
mod time;
mod v1;
mod validate;
mod values;
mod webhooks;
mod write;

use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};

use self::auth::Caller;
use self::limits::Gauge;
use self::refusal::Refusal;
use self::routes::{Ctx, Found, Route, Routes};
use self::state::State;
use self::table::Millis;
use crate::fault::{Fault, Faults};
use crate::host::{Call, Reply, Service};
use crate::traffic::Traffic;

pub use self::kind::Kind;
pub use self::rules::Loss;
pub use self::settings::{
    Absence, App, BadCursor, Company, Limits, Plan, Settings, Switches, ThrottleBody, UnknownLink,
};
pub use self::webhooks::WebhookWeather;

/// A simulated Pipedrive company with its API and OAuth server.
pub struct Pipedrive {
    state: Mutex<State>,
    routes: Routes,
    clock: crate::clock::Clock,
    faults: Faults,
    traffic: Traffic,
}

impl Pipedrive {
    /// Founds a company: one user, the built-in fields, a pipeline with five stages.
    pub fn new(settings: Settings) -> Self {
        let clock = settings.clock.clone();
        Self {
            state: Mutex::new(State::new(settings)),
            routes: Routes::new(),
            clock,
            faults: Faults::default(),
            traffic: Traffic::default(),
        }
    }

    pub fn clock(&self) -> &crate::clock::Clock {
        &self.clock
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer_api(
        &self,
        state: &mut State,
        call: &Call,
        caller: &Caller,
        now: Millis,
    ) -> (Reply, bool) {
        let segments = call.segments();
        let Some((version, path)) = version(&segments, state.settings.switches.short_v2_paths)
        else {
            return (Refusal::gateway(404, "Not found").reply(), false);
        };
        match self.routes.find(version, &call.method, path) {
            Found::Nothing => (Refusal::gateway(404, "Not found").reply(), false),
            Found::WrongVerb => (Refusal::gateway(405, "Method not allowed").reply(), false),
            Found::Route(route, args) => {
                (run(state, call, caller, route, args, now), route.is_search)
            }
        }
    }
}

/// API version and the path under it.
fn version(segments: &[String], short_v2: bool) -> Option<(u8, &[String])> {
    let texts: Vec<&str> = segments.iter().take(2).map(String::as_str).collect();
    match texts.as_slice() {
        ["api", "v2"] => Some((2, &segments[2..])),
        ["api", "v1"] => Some((1, &segments[2..])),
        ["v1", ..] => Some((1, &segments[1..])),
        ["v2", ..] if short_v2 => Some((2, &segments[1..])),
        _ => None,
    }
}

fn run(
    state: &mut State,
    call: &Call,
    caller: &Caller,
    route: &Route,
    args: Vec<String>,
    now: Millis,
) -> Reply {
    if let Err(reply) = state.meter.admit(&state.settings, caller, route.cost, route.is_search, now)
    {
        return reply;
    }
    if !caller.may(&route.scopes) {
        return Refusal::gateway(403, "Scope and URL mismatch").reply().charged(route.cost);
    }
    if route.is_retired && state.settings.switches.retired_v1_gone {
        return Refusal::new(410, "This endpoint is no longer available")
            .reply()
            .charged(route.cost);
    }
    let as_of = match &call.fault {
        Some(Fault::Stale { by }) => {
            Some(now - TimeDelta::from_std(*by).map_or(0, |by| by.num_milliseconds()))
        }
        _ => None,
    };
    let ctx = Ctx { call, args, by: caller.actor.clone(), kind: route.kind, now, as_of };
    match (route.run)(state, &ctx) {
        Ok(reply) => reply.charged(route.cost),
        Err(refusal) if state.settings.switches.charge_refusals => {
            refusal.reply().charged(route.cost)
        }
        Err(refusal) => {
            state.meter.refund(route.cost);
            refusal.reply()
        }
    }
}

/// Headers that every answer carries. Source: recorded answers of the live API.
fn dress(state: &mut State, reply: Reply, gauge: Gauge) -> Reply {
    let tag = blake3::hash(&reply.body).to_hex();
    let correlation = state.draw_uuid();
    let reply = reply
        .header("x-ratelimit-limit", gauge.limit.to_string())
        .header("x-ratelimit-remaining", gauge.remaining.to_string())
        .header("x-ratelimit-reset", "2")
        .header("x-correlation-id", correlation)
        .header("cache-control", "no-cache");
    let etag = format!("W/\"{:x}-{}\"", reply.body.len(), &tag[..27]);
    let reply = reply.header("etag", etag);
    if !state.settings.switches.daily_headers {
        return reply;
    }
    reply
        .header("x-daily-ratelimit-token-limit", gauge.daily.to_string())
        .header("x-daily-ratelimit-token-remaining", gauge.daily_remaining.to_string())
}

impl Service for Pipedrive {
    fn answer(&self, call: &Call) -> Reply {
        let state = &mut *self.state();
        let now = state.now();
        state.sweep(now);
        if call.path.starts_with("/oauth/") {
            return state.oauth(call, now);
        }
        // The gateway looks at the credential before anything else.
        let (reply, caller, is_search) = match state.caller(call, now) {
            Err(refusal) if refusal.status == 401 => {
                (refusal.reply().header("x-401-by-gw", "true"), None, false)
            }
            Err(refusal) => (refusal.reply(), None, false),
            Ok(caller) => {
                let (reply, is_search) = self.answer_api(state, call, &caller, now);
                (reply, Some(caller), is_search)
            }
        };
        let State { meter, settings, .. } = state;
        let gauge = meter.gauge(settings, caller.as_ref(), is_search, now);
        dress(state, reply, gauge)
    }

    fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    fn faults(&self) -> &Faults {
        &self.faults
    }

    fn traffic(&self) -> &Traffic {
        &self.traffic
    }
}
