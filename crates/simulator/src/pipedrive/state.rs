//! Everything the company holds, behind the one lock.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::auth::Keyring;
use super::fields::Field;
use super::kind::Kind;
use super::limits::Meter;
use super::rules::Rules;
use super::settings::Settings;
use super::table::{Millis, Record, Table};
use super::time::DAY;

/// Who writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Actor {
    pub(super) user: i64,
    pub(super) source: Source,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A person in the web UI.
    Web,
    Token,
    /// An OAuth app, by client id.
    App(String),
}

impl Source {
    /// As `change_source` says it.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Web => "app",
            Self::Token | Self::App(_) => "api",
        }
    }
}

/// A seat of the company.
#[derive(Clone, Debug)]
pub(super) struct User {
    pub(super) id: i64,
    pub(super) name: String,
    pub(super) email: String,
    pub(super) time_zone: String,
    pub(super) currency: String,
    pub(super) active: bool,
    pub(super) admin: bool,
    /// Visibility group.
    pub(super) group: i64,
    pub(super) created: Millis,
    pub(super) modified: Millis,
}

/// A field of a record that changed, for changelog and flow.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) field: String,
    pub(super) old: Value,
    pub(super) new: Value,
    pub(super) user: i64,
    pub(super) time: Millis,
    pub(super) source: &'static str,
}

/// Days a deleted record can be restored.
pub(super) const RETENTION: Millis = 30 * DAY;

pub(super) struct State {
    pub(super) settings: Settings,
    tables: BTreeMap<Kind, Table>,
    pub(super) fields: BTreeMap<Kind, Vec<Field>>,
    /// Moves whenever rendered records may look different.
    pub(super) epoch: u64,
    pub(super) users: BTreeMap<i64, User>,
    pub(super) keyring: Keyring,
    pub(super) meter: Meter,
    pub(super) rules: Rules,
    pub(super) changes: BTreeMap<(Kind, i64), Vec<Change>>,
    pub(super) leads: BTreeMap<String, i64>,
    /// Deleted records in the order of their purge.
    pub(super) graveyard: BTreeSet<(Millis, Kind, i64)>,
    /// Ids by text value, `(kind, field, value)`; an entry may be out of date, never missing.
    pub(super) words: BTreeMap<(Kind, String, String), BTreeSet<i64>>,
    pub(super) webhooks: super::webhooks::Webhooks,
    pub(super) shelf: super::small::Shelf,
    counter: u64,
}

impl State {
    pub(super) fn new(settings: Settings) -> Self {
        let tables = Kind::ALL.into_iter().map(|kind| (kind, Table::default())).collect();
        let webhooks = super::webhooks::Webhooks::new(settings.seed);
        let mut state = Self {
            tables,
            fields: BTreeMap::new(),
            epoch: 0,
            users: BTreeMap::new(),
            keyring: Keyring::default(),
            meter: Meter::default(),
            rules: Rules::default(),
            changes: BTreeMap::new(),
            leads: BTreeMap::new(),
            graveyard: BTreeSet::new(),
            words: BTreeMap::new(),
            webhooks,
            shelf: super::small::Shelf::default(),
            counter: 0,
            settings,
        };
        state.found();
        state
    }

    /// What every new company has: a user, fields, a pipeline with stages, activity types.
    fn found(&mut self) {
        let now = self.now();
        self.fields = super::fields::built_in(self.settings.company.contact_sync);
        let zone = self.settings.company.time_zone.clone();
        self.add_user("Sales", "sales@example.com", &zone, true, now);
        self.shelf = super::small::Shelf::founded(now);
        self.found_pipeline(now);
    }

    fn found_pipeline(&mut self, now: Millis) {
        let mut pipeline = Map::from_iter([("name".to_owned(), Value::from("Sales"))]);
        pipeline.insert("order_nr".into(), 1.into());
        pipeline.insert("is_selected".into(), true.into());
        let pipeline_id = self.settle(Kind::Pipeline, pipeline, now);
        for (order, name) in
            ["Qualified", "Contact made", "Demo scheduled", "Proposal made", "Negotiations started"]
                .into_iter()
                .enumerate()
        {
            let mut stage = Map::from_iter([("name".to_owned(), Value::from(name))]);
            stage.insert("order_nr".into(), (order + 1).into());
            stage.insert("pipeline_id".into(), pipeline_id.into());
            self.settle(Kind::Stage, stage, now);
        }
    }

