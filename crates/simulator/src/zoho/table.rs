//! Records of one module with their indexes, their past and their recycle bin.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

/// A live record. Times are milliseconds since 1970; only whole seconds are ever shown.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) id: u64,
    /// Stored values: times in UTC, lookups as `{"id"}`, no nulls.
    pub(super) fields: Map<String, Value>,
    pub(super) created: i64,
    pub(super) modified: i64,
    pub(super) created_by: u64,
    pub(super) modified_by: u64,
    pub(super) locked: bool,
    /// Earlier versions, oldest first.
    pub(super) past: Vec<Version>,
}

/// What a record was until `until`.
#[derive(Clone, Debug)]
pub(super) struct Version {
    pub(super) until: i64,
    pub(super) fields: Map<String, Value>,
    pub(super) modified: i64,
    pub(super) modified_by: u64,
}

/// A record in the recycle bin or gone for good.
#[derive(Clone, Debug)]
pub(super) struct Grave {
    pub(super) at: i64,
    pub(super) by: Option<u64>,
    pub(super) name: Value,
    pub(super) permanent: bool,
    pub(super) row: Row,
}

/// Earlier versions kept per record.
const VERSIONS: usize = 16;

#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    rows: BTreeMap<u64, Row>,
    by_modified: BTreeSet<(i64, u64)>,
    by_created: BTreeSet<(i64, u64)>,
    /// Field → whether its case matters.
    indexed: BTreeMap<String, bool>,
    by_value: BTreeMap<String, BTreeMap<String, BTreeSet<u64>>>,
    /// Target of a lookup → records that point to it.
    by_target: BTreeMap<u64, BTreeSet<u64>>,
    graves: BTreeMap<u64, Grave>,
    by_death: BTreeSet<(i64, u64)>,
}

pub(super) fn seconds(millis: i64) -> i64 {
    millis.div_euclid(1_000)
}

