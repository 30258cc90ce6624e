//! The world around the program: two servers, people at work, time, and what goes wrong between them.

use std::collections::BTreeSet;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use crmsync_core::model::{Pair, Side};
use crmsync_simulator::fault::Fault;
use crmsync_simulator::host::{Call, Outcome, Reply, meet, pairs, take_effect};
use serde_json::Value;

use crate::clockwork::Clockwork;
use crate::crms::{Crms, Kind, Shown, Who, text};
use crate::dice::Dice;
use crate::ledger::{Author, Ledger};
use crate::people;
use crate::process::ADDRESSES;
use crate::trace::Trace;
use crate::weather::{Families, Strike, clock_errors, strike};

pub(crate) struct World {
    pub(crate) crms: Crms,
    pub(crate) clocks: Clockwork,
    pub(crate) ledger: Ledger,
    pub(crate) trace: Trace,
    pub(crate) families: Families,
    pub(crate) people: Dice,
    pub(crate) chance: Dice,
    /// Of 1,000 calls, how many are struck; of 1,000 moments around calls, in how many a person acts.
    pub(crate) storm: u64,
    pub(crate) bustle: u64,
    /// Rows that a page holds at most.
    pub(crate) page: usize,
    pub(crate) addresses: Pair<String>,
    /// Calls that take effect later.
    late: Vec<(DateTime<Utc>, Side, Call)>,
    words: u64,
    pub(crate) ids: u64,
    pub(crate) calls: u64,
    /// Moments of the last run.
    pub(crate) moments: u64,
    /// A workflow rewrites names of accounts a while after each write.
    pub(crate) automated: bool,
    pub(crate) locked: Vec<(Side, String)>,
    /// Clocks that stepped back; ours is `None`.
    pub(crate) stepped_back: Vec<Option<Side>>,
    /// Zoho takes no telephone number that is longer than nothing much.
    pub(crate) short_phones: bool,
}

/// What the client gets of a call.
pub(crate) enum Met {
    Unsent,
    Lost,
    Answered(Reply),
}

impl World {
    pub(crate) fn new(seed: u64, families: Families, keeps_trace: bool) -> Self {
        let mut chance = Dice::new(seed, "chance");
        let starts = [
            "2026-03-02T09:00:00Z",
            // Both switches of daylight saving in Europe, and one in America.
            "2026-03-28T23:40:00Z",
            "2026-10-24T23:40:00Z",
            "2026-11-01T05:20:00Z",
        ];
        let start = if families.contains(&7) { *chance.pick(&starts) } else { starts[0] };
        let [ours, left, right] = clock_errors(&mut chance, &families);
        let clocks = Clockwork::new(start.parse().unwrap(), ours, Pair::new(left, right));
        Self {
            crms: Crms::new(&clocks, seed),
            clocks,
            ledger: Ledger::default(),
            trace: Trace::new(keeps_trace),
            people: Dice::new(seed, "people"),
            chance,
            families,
            storm: 0,
            bustle: 0,
            page: 500,
            addresses: Pair::new(ADDRESSES[0].to_owned(), ADDRESSES[1].to_owned()),
            late: Vec::new(),
            words: 0,
            ids: 0,
            calls: 0,
            moments: 0,
            automated: false,
            locked: Vec::new(),
            stepped_back: Vec::new(),
            short_phones: false,
        }
    }

    pub(crate) fn has(&self, family: u8) -> bool {
        self.families.contains(&family)
    }

    pub(crate) fn note(&mut self, what: impl FnOnce() -> String) {
        let at = self.clocks.truth();
        self.trace.note(at, what);
    }

    /// Lets time pass; what was late takes effect on its way.
    pub(crate) fn pass(&mut self, by: TimeDelta) {
        let until = self.clocks.truth() + by;
        loop {
            let due = self.late.iter().map(|(at, _, _)| *at).min().filter(|at| *at <= until);
            let Some(at) = due else { break };
            let place = self.late.iter().position(|(due, _, _)| *due == at).unwrap();
            let (_, side, call) = self.late.remove(place);
            self.clocks.advance((at - self.clocks.truth()).max(TimeDelta::zero()));
            self.note(|| format!("late: {} {}", call.method, call.path));
            take_effect(self.crms.services()[side].as_ref(), &call);
            self.account_for(side, &call, None, Author::EngineLate);
            for who in named(side, &call, None) {
                self.ledger.reopen(Some(&who));
            }
        }
        self.clocks.advance((until - self.clocks.truth()).max(TimeDelta::zero()));
    }