    pub(super) fn now(&self) -> Millis {
        self.settings.clock.now().timestamp_millis()
    }

    pub(super) fn table(&self, kind: Kind) -> &Table {
        &self.tables[&kind]
    }

    pub(super) fn table_mut(&mut self, kind: Kind) -> &mut Table {
        self.tables.entry(kind).or_default()
    }

    pub(super) fn record(&self, kind: Kind, id: i64) -> Option<&Record> {
        self.table(kind).get(id)
    }

    /// A record that is not deleted.
    pub(super) fn live(&self, kind: Kind, id: i64) -> Option<&Record> {
        self.record(kind, id).filter(|record| !record.version.deleted)
    }

    /// The next bytes of the company's own randomness.
    pub(super) fn draw(&mut self, purpose: &str) -> [u8; 32] {
        self.counter += 1;
        let text = format!("{}/{purpose}/{}", self.settings.seed, self.counter);
        *blake3::hash(text.as_bytes()).as_bytes()
    }

    /// 40 hexadecimal digits, as API tokens and field codes have.
    pub(super) fn draw_hex(&mut self, purpose: &str) -> String {
        self.draw(purpose)[..20]
            .iter()
            .fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
    }

    pub(super) fn draw_uuid(&mut self) -> String {
        uuid(&self.draw("uuid"))
    }

    pub(super) fn user(&self, id: i64) -> Option<&User> {
        self.users.get(&id)
    }

    pub(super) fn add_user(
        &mut self,
        name: &str,
        email: &str,
        zone: &str,
        admin: bool,
        now: Millis,
    ) -> i64 {
        let id = self.users.last_key_value().map_or(7001, |(id, _)| id + 1);
        let user = User {
            id,
            name: name.into(),
            email: email.into(),
            time_zone: zone.into(),
            currency: self.settings.company.currency.clone(),
            active: true,
            admin,
            group: 1,
            created: now,
            modified: now,
        };
        self.users.insert(id, user);
        let token = self.draw_hex("api token");
        self.keyring.api.insert(token, id);
        id
    }

    /// Whether a user sees a version of a record.
    ///
    /// Source: Pipedrive, "Visibility groups"; 1, 3 without groups, 1, 3, 5, 7 with them.
    pub(super) fn sees(
        &self,
        user: i64,
        kind: Kind,
        record: &Record,
        version: &super::table::Version,
    ) -> bool {
        if self.rules.lost.contains_key(&kind) {
            return false;
        }
        let Some(viewer) = self.users.get(&user) else { return false };
        if viewer.admin || !version.body.contains_key("visible_to") {
            return true;
        }
        let owner = version.int("owner_id").unwrap_or(user);
        let level = version.body["visible_to"].as_i64().unwrap_or(3);
        let groups = self.settings.company.plan.has_groups();
        let same_group = self.users.get(&owner).is_none_or(|owner| owner.group == viewer.group);
        owner == user
            || record.followers.iter().any(|(follower, _)| *follower == user)
            || level == 7
            || (level != 1 && (!groups || same_group))
    }

    /// Active users who see a record as it is.
    pub(super) fn permitted(&self, kind: Kind, record: &Record) -> Vec<i64> {
        let active = self.users.values().filter(|user| user.active).map(|user| user.id);
        active.filter(|user| self.sees(*user, kind, record, &record.version)).collect()
    }

    /// Lets time pass: purges what was deleted 30 days ago, runs what rules have scheduled.
    pub(super) fn sweep(&mut self, now: Millis) {
        let mut gone: BTreeMap<Kind, BTreeSet<i64>> = BTreeMap::new();
        while let Some((deleted, kind, id)) = self.graveyard.first().copied() {
            if deleted + RETENTION > now {
                break;
            }
            self.graveyard.pop_first();
            gone.entry(kind).or_default().insert(id);
        }
        for (kind, ids) in gone {
            self.purge(kind, &ids);
        }
        self.run_due_rules(now);
    }
}

pub(super) fn uuid(bytes: &[u8; 32]) -> String {
    let hex = bytes[..16].iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    format!("{}-{}-4{}-8{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..32])
}
