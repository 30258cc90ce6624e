//! Creates, changes and deletes records: one way in for the API, the web UI and the rules.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::kind::Kind;
use super::refusal::Refusal;
use super::schema::blank;
use super::state::{Actor, Change, Source, State};
use super::table::{Millis, Record, Version};
use super::time;
use super::validate::Mode;

impl State {
    /// Creates a record from a v2 body.
    pub(super) fn create(
        &mut self,
        kind: Kind,
        given: &Map<String, Value>,
        by: &Actor,
        now: Millis,
    ) -> Result<i64, Refusal> {
        let mut input = self.validate(kind, Mode::Create, given, by)?;
        self.bend(kind, &mut input)?;
        self.demand(kind, &input)?;
        let mut body = blank(kind, self.settings.company.contact_sync);
        self.derive_new(kind, &mut body, &input, by, now)?;
        let mut custom = input.custom;
        custom.retain(|_, value| !value.is_null());
        let id = self.insert(kind, body, custom, by, now);
        self.after_write(kind, id, now);
        Ok(id)
    }

    /// Changes a record; a change to the same is none.
    pub(super) fn change(
        &mut self,
        kind: Kind,
        id: i64,
        given: &Map<String, Value>,
        by: &Actor,
        now: Millis,
    ) -> Result<(), Refusal> {
        let mut input = self.validate(kind, Mode::Change, given, by)?;
        self.bend(kind, &mut input)?;
        let Some(record) = self.record(kind, id) else {
            return Err(Refusal::not_found(kind.title()));
        };
        let (mut body, mut custom) = (record.version.body.clone(), record.version.custom.clone());
        self.derive_change(kind, id, &mut body, &input, by, now)?;
        for (code, value) in input.custom {
            if value.is_null() {
                custom.remove(&code);
            } else {
                custom.insert(code, value);
            }
        }
        if self.commit(kind, id, body, custom, by, now) {
            self.after_write(kind, id, now);
        }
        Ok(())
    }

    /// Puts a finished body into the table and tells the world.
    pub(super) fn insert(
        &mut self,
        kind: Kind,
        mut body: Map<String, Value>,
        custom: Map<String, Value>,
        by: &Actor,
        now: Millis,
    ) -> i64 {
        let id = self.table_mut(kind).next_id();
        let stamp = if kind.has_millis() { now } else { now - now.rem_euclid(1000) };
        let added =
            body.get("add_time").and_then(Value::as_str).and_then(time::parse_any).unwrap_or(stamp);
        if kind == Kind::Lead {
            let uuid = self.draw_uuid();
            body.insert("id".into(), uuid.clone().into());
            self.leads.insert(uuid, id);
        } else {
            body.insert("id".into(), id.into());
        }
        body.insert("add_time".into(), written(kind, added));
        body.insert("update_time".into(), written(kind, stamp));
        let version = Version { since: now, updated: Some(stamp), deleted: false, body, custom };
        let mut record = Record::new(id, added, version);
        record.hidden_until = self.rules.commit_delay().map(|delay| now + delay);
        if let Some(owner) = record.version.int("owner_id").filter(|_| kind.is_followed()) {
            record.followers.push((owner, stamp));
        }
        self.table_mut(kind).insert(record);
        self.index_words(kind, id);
        self.announce(kind, id, None, by, now);
        id
    }

    /// Inserts what a new company has from the start, with no update time.
    pub(super) fn settle(&mut self, kind: Kind, given: Map<String, Value>, now: Millis) -> i64 {
        let id = self.table_mut(kind).next_id();
        let added = now - now.rem_euclid(1000);
        let mut body = blank(kind, false);
        body.extend(given);
        body.insert("id".into(), id.into());
        body.insert("add_time".into(), written(kind, added));
        let version =
            Version { since: now, updated: None, deleted: false, body, custom: Map::new() };
        self.table_mut(kind).insert(Record::new(id, added, version));
        id
    }

    /// Makes `body` and `custom` the present version unless nothing changed.
    pub(super) fn commit(
        &mut self,
        kind: Kind,
        id: i64,
        mut body: Map<String, Value>,
        custom: Map<String, Value>,
        by: &Actor,
        now: Millis,
    ) -> bool {
        let Some(record) = self.record(kind, id) else { return false };
        let before = record.version.clone();
        if before.body == body
            && before.custom == custom
            && !self.settings.switches.noop_writes_count
        {
            return false;
        }
        let stamp = if kind.has_millis() { now } else { now - now.rem_euclid(1000) };
        body.insert("update_time".into(), written(kind, stamp));
        let version =
            Version { since: now, updated: Some(stamp), deleted: before.deleted, body, custom };
        self.table_mut(kind).advance(id, version);
        let hidden = self.rules.commit_delay().map(|delay| now + delay);
        if let Some(record) = self.table_mut(kind).get_mut(id) {
            record.hidden_until = hidden;
        }
        self.log(kind, id, &before, by, now);
        self.index_words(kind, id);
        self.announce(kind, id, Some(&before), by, now);
        true
    }

