//! Everything one organisation holds, behind one lock.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde_json::{Map, Value, json};

use super::attachments::Files;
use super::automation::Automations;
use super::bulk::Jobs;
use super::defaults;
use super::limits::Ledger;
use super::oauth::Tokens;
use super::refusal::Refusal;
use super::related::Relations;
use super::schema::{Access, Field, Module};
use super::table::{Row, Table, id_of};
use super::times::ZoneClock;
use super::watch::Watches;
use super::{Org, Settings, Switches, User};
use crate::clock::Clock;

pub(super) struct State {
    pub(super) clock: Clock,
    pub(super) seed: u64,
    pub(super) org: Org,
    pub(super) switches: Switches,
    pub(super) users: BTreeMap<u64, User>,
    /// Whose tokens the OAuth endpoint hands out.
    pub(super) api_user: u64,
    /// Who sits before the CRM's own pages.
    pub(super) person: u64,
    pub(super) modules: BTreeMap<String, Module>,
    pub(super) tokens: Tokens,
    pub(super) ledger: Ledger,
    pub(super) automations: Automations,
    pub(super) watches: Watches,
    pub(super) files: Files,
    pub(super) jobs: Jobs,
    pub(super) relations: Relations,
    next_id: u64,
}

impl State {
    pub(super) fn new(settings: Settings) -> Self {
        let Settings { clock, seed, org, time_zone, limits, client, switches } = settings;
        let mut state = Self {
            clock,
            seed,
            next_id: (3_000_000 + seed % 5_000_000) * 1_000_000_000_000 + 1_001,
            users: BTreeMap::new(),
            api_user: 0,
            person: 0,
            modules: BTreeMap::new(),
            tokens: Tokens::new(client, seed),
            ledger: Ledger::new(limits),
            automations: Automations::default(),
            watches: Watches::new(seed),
            files: Files::default(),
            jobs: Jobs::default(),
            relations: Relations::default(),
            org,
            switches,
        };
        state.api_user = state.add_user(User::new("Sync", "Robot", "robot@example.com", time_zone));
        let zone = state.org.time_zone;
        state.person = state.add_user(User::new("Ann", "Admin", "ann@example.com", zone));
        for &(api_name, module_name, name_field, duplicate, fields) in defaults::MODULES {
            let id = state.fresh_id();
            let fields = defaults::fields(api_name, fields);
            let mut module = Module::new(id, api_name, module_name, name_field, fields);
            module.duplicate_field = duplicate.map(str::to_owned);
            state.install(module);
        }
        state
    }

    /// Adds a custom module with the main field `Name`.
    pub(super) fn add_module(&mut self, api_name: &str) {
        let id = self.fresh_id();
        let number = self.modules.values().filter(|module| module.custom).count() + 1;
        let fields = defaults::custom_fields(api_name);
        let mut module =
            Module::new(id, api_name, &format!("CustomModule{number}"), "Name", fields);
        module.custom = true;
        module.duplicate_field = Some("Name".into());
        self.install(module);
    }

    fn install(&mut self, mut module: Module) {
        module.layout = self.fresh_id();
        for field in &mut module.fields {
            self.number(field);
        }
        module.reindex();
        self.modules.insert(module.api_name.clone(), module);
    }

    /// Gives ids to a field and its options.
    pub(super) fn number(&mut self, field: &mut Field) {
        field.id = self.fresh_id();
        for option in field.options.iter_mut().filter(|option| option.id == 0) {
            option.id = self.fresh_id();
        }
    }

    pub(super) fn add_user(&mut self, mut user: User) -> u64 {
        user.id = self.fresh_id();
        user.created = self.now();
        let id = user.id;
        self.users.insert(id, user);
        id
    }

    pub(super) fn fresh_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    pub(super) fn instant(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// Milliseconds since 1970.
    pub(super) fn now(&self) -> i64 {
        self.clock.now().timestamp_millis()
    }

    pub(super) fn zone(&self, user: u64) -> Tz {
        self.users.get(&user).map_or(Tz::UTC, |user| user.time_zone)
    }

    /// A module by the name in the path, as far as the token's user may use it.
    pub(super) fn module(&self, api_name: &str, segment: usize) -> Result<&Module, Refusal> {
        let module = self.modules.get(api_name).ok_or_else(|| Refusal::module(segment))?;
        match module.rules.access {
            Access::Absent => Err(Refusal::module(segment)),
            Access::Forbidden => {
                Err(Refusal::no_permission(&format!("Crm_Implied_View_{api_name}")))
            }
            Access::Full | Access::Unseen => Ok(module),
        }
    }

    pub(super) fn table(&self, module: &str) -> Option<&Table> {
        self.modules.get(module).map(|module| &module.table)
    }

    /// The live record a lookup points to, with its module.
    pub(super) fn target(
        &self,
        field: &Field,
        value: &Value,
        activity: Option<&str>,
    ) -> Option<(&Module, &Row)> {
        let id = id_of(value)?;
        let named = value.pointer("/module/api_name").and_then(Value::as_str);
        let module = named.or(activity).or(field.target.as_deref());
        let found = |name: &str| {
            self.modules.get(name).and_then(|module| Some((module, module.table.get(id)?)))
        };
        match module {
            Some("Contacts") if field.api_name == "Who_Id" => {
                found("Contacts").or_else(|| found("Leads"))
            }
            Some(name) => found(name),
            None => self.modules.values().find_map(|module| Some((module, module.table.get(id)?))),
        }
    }

    /// `{"name", "id"}` of a user.
    pub(super) fn user_ref(&self, id: u64) -> Value {
        let name = self.users.get(&id).map(User::full_name);
        json!({ "name": name, "id": id.to_string() })
    }

    /// `{"name", "id", "email"}` as owners are shown.
    pub(super) fn owner_ref(&self, id: u64) -> Value {
        let Some(user) = self.users.get(&id) else { return Value::Null };
        json!({ "name": user.full_name(), "id": id.to_string(), "email": user.email })
    }

    /// The details of a written row.
    pub(super) fn stamps(&self, row: &Row, zone: &ZoneClock) -> Map<String, Value> {
        let details = json!({
            "Modified_Time": zone.millis(row.modified),
            "Modified_By": self.user_ref(row.modified_by),
            "Created_Time": zone.millis(row.created),
            "id": row.id.to_string(),
            "Created_By": self.user_ref(row.created_by),
        });
        let Value::Object(details) = details else { return Map::new() };
        details
    }
}