    /// Which server a call is for, and the call as that server reads it.
    pub(crate) fn taken_apart(&self, call: http::Request<Bytes>) -> (Side, Call) {
        let (head, body) = call.into_parts();
        let authority = head.uri.authority().map(ToString::to_string).unwrap_or_default();
        let is_right = self.addresses.right.ends_with(&authority);
        let side = if is_right { Side::Right } else { Side::Left };
        let call = Call {
            method: head.method.as_str().to_owned(),
            path: head.uri.path().to_owned(),
            query: pairs(head.uri.query().unwrap_or_default()),
            headers: head.headers,
            body,
            origin: self.addresses[side].clone(),
            fault: None,
        };
        (side, call)
    }

    /// Answers a call of the program.
    pub(crate) fn serve(&mut self, side: Side, mut call: Call) -> Met {
        self.calls += 1;
        self.moment();
        self.shrink_page(&mut call);
        let strike = strike(&mut self.chance, &self.families, side, &call, self.storm);
        if matches!(strike, Some(Strike::Unsent)) {
            self.note(|| format!("{} {} cannot be sent", call.method, call.path));
            return Met::Unsent;
        }
        if let Some(Strike::Server(fault)) = strike {
            call.fault = Some(fault);
        }
        self.note_read(side, &call);
        let outcome = meet(self.crms.services()[side].as_ref(), &call);
        self.note(|| format!("{side} {}", told(&call, &outcome)));
        let reply = match &outcome {
            Outcome::Answered(reply) => Some(reply),
            Outcome::Closed | Outcome::Later(_) => None,
        };
        if let Outcome::Later(after) = &outcome {
            let at = self.clocks.truth() + TimeDelta::from_std(*after).unwrap();
            self.late.push((at, side, call.clone()));
        }
        self.account_for(side, &call, reply, Author::Engine);
        if call.method != "GET" && leaves_doubt(&call, &outcome) {
            self.doubt(side, &call);
        }
        if matches!(call.fault, Some(Fault::StatusesMissing { .. } | Fault::PartialRows { .. })) {
            for who in named(side, &call, None) {
                self.ledger.untold(&who);
            }
        }
        self.moment();
        match outcome {
            Outcome::Answered(reply) if !reply.headers.contains_key("x-simulator-truncated") => {
                Met::Answered(reply)
            }
            Outcome::Answered(_) | Outcome::Closed | Outcome::Later(_) => Met::Lost,
        }
    }

    /// A little time passes around a call, and people do not wait for it.
    fn moment(&mut self) {
        let pause = self.chance.between(20, 250);
        self.pass(TimeDelta::milliseconds(pause));
        if self.automated {
            people::look_again(self, Side::Left, Kind::Account);
        }
        if self.people.chance(self.bustle) {
            people::act(self);
        }
    }

    /// F5: pages hold few rows.
    fn shrink_page(&self, call: &mut Call) {
        if call.query("ids").is_some() {
            return;
        }
        for (key, value) in &mut call.query {
            let asked = value.parse::<usize>().ok();
            if matches!(key.as_str(), "per_page" | "limit")
                && let Some(asked) = asked
                && Kind::ALL.iter().any(|kind| {
                    Side::BOTH.iter().any(|side| call.path.ends_with(kind.module(*side)))
                })
            {
                *value = asked.min(self.page).to_string();
            }
        }
    }

    fn note_read(&mut self, side: Side, call: &Call) {
        if call.method != "GET" {
            return;
        }
        self.ledger.tick += 1;
        for who in named(side, call, None) {
            self.ledger.read_by_id(who);
        }
    }

    /// What a call changed, as the account sees it.
    fn account_for(&mut self, side: Side, call: &Call, reply: Option<&Reply>, author: Author) {
        let Some(kind) = kind_of(side, call).filter(|_| call.method != "GET") else { return };
        let mut all: BTreeSet<_> = named(side, call, reply).into_iter().collect();
        if call.method == "POST" {
            all.extend(self.crms.all(side, kind).into_iter().map(|(who, _)| who));
        }
        for who in all {
            let now = self.crms.get(&who);
            if let Some(change) = change(self.ledger.shown.get(&who), now.as_ref()) {
                self.note(|| format!("program: {who} {change}"));
            }
            self.ledger.observe(&who, now, author, self.clocks.truth());
        }
    }

    fn doubt(&mut self, side: Side, call: &Call) {
        let at = self.clocks.truth();
        let sources = sources(side, call);
        for who in named(side, call, None).into_iter().chain(sources) {
            self.ledger.doubt(&who, at);
        }
    }

    /// The program died with this call under way.
    pub(crate) fn died_in(&mut self, side: Side, call: &Call) {
        if call.method != "GET" {
            self.doubt(side, call);
        }
    }