    /// Deletes a record softly; it can come back for 30 days.
    pub(super) fn remove(&mut self, kind: Kind, id: i64, by: &Actor, now: Millis) {
        let Some(record) = self.live(kind, id) else { return };
        let before = record.version.clone();
        let mut next = Version { since: now, deleted: true, ..before.clone() };
        let stamp = if kind.has_millis() { now } else { now - now.rem_euclid(1000) };
        next.updated = Some(stamp);
        next.body.insert("update_time".into(), written(kind, stamp));
        if next.body.contains_key("is_deleted") {
            next.body.insert("is_deleted".into(), true.into());
        }
        let status = if kind == Kind::Deal {
            next.body.insert("status".into(), "deleted".into())
        } else {
            None
        };
        self.table_mut(kind).advance(id, next);
        if let Some(record) = self.table_mut(kind).get_mut(id) {
            record.deleted_at = Some(now);
            record.status_before = status;
            record.hidden_until = None;
        }
        self.graveyard.insert((now, kind, id));
        self.announce(kind, id, Some(&before), by, now);
        if self.settings.switches.deletion_unlinks {
            self.unlink(kind, &[id].into());
        }
        if kind == Kind::DealProduct {
            self.recount_deal(id, by, now);
        }
    }

    /// Brings a deleted record back under its id.
    pub(super) fn restore(&mut self, kind: Kind, id: i64, by: &Actor, now: Millis) -> bool {
        let Some(record) = self
            .record(kind, id)
            .filter(|record| record.version.deleted && record.merged_into.is_none())
        else {
            return false;
        };
        let (before, status, deleted) =
            (record.version.clone(), record.status_before.clone(), record.deleted_at);
        let stamp = if kind.has_millis() { now } else { now - now.rem_euclid(1000) };
        let mut next =
            Version { since: now, deleted: false, updated: Some(stamp), ..before.clone() };
        next.body.insert("update_time".into(), written(kind, stamp));
        if next.body.contains_key("is_deleted") {
            next.body.insert("is_deleted".into(), false.into());
        }
        if let Some(status) = status {
            next.body.insert("status".into(), status);
        }
        self.table_mut(kind).advance(id, next);
        if let Some(record) = self.table_mut(kind).get_mut(id) {
            record.deleted_at = None;
        }
        self.graveyard.remove(&(deleted.unwrap_or(0), kind, id));
        let as_create = self.settings.switches.restore_is_create;
        self.announce(kind, id, (!as_create).then_some(&before), by, now);
        true
    }

    /// Forgets records for good and clears the links to them.
    pub(super) fn purge(&mut self, kind: Kind, gone: &BTreeSet<i64>) {
        for id in gone {
            if let Some(lead) = self.record(kind, *id).filter(|_| kind == Kind::Lead) {
                let uuid = lead.version.text("id").to_owned();
                self.leads.remove(&uuid);
            }
            self.table_mut(kind).purge(*id);
            self.changes.remove(&(kind, *id));
        }
        self.unlink(kind, gone);
    }

    /// Reads null where a record pointed to a parent that is gone; no update time moves.
    pub(super) fn unlink(&mut self, parent: Kind, gone: &BTreeSet<i64>) {
        let Some(key) = parent.link().filter(|_| parent != Kind::Lead) else { return };
        for child in Kind::ALL {
            let key = if child == Kind::Lead && key == "org_id" { "organization_id" } else { key };
            let points =
                |record: &Record| record.version.int(key).is_some_and(|id| gone.contains(&id));
            let ids: Vec<i64> = self
                .table(child)
                .rows()
                .values()
                .filter(|record| points(record))
                .map(|record| record.id)
                .collect();
            for id in ids {
                if let Some(record) = self.table_mut(child).get_mut(id) {
                    record.version.body.insert(key.into(), Value::Null);
                    record.rendered = None;
                }
            }
        }
    }

    fn log(&mut self, kind: Kind, id: i64, before: &Version, by: &Actor, now: Millis) {
        if !kind.is_logged() {
            return;
        }
        let Some(record) = self.record(kind, id) else { return };
        let mut changes = Vec::new();
        let pairs =
            [(&before.body, &record.version.body), (&before.custom, &record.version.custom)];
        for (old, new) in pairs {
            let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            for key in keys
                .into_iter()
                .filter(|key| *key != "update_time" && old.get(*key) != new.get(*key))
            {
                changes.push(Change {
                    field: key.clone(),
                    old: old.get(key).cloned().unwrap_or_default(),
                    new: new.get(key).cloned().unwrap_or_default(),
                    user: by.user,
                    time: now,
                    source: by.source.word(),
                });
            }
        }
        self.changes.entry((kind, id)).or_default().extend(changes);
    }

    /// Files the record's texts under their words, for exact search.
    fn index_words(&mut self, kind: Kind, id: i64) {
        let Some(record) = self.table(kind).get(id) else { return };
        let mut words = Vec::new();
        for (code, value) in &record.version.custom {
            if let Some(text) = value.as_str() {
                words.push((code.clone(), text.to_lowercase()));
            } else if value.is_number() {
                words.push((code.clone(), value.to_string()));
            }
        }
        for key in ["emails", "phones"] {
            for item in record.version.body.get(key).and_then(Value::as_array).into_iter().flatten()
            {
                words.push((
                    key.to_owned(),
                    item["value"].as_str().unwrap_or_default().to_lowercase(),
                ));
            }
        }
        for key in ["name", "title", "code"] {
            if let Some(text) = record.version.body.get(key).and_then(Value::as_str) {
                words.push((key.to_owned(), text.to_lowercase()));
            }
        }
        for (key, word) in words {
            self.words.entry((kind, key, word)).or_default().insert(id);
        }
    }

    /// Who acts when a person in the web UI or a rule does.
    pub(super) fn web(&self) -> Actor {
        Actor { user: self.users.first_key_value().map_or(0, |(id, _)| *id), source: Source::Web }
    }
}

/// A time as the kind stores it.
pub(super) fn written(kind: Kind, millis: Millis) -> Value {
    if kind.has_millis() { time::exact(millis).into() } else { time::v2(millis).into() }
}
