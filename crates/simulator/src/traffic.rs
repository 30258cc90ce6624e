//! What was called and what it cost: the simulators' own account, to hold a client's figures against.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// One answered call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub method: String,
    /// Path without the query.
    pub path: String,
    /// Query as sent; credentials are cut out by the server that logs it.
    pub query: String,
    /// 0 when the caller got no answer.
    pub status: u16,
    /// Credits (Zoho) or tokens (Pipedrive).
    pub cost: u64,
    /// Records written by the call.
    pub written: usize,
}

/// The calls of one server since the last [`Traffic::reset`]. Clones share the log.
#[derive(Clone, Debug, Default)]
pub struct Traffic(Arc<Mutex<Log>>);

#[derive(Debug, Default)]
struct Log {
    entries: Vec<Entry>,
    calls: u64,
    cost: u64,
    written: u64,
    busy: Duration,
}

/// Entries kept with their text; totals go on beyond it.
const KEPT: usize = 100_000;

impl Traffic {
    pub fn record(&self, entry: Entry) {
        let mut log = self.log();
        log.calls += 1;
        log.cost += entry.cost;
        log.written += entry.written as u64;
        if log.entries.len() < KEPT {
            log.entries.push(entry);
        }
    }

    pub fn entries(&self) -> Vec<Entry> {
        self.log().entries.clone()
    }

    pub fn calls(&self) -> u64 {
        self.log().calls
    }

    pub fn cost(&self) -> u64 {
        self.log().cost
    }

    /// Records written since the last reset: 0 proves a quiet run.
    pub fn written(&self) -> u64 {
        self.log().written
    }

    /// Adds time that the server spent on an answer.
    pub fn add_busy(&self, time: Duration) {
        self.log().busy += time;
    }

    /// Time spent on answers, without the transport.
    pub fn busy(&self) -> Duration {
        self.log().busy
    }

    /// Calls per `METHOD path`, with record ids replaced by `{id}`.
    pub fn by_route(&self) -> BTreeMap<String, u64> {
        let mut routes = BTreeMap::new();
        for entry in &self.log().entries {
            *routes.entry(format!("{} {}", entry.method, generic(&entry.path))).or_default() += 1;
        }
        routes
    }

    pub fn reset(&self) {
        *self.log() = Log::default();
    }

    fn log(&self) -> std::sync::MutexGuard<'_, Log> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn generic(path: &str) -> String {
    let is_id = |segment: &str| !segment.is_empty() && segment.chars().all(|c| c.is_ascii_digit());
    path.split('/')
        .map(|segment| if is_id(segment) { "{id}" } else { segment })
        .collect::<Vec<_>>()
        .join("/")
}