    /// A person acted on a record.
    pub(crate) fn acted(&mut self, who: &Who, what: &str) {
        self.note(|| format!("person: {what} {who}"));
        let now = self.crms.get(who);
        self.ledger.edits_made += 1;
        self.ledger.observe(who, now, Author::Person, self.clocks.truth());
    }

    /// A word that nobody used before.
    pub(crate) fn word(&mut self) -> u64 {
        self.words += 1;
        self.words
    }
}

/// What became of a record, for people to read.
fn change(before: Option<&Shown>, now: Option<&Shown>) -> Option<String> {
    match (before, now) {
        (None, Some(now)) => Some(format!("made: {} for {}", now.units.join(", "), now.external)),
        (Some(_), None) => Some("deleted".into()),
        (Some(before), Some(now)) if before != now => {
            let units = before.units.iter().zip(&now.units).filter(|(old, new)| old != new);
            let told: Vec<_> = units.map(|(old, new)| format!("{old} → {new}")).collect();
            Some(format!("changed: {}", told.join(", ")))
        }
        (Some(_), Some(_)) | (None, None) => None,
    }
}

fn told(call: &Call, outcome: &Outcome) -> String {
    let ids = call.query("ids").map(|ids| format!("?ids={ids}")).unwrap_or_default();
    let fault = call.fault.as_ref().map(short).unwrap_or_default();
    let outcome = match outcome {
        Outcome::Answered(reply) => reply.status.to_string(),
        Outcome::Closed => "closed".into(),
        Outcome::Later(after) => format!("closed, takes effect in {after:?}"),
    };
    format!("{} {}{ids} → {outcome}{fault}", call.method, call.path)
}

fn short(fault: &Fault) -> String {
    let text = format!("{fault:?}");
    let name: String = text.chars().take_while(|c| c.is_alphanumeric()).collect();
    format!(" [{name}]")
}

/// Whether the client cannot know what became of the call.
fn leaves_doubt(call: &Call, outcome: &Outcome) -> bool {
    if call.path.starts_with("/oauth") {
        return false;
    }
    match outcome {
        Outcome::Closed | Outcome::Later(_) => true,
        Outcome::Answered(reply) => {
            reply.status >= 500 || reply.headers.contains_key("x-simulator-truncated")
        }
    }
}

/// The kind that a call is about.
fn kind_of(side: Side, call: &Call) -> Option<Kind> {
    call.segments().iter().find_map(|segment| Kind::of_module(side, segment))
}

/// Records that a call names: in its path, its query, its body or its answer.
fn named(side: Side, call: &Call, reply: Option<&Reply>) -> Vec<Who> {
    let Some(kind) = kind_of(side, call) else { return Vec::new() };
    let mut ids: BTreeSet<String> = BTreeSet::new();
    if let Some(list) = call.query("ids") {
        ids.extend(list.split(',').map(str::to_owned));
    }
    let segments = call.segments();
    let last = segments.last().filter(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    ids.extend(last.cloned());
    if call.method != "GET" {
        ids.extend(ids_in(&call.body, "id"));
        ids.extend(reply.into_iter().flat_map(|reply| ids_in(&reply.body, "id")));
    }
    let one = |id: String| Who { side, kind, id };
    ids.into_iter().filter(|id| id.bytes().all(|byte| byte.is_ascii_digit())).map(one).collect()
}

/// Rows of `data`, and of `data[].details`, by one of their keys.
fn ids_in(body: &[u8], key: &str) -> Vec<String> {
    let Ok(body) = serde_json::from_slice::<Value>(body) else { return Vec::new() };
    let data = &body["data"];
    let rows: Vec<&Value> = match data {
        Value::Array(rows) => rows.iter().collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
        Value::Object(_) => vec![data],
    };
    let each = rows.into_iter().flat_map(|row| [&row[key], &row["details"][key]]);
    each.filter(|id| !id.is_null()).map(text).collect()
}

/// Sources of the creates in a call: what its rows' external IDs name.
fn sources(side: Side, call: &Call) -> Vec<Who> {
    let Some(kind) = kind_of(side, call).filter(|_| call.method == "POST") else {
        return Vec::new();
    };
    let Ok(body) = serde_json::from_slice::<Value>(&call.body) else { return Vec::new() };
    let mut ids: Vec<String> = match side {
        Side::Left => ids_in(&call.body, "Pipedrive_ID"),
        Side::Right => {
            let custom = body["custom_fields"].as_object();
            custom.into_iter().flatten().map(|(_, value)| text(value)).collect()
        }
    };
    ids.retain(|id| !id.is_empty());
    ids.into_iter().map(|id| Who { side: side.other(), kind, id }).collect()
}