impl Table {
    pub(super) fn get(&self, id: u64) -> Option<&Row> {
        self.rows.get(&id)
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn rows(&self) -> &BTreeMap<u64, Row> {
        &self.rows
    }

    pub(super) fn by_modified(&self) -> &BTreeSet<(i64, u64)> {
        &self.by_modified
    }

    pub(super) fn by_created(&self) -> &BTreeSet<(i64, u64)> {
        &self.by_created
    }

    pub(super) fn graves(&self) -> &BTreeMap<u64, Grave> {
        &self.graves
    }

    pub(super) fn by_death(&self) -> &BTreeSet<(i64, u64)> {
        &self.by_death
    }

    /// Records whose indexed `field` holds `value`.
    pub(super) fn holding(&self, field: &str, value: &Value) -> Option<&BTreeSet<u64>> {
        let key = key(*self.indexed.get(field)?, value)?;
        self.by_value.get(field)?.get(&key)
    }

    /// True where [`Table::holding`] knows the field.
    pub(super) fn indexes(&self, field: &str) -> bool {
        self.indexed.contains_key(field)
    }

    /// Records with a lookup to `target`.
    pub(super) fn pointing_to(&self, target: u64) -> Vec<u64> {
        self.by_target.get(&target).into_iter().flatten().copied().collect()
    }

    pub(super) fn add(&mut self, row: Row) {
        self.enter(&row);
        self.rows.insert(row.id, row);
    }

    /// Changes a record's values; its version until now goes into its past.
    pub(super) fn revise(&mut self, id: u64, now: i64, by: u64, fields: Map<String, Value>) {
        let Some(mut row) = self.take(id) else { return };
        if row.past.len() == VERSIONS {
            row.past.remove(0);
        }
        let before = std::mem::replace(&mut row.fields, fields);
        row.past.push(Version {
            until: now,
            fields: before,
            modified: row.modified,
            modified_by: row.modified_by,
        });
        (row.modified, row.modified_by) = (now, by);
        self.add(row);
    }

    /// Changes values without a trace: recalculated formulas, locks.
    pub(super) fn touch(&mut self, id: u64, change: impl FnOnce(&mut Row)) {
        let Some(mut row) = self.take(id) else { return };
        change(&mut row);
        self.add(row);
    }

    pub(super) fn bury(&mut self, id: u64, now: i64, by: Option<u64>, name: Value) -> bool {
        let Some(row) = self.take(id) else { return false };
        self.by_death.insert((seconds(now), id));
        self.graves.insert(id, Grave { at: now, by, name, permanent: false, row });
        true
    }

    /// Brings a record back from the recycle bin.
    pub(super) fn raise(&mut self, id: u64) -> Option<Row> {
        if self.graves.get(&id).is_none_or(|grave| grave.permanent) {
            return None;
        }
        let grave = self.graves.remove(&id)?;
        self.by_death.remove(&(seconds(grave.at), id));
        Some(grave.row)
    }

    pub(super) fn empty_grave(&mut self, id: u64) -> bool {
        let Some(grave) = self.graves.get_mut(&id).filter(|grave| !grave.permanent) else {
            return false;
        };
        grave.permanent = true;
        true
    }

    /// Sets the fields found by value; `true` where case matters.
    pub(super) fn index_by(&mut self, indexed: BTreeMap<String, bool>) {
        if indexed == self.indexed {
            return;
        }
        self.indexed = indexed;
        self.by_value.clear();
        let rows = std::mem::take(&mut self.rows);
        for row in rows.values() {
            self.enter_values(row);
        }
        self.rows = rows;
    }

    /// The table as it was at `instant` (milliseconds): later records hidden, later deletions undone.
    pub(super) fn as_of(&self, instant: i64) -> Self {
        let mut then = Self { indexed: self.indexed.clone(), ..Self::default() };
        for grave in self.graves.values() {
            if grave.at > instant {
                then.extend_as_of(&grave.row, instant);
            } else {
                then.by_death.insert((seconds(grave.at), grave.row.id));
                then.graves.insert(grave.row.id, grave.clone());
            }
        }
        for row in self.rows.values() {
            then.extend_as_of(row, instant);
        }
        then
    }

    fn extend_as_of(&mut self, row: &Row, instant: i64) {
        if row.created > instant {
            return;
        }
        let mut row = row.clone();
        if let Some(version) = row.past.iter().find(|version| version.until > instant).cloned() {
            row.fields = version.fields;
            (row.modified, row.modified_by) = (version.modified, version.modified_by);
        }
        self.add(row);
    }

    fn take(&mut self, id: u64) -> Option<Row> {
        let row = self.rows.remove(&id)?;
        self.by_modified.remove(&(seconds(row.modified), id));
        self.by_created.remove(&(seconds(row.created), id));
        for (field, &case_matters) in &self.indexed {
            let key = row.fields.get(field).and_then(|value| key(case_matters, value));
            let entries = self.by_value.get_mut(field);
            if let (Some(key), Some(entries)) = (key, entries)
                && let Some(ids) = entries.get_mut(&key)
            {
                ids.remove(&id);
                if ids.is_empty() {
                    entries.remove(&key);
                }
            }
        }
        for target in targets(&row.fields) {
            if let Some(ids) = self.by_target.get_mut(&target) {
                ids.remove(&id);
            }
        }
        Some(row)
    }

    fn enter(&mut self, row: &Row) {
        self.by_modified.insert((seconds(row.modified), row.id));
        self.by_created.insert((seconds(row.created), row.id));
        self.enter_values(row);
        for target in targets(&row.fields) {
            self.by_target.entry(target).or_default().insert(row.id);
        }
    }

    fn enter_values(&mut self, row: &Row) {
        for (field, &case_matters) in &self.indexed {
            if let Some(key) = row.fields.get(field).and_then(|value| key(case_matters, value)) {
                self.by_value
                    .entry(field.clone())
                    .or_default()
                    .entry(key)
                    .or_default()
                    .insert(row.id);
            }
        }
    }
}

/// Index key of a value: its text, without case unless the field is case-sensitive.
fn key(case_matters: bool, value: &Value) -> Option<String> {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    (!value.is_null()).then(|| if case_matters { text } else { text.to_lowercase() })
}

/// Ids that lookups of a record hold; the owner is no link between records.
fn targets(fields: &Map<String, Value>) -> Vec<u64> {
    let lookups =
        fields.iter().filter(|(name, value)| value.is_object() && name.as_str() != "Owner");
    lookups.filter_map(|(_, value)| id_of(value)).collect()
}

/// The id in `{"id": "…"}`; Zoho's own clients send it as a number too.
pub(super) fn id_of(value: &Value) -> Option<u64> {
    let id = value.get("id")?;
    id.as_u64().or_else(|| id.as_str()?.parse().ok())
}
