//! Server rules a test switches on: lost rights, silent truncation, refused options, automations, late rows.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use chrono::TimeDelta;
use serde_json::{Map, Value};

use super::kind::Kind;
use super::refusal::Refusal;
use super::state::State;
use super::table::Millis;
use super::validate::Input;

/// How a lost right shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Lists are empty, records answer 404.
    Rows,
    /// Every call answers 403.
    Forbidden,
}

/// An automation: what to change after a write, given the v2 entity.
pub(super) type Script = Box<dyn Fn(&Value) -> Option<Value> + Send>;

pub(super) struct Automation {
    pub(super) kind: Kind,
    pub(super) after: TimeDelta,
    pub(super) script: Script,
}

/// Rows that lists show later than their second says, about `per_mille` of 1,000 writes.
struct LateRows {
    per_mille: u64,
    by: Millis,
    state: u64,
}

#[derive(Default)]
pub(super) struct Rules {
    pub(super) lost: BTreeMap<Kind, Loss>,
    /// Longest text a field keeps, silently.
    pub(super) lengths: BTreeMap<(Kind, String), usize>,
    /// Longest text a field takes without a refusal.
    pub(super) caps: BTreeMap<(Kind, String), usize>,
    /// Fields that must be set on create.
    pub(super) required: BTreeSet<(Kind, String)>,
    /// Values a field refuses.
    pub(super) refused: Vec<(Kind, String, Value)>,
    /// Records that only the web UI can write.
    pub(super) locked: BTreeSet<(Kind, i64)>,
    pub(super) automations: Vec<Automation>,
    due: VecDeque<(Millis, usize, Kind, i64)>,
    late: Option<LateRows>,
    /// Automations do not set off automations.
    running: bool,
}

impl Rules {
    pub(super) fn be_late(&mut self, seed: u64, per_mille: u64, by: TimeDelta) {
        self.late = Some(LateRows { per_mille, by: by.num_milliseconds(), state: seed | 1 });
    }

    /// How much later the next write shows in lists.
    pub(super) fn commit_delay(&mut self) -> Option<Millis> {
        let late = self.late.as_mut()?;
        (draw(&mut late.state) % 1_000 < late.per_mille).then_some(late.by)
    }
}

/// xorshift64*, the same on every machine.
pub(super) fn draw(state: &mut u64) -> u64 {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
}

impl State {
    /// Applies rules that strike before a write: refusals and truncation.
    pub(super) fn bend(&self, kind: Kind, input: &mut Input) -> Result<(), Refusal> {
        for (_, field, value) in self.rules.refused.iter().filter(|(refused, ..)| *refused == kind)
        {
            let given = input.body.get(field).or_else(|| input.custom.get(field));
            let hit = given.is_some_and(|given| {
                given == value || given.as_array().is_some_and(|items| items.contains(value))
            });
            if hit {
                return Err(Refusal::invalid(field, &format!("Value {value} is not allowed")));
            }
        }
        for ((_, field), length) in
            self.rules.caps.iter().filter(|((capped, _), _)| *capped == kind)
        {
            let given =
                input.body.get(field).or_else(|| input.custom.get(field)).and_then(Value::as_str);
            if given.is_some_and(|text| text.chars().count() > *length) {
                return Err(Refusal::invalid(
                    field,
                    &format!("The value is longer than {length} characters"),
                ));
            }
        }
        for ((_, field), length) in
            self.rules.lengths.iter().filter(|((limited, _), _)| *limited == kind)
        {
            for map in [&mut input.body, &mut input.custom] {
                shorten(map, field, *length);
            }
        }
        Ok(())
    }

    /// Refuses a create that lacks a field made mandatory, through the web UI or the Fields API.
    pub(super) fn demand(&self, kind: Kind, input: &Input) -> Result<(), Refusal> {
        let by_metadata = self.fields_of(kind).iter().filter(|field| {
            self.settings.switches.enforce_required && field.required["enabled"] == true
        });
        let by_rule = self.rules.required.iter().filter(|(demanding, _)| *demanding == kind);
        let mut codes = by_metadata.map(|field| &field.code).chain(by_rule.map(|(_, code)| code));
        let is_set = |code: &String| {
            input
                .body
                .get(code)
                .or_else(|| input.custom.get(code))
                .is_some_and(|value| !value.is_null())
        };
        let missing = codes.find(|code| !is_set(code));
        missing.map_or(Ok(()), |code| Err(Refusal::invalid(code, "Required field is missing")))
    }

    /// Sets off the automations of a kind.
    pub(super) fn after_write(&mut self, kind: Kind, id: i64, now: Millis) {
        if self.rules.running {
            return;
        }
        if let Some(delay) = self.settings.switches.geocoding.filter(|_| kind == Kind::Organization)
        {
            self.rules.due.push_back((now + delay.num_milliseconds(), usize::MAX, kind, id));
        }
        let due = self
            .rules
            .automations
            .iter()
            .enumerate()
            .filter(|(_, automation)| automation.kind == kind);
        let due: Vec<_> = due
            .map(|(index, automation)| (now + automation.after.num_milliseconds(), index, kind, id))
            .collect();
        self.rules.due.extend(due);
        self.run_due_rules(now);
    }

    /// Runs automations whose time has come, as a person in the web UI would edit.
    pub(super) fn run_due_rules(&mut self, now: Millis) {
        if self.rules.running || self.rules.due.is_empty() {
            return;
        }
        let (ready, waiting): (VecDeque<_>, VecDeque<_>) =
            self.rules.due.drain(..).partition(|(time, ..)| *time <= now);
        self.rules.due = waiting;
        self.rules.running = true;
        for (_, index, kind, id) in ready {
            if let Some(edit) = self.scripted(index, kind, id) {
                let by = self.web();
                // An automation that writes nonsense does nothing, as in the web UI.
                let _ = self.change(kind, id, &edit, &by, now);
            }
        }
        self.rules.running = false;
    }

    fn scripted(&self, index: usize, kind: Kind, id: i64) -> Option<Map<String, Value>> {
        let record = self.live(kind, id)?;
        let entity = Value::from(self.entity(kind, &record.version));
        if index == usize::MAX {
            return geocoded(&entity);
        }
        let edit = (self.rules.automations.get(index)?.script)(&entity)?;
        edit.as_object().cloned()
    }
}

fn shorten(map: &mut Map<String, Value>, field: &str, length: usize) {
    if let Some(Value::String(text)) = map.get_mut(field) {
        *text = text.chars().take(length).collect();
    }
}

/// The parts of an address that came without any, as the map service guesses them.
fn geocoded(entity: &Value) -> Option<Map<String, Value>> {
    let address = entity.get("address")?;
    let whole = address.get("value")?.as_str()?;
    if !address.get("locality")?.is_null() {
        return None;
    }
    let (street, city) = whole.rsplit_once(", ").unwrap_or(("", whole));
    let parts =
        serde_json::json!({ "address": { "value": whole, "route": street, "locality": city } });
    parts.as_object().cloned()
}
