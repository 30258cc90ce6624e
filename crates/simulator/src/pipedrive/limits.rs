//! The daily token budget, the burst windows, and the headers that tell of them.
//!
//! Source: Pipedrive, "Rate limiting".

use std::collections::{BTreeMap, VecDeque};

use super::auth::Caller;
use super::refusal::Refusal;
use super::settings::{Settings, ThrottleBody};
use super::state::Source;
use super::table::Millis;
use super::time::DAY;
use crate::host::Reply;

const WINDOW: Millis = 2_000;
const SEARCHES: u64 = 10;
/// Quiet time after which a blocked token is let in again.
const BLOCK: Millis = 60_000;

/// What has been used.
#[derive(Clone, Debug, Default)]
pub(super) struct Meter {
    day: i64,
    used: u64,
    calls: BTreeMap<(String, bool), VecDeque<Millis>>,
    /// 429s in a row and the time of the last, per token.
    refusals: BTreeMap<String, (u32, Millis)>,
}

/// Figures for the headers of one answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gauge {
    pub(super) limit: u64,
    pub(super) remaining: u64,
    pub(super) daily: u64,
    pub(super) daily_remaining: u64,
}

fn daily(settings: &Settings) -> u64 {
    let company = &settings.company;
    settings.limits.daily_tokens.unwrap_or(company.plan.daily_tokens() * company.seats)
}

fn burst(settings: &Settings, caller: Option<&Caller>, is_search: bool) -> u64 {
    let base = settings.limits.burst.unwrap_or(settings.company.plan.burst());
    let is_app = caller.is_some_and(|caller| matches!(caller.actor.source, Source::App(_)));
    match (is_search, is_app) {
        (true, _) => SEARCHES,
        (false, true) => base * 4,
        (false, false) => base,
    }
}

impl Meter {
    fn turn(&mut self, settings: &Settings, now: Millis) {
        let day = (now - settings.switches.budget_reset.num_milliseconds()).div_euclid(DAY);
        if day != self.day {
            (self.day, self.used) = (day, 0);
        }
    }

    /// Figures without charging anything.
    pub(super) fn gauge(
        &mut self,
        settings: &Settings,
        caller: Option<&Caller>,
        is_search: bool,
        now: Millis,
    ) -> Gauge {
        self.turn(settings, now);
        let limit = burst(settings, caller, is_search);
        let window = caller.and_then(|caller| self.calls.get(&(caller.token.clone(), is_search)));
        let calls = window
            .map_or(0, |calls| calls.iter().filter(|time| **time > now - WINDOW).count() as u64);
        let daily = daily(settings);
        if !settings.limits.on {
            return Gauge { limit, remaining: limit, daily, daily_remaining: daily };
        }
        Gauge {
            limit,
            remaining: limit.saturating_sub(calls),
            daily,
            daily_remaining: daily.saturating_sub(self.used),
        }
    }

    /// Lets a call in and charges it, or refuses it. Without limits it only keeps the account.
    pub(super) fn admit(
        &mut self,
        settings: &Settings,
        caller: &Caller,
        cost: u64,
        is_search: bool,
        now: Millis,
    ) -> Result<(), Reply> {
        self.turn(settings, now);
        if !settings.limits.on {
            self.used += cost;
            return Ok(());
        }
        if let Some((count, last)) = self.refusals.get_mut(&caller.token)
            && caller.scopes.is_none()
            && *count >= settings.limits.patience
            && now - *last < BLOCK
        {
            *last = now;
            return Err(blocked());
        }
        let limit = burst(settings, Some(caller), is_search);
        let calls = self.calls.entry((caller.token.clone(), is_search)).or_default();
        while calls.front().is_some_and(|time| *time <= now - WINDOW) {
            calls.pop_front();
        }
        let over_burst = calls.len() as u64 >= limit;
        let over_budget = self.used >= daily(settings);
        if over_burst || over_budget {
            let refusals = self.refusals.entry(caller.token.clone()).or_default();
            *refusals = (refusals.0 + 1, now);
            return Err(throttled(settings, over_budget));
        }
        calls.push_back(now);
        self.refusals.remove(&caller.token);
        self.used += cost;
        Ok(())
    }

    /// Takes back what a free refusal was charged.
    pub(super) fn refund(&mut self, cost: u64) {
        self.used = self.used.saturating_sub(cost);
    }

    pub(super) fn used(&self) -> u64 {
        self.used
    }

    /// Uses the day's budget up but for `left` tokens.
    pub(super) fn drain(&mut self, settings: &Settings, left: u64, now: Millis) {
        self.turn(settings, now);
        self.used = daily(settings).saturating_sub(left);
    }
}

fn throttled(settings: &Settings, over_budget: bool) -> Reply {
    let reply = match settings.switches.throttle_body {
        ThrottleBody::Gateway => Refusal::gateway(429, "Request over limit").reply(),
        ThrottleBody::Empty => Reply::empty(429),
        ThrottleBody::Html => page(429, "Too many requests"),
    };
    if settings.limits.retry_after && !over_budget {
        reply.header("retry-after", "2")
    } else {
        reply
    }
}

fn blocked() -> Reply {
    page(403, "Access denied | Error 1015 | Ray ID: 8c1f0e2d3b4a5968 | Cloudflare")
}

fn page(status: u16, title: &str) -> Reply {
    let body = format!(
        "<!DOCTYPE html><html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>"
    );
    Reply { body: body.into(), ..Reply::empty(status) }
        .header("content-type", "text/html; charset=UTF-8")
}
