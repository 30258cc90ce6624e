//! Workflows of the organisation: values the server writes after somebody else did.

use std::fmt;
use std::sync::Arc;

use chrono::TimeDelta;
use serde_json::{Map, Value};

use super::state::State;
use super::watch::{Event, Operation};

/// What a workflow does to one field after each write.
#[derive(Clone)]
pub enum Automation {
    /// Puts this value in, whatever was there.
    Set(Value),
    /// Puts this value in where there was none.
    Fill(Value),
    /// Works the value out from the one that is there.
    Rewrite(Arc<dyn Fn(&Value) -> Value + Send + Sync>),
}

impl fmt::Debug for Automation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Set(value) => write!(formatter, "Set({value})"),
            Self::Fill(value) => write!(formatter, "Fill({value})"),
            Self::Rewrite(_) => formatter.write_str("Rewrite(…)"),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Automations {
    rules: Vec<(String, String, Automation)>,
    /// Due time in milliseconds, module, record.
    due: Vec<(i64, String, u64)>,
    pub(super) delay: TimeDelta,
}

impl Automations {
    pub(super) fn add(&mut self, module: &str, field: &str, automation: Automation) {
        self.rules.push((module.into(), field.into(), automation));
    }

    pub(super) fn clear(&mut self) {
        self.rules.clear();
        self.due.clear();
    }
}

impl State {
    pub(super) fn schedule_automations(&mut self, module: &str, id: u64) {
        if self.automations.rules.iter().any(|(name, _, _)| name == module) {
            let due = self.now() + self.automations.delay.num_milliseconds();
            self.automations.due.push((due, module.into(), id));
        }
    }

    /// Runs what is due. A workflow's own write starts no workflow.
    pub(super) fn run_automations(&mut self) {
        if self.automations.due.is_empty() {
            return;
        }
        let now = self.now();
        let (due, later) = std::mem::take(&mut self.automations.due)
            .into_iter()
            .partition(|(at, _, _)| *at <= now);
        self.automations.due = later;
        let due: Vec<(i64, String, u64)> = due;
        for (_, module, id) in due {
            self.automate(&module, id);
        }
    }

    fn automate(&mut self, module: &str, id: u64) {
        let Some(row) = self.table(module).and_then(|table| table.get(id)) else { return };
        let mut fields = row.fields.clone();
        let mut changed = Vec::new();
        for (_, field, automation) in
            self.automations.rules.iter().filter(|(name, _, _)| name == module)
        {
            if apply(&mut fields, field, automation) {
                changed.push(field.clone());
            }
        }
        if !changed.is_empty() {
            self.store(module, id, fields, self.person);
            self.watches.note(Event {
                module: module.into(),
                id,
                operation: Operation::Update,
                changed,
            });
        }
    }
}

/// True when the value changed.
fn apply(fields: &mut Map<String, Value>, field: &str, automation: &Automation) -> bool {
    let before = fields.get(field).cloned().unwrap_or(Value::Null);
    let after = match automation {
        Automation::Set(value) => value.clone(),
        Automation::Fill(value) if before.is_null() => value.clone(),
        Automation::Fill(_) => before.clone(),
        Automation::Rewrite(rewrite) => rewrite(&before),
    };
    if after == before {
        return false;
    }
    if after.is_null() {
        fields.remove(field);
    } else {
        fields.insert(field.into(), after);
    }
    true
}
