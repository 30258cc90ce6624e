//! Records of one kind with the indexes that lists walk, and the versions they had before.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

/// Milliseconds since 1970, server time.
pub(super) type Millis = i64;

/// Versions kept per record: enough for stale reads and a search that lags.
const KEPT_VERSIONS: usize = 16;

/// What a record said from `since` on.
#[derive(Clone, Debug)]
pub(super) struct Version {
    pub(super) since: Millis,
    pub(super) updated: Option<Millis>,
    pub(super) deleted: bool,
    /// The v2 entity without `custom_fields`.
    pub(super) body: Map<String, Value>,
    /// Set custom fields by code, in v2 form.
    pub(super) custom: Map<String, Value>,
}

impl Version {
    pub(super) fn int(&self, key: &str) -> Option<i64> {
        self.body.get(key).and_then(Value::as_i64)
    }

    pub(super) fn text(&self, key: &str) -> &str {
        self.body.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    pub(super) fn flag(&self, key: &str) -> bool {
        self.body.get(key).and_then(Value::as_bool).unwrap_or_default()
    }
}

#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) id: i64,
    pub(super) version: Version,
    /// Oldest first.
    pub(super) past: Vec<Version>,
    pub(super) added: Millis,
    pub(super) deleted_at: Option<Millis>,
    pub(super) merged_into: Option<i64>,
    /// Lists show what was before until then: a row committed late with an older second.
    pub(super) hidden_until: Option<Millis>,
    /// Users with the time they began to follow.
    pub(super) followers: Vec<(i64, Millis)>,
    /// Deal status before the deletion, for the way back.
    pub(super) status_before: Option<Value>,
    /// Rendered v2 entity and the field epoch it was rendered in.
    pub(super) rendered: Option<(u64, String)>,
}

impl Record {
    pub(super) fn new(id: i64, added: Millis, version: Version) -> Self {
        Self {
            id,
            version,
            past: Vec::new(),
            added,
            deleted_at: None,
            merged_into: None,
            hidden_until: None,
            followers: Vec::new(),
            status_before: None,
            rendered: None,
        }
    }

    /// What was known at `time`; nothing before the record existed.
    pub(super) fn version_at(&self, time: Millis) -> Option<&Version> {
        if self.version.since <= time {
            return Some(&self.version);
        }
        self.past.iter().rev().find(|version| version.since <= time)
    }

    /// What a list shows, `as_of` in the past or now.
    pub(super) fn shown(&self, now: Millis, as_of: Option<Millis>) -> Option<&Version> {
        match (as_of, self.hidden_until) {
            (Some(time), _) => self.version_at(time),
            (None, Some(until)) if until > now => self.past.last(),
            (None, _) => Some(&self.version),
        }
    }
}

/// Records of one kind.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    rows: BTreeMap<i64, Record>,
    by_update: BTreeSet<(Millis, i64)>,
    by_add: BTreeSet<(Millis, i64)>,
    last_id: i64,
}

impl Table {
    /// Ids ascend and never come back.
    pub(super) fn next_id(&mut self) -> i64 {
        self.last_id += 1;
        self.last_id
    }

    /// The id that the next record will have.
    pub(super) fn upcoming_id(&self) -> i64 {
        self.last_id + 1
    }

    pub(super) fn get(&self, id: i64) -> Option<&Record> {
        self.rows.get(&id)
    }

    /// For changes that touch neither a time nor a version.
    pub(super) fn get_mut(&mut self, id: i64) -> Option<&mut Record> {
        self.rows.get_mut(&id)
    }

    pub(super) fn rows(&self) -> &BTreeMap<i64, Record> {
        &self.rows
    }

    pub(super) fn insert(&mut self, record: Record) {
        self.by_update.insert((record.version.updated.unwrap_or(Millis::MIN), record.id));
        self.by_add.insert((record.added, record.id));
        self.last_id = self.last_id.max(record.id);
        self.rows.insert(record.id, record);
    }

    /// Puts a new version before the present one.
    pub(super) fn advance(&mut self, id: i64, next: Version) {
        let Some(record) = self.rows.get_mut(&id) else { return };
        self.by_update.remove(&(record.version.updated.unwrap_or(Millis::MIN), id));
        self.by_update.insert((next.updated.unwrap_or(Millis::MIN), id));
        let old = std::mem::replace(&mut record.version, next);
        if record.past.len() == KEPT_VERSIONS {
            record.past.remove(0);
        }
        record.past.push(old);
        record.rendered = None;
    }

    /// Forgets a record for good.
    pub(super) fn purge(&mut self, id: i64) {
        if let Some(record) = self.rows.remove(&id) {
            self.by_update.remove(&(record.version.updated.unwrap_or(Millis::MIN), id));
            self.by_add.remove(&(record.added, id));
        }
    }

    /// Ids by update time from `from` on, ascending.
    pub(super) fn updated_from(&self, from: (Millis, i64)) -> impl DoubleEndedIterator<Item = i64> {
        self.by_update.range(from..).map(|(_, id)| *id)
    }

    /// Ids by update time up to and without `to`, ascending.
    pub(super) fn updated_to(&self, to: (Millis, i64)) -> impl DoubleEndedIterator<Item = i64> {
        self.by_update.range(..to).map(|(_, id)| *id)
    }

    pub(super) fn added_from(&self, from: (Millis, i64)) -> impl DoubleEndedIterator<Item = i64> {
        self.by_add.range(from..).map(|(_, id)| *id)
    }

    pub(super) fn added_to(&self, to: (Millis, i64)) -> impl DoubleEndedIterator<Item = i64> {
        self.by_add.range(..to).map(|(_, id)| *id)
    }
}
