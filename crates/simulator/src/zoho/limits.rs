//! Credits: what a call costs and what is left of the rolling day.
//!
//! Source: Zoho CRM API v8, "API limits".

use std::collections::VecDeque;

use serde_json::{Value, json};

use super::refusal::Refusal;

/// Whether the organisation runs out of credits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limits {
    /// Costs are counted and never refused.
    Off,
    /// Credits per rolling 24 hours.
    Credits(u64),
}

const DAY: i64 = 24 * 60 * 60 * 1_000;

#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) limits: Limits,
    /// Millisecond and cost of each charge within the last day.
    charges: VecDeque<(i64, u64)>,
    used: u64,
}

impl Ledger {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, charges: VecDeque::new(), used: 0 }
    }

    /// Takes `cost` credits; gives what is left once half of the day's credits is used.
    pub(super) fn charge(&mut self, now: i64, cost: u64) -> Result<Option<u64>, Refusal> {
        let Limits::Credits(allowance) = self.limits else { return Ok(None) };
        while let Some(&(_, spent)) = self.charges.front().filter(|(at, _)| *at <= now - DAY) {
            self.charges.pop_front();
            self.used -= spent;
        }
        if self.used + cost > allowance {
            let message = "You have reached the maximum number of API credits for the day";
            return Err(Refusal::new(429, "TOO_MANY_REQUESTS", message, json!({})));
        }
        self.used += cost;
        self.charges.push_back((now, cost));
        Ok((self.used * 2 >= allowance).then(|| allowance - self.used))
    }

    pub(super) fn used(&self) -> u64 {
        self.used
    }
}

/// Credits of one call, by its place and its body.
pub(super) fn price(method: &str, segments: &[&str], cvid: bool, body: Option<&Value>) -> u64 {
    let rows = |key: &str| {
        body.and_then(|body| body.get(key)).and_then(Value::as_array).map_or(1, Vec::len) as u64
    };
    match (method, segments) {
        ("GET", [_]) if cvid => 3,
        ("POST", ["coql"]) => coql_price(body),
        (_, [_, .., "actions", "convert"]) => 5,
        ("POST", ["bulk", "read"]) | (_, [_, .., "actions", "merge"]) => 50,
        (_, [_, .., "actions", "add_tags" | "remove_tags"]) => rows("ids").div_ceil(50),
        (_, ["settings" | "actions" | "org" | "users" | "files" | "bulk", ..]) => 1,
        ("POST" | "PUT", _) => rows("data").clamp(1, 100).div_ceil(10),
        _ => 1,
    }
}

/// 1 up to 200 rows asked for, 2 up to 1,000, 3 beyond.
fn coql_price(body: Option<&Value>) -> u64 {
    let query =
        body.and_then(|body| body.get("select_query")).and_then(Value::as_str).unwrap_or_default();
    match super::coql::limit_of(query) {
        0..=200 => 1,
        201..=1_000 => 2,
        _ => 3,
    }
}
