//! The back door: people at work in the CRM's own pages, and the hands of a test.

use chrono::TimeDelta;
use serde_json::{Map, Value, json};

use super::schema::{Access, Field};
use super::state::State;
use super::table::Row;
use super::write::Actor;
use super::{Automation, Converted, Limits, Switches, User, Zoho};

/// A record's id on Zoho's side, as in JSON but a number.
pub type RecordId = u64;

impl Zoho {
    /// Adds a record as a person does.
    ///
    /// # Panics
    /// When Zoho refuses the values: a mistake in the test, not in what is tested.
    pub fn add(&self, module: &str, values: Value) -> RecordId {
        self.with(|state| {
            let actor = state.someone();
            let done = state.insert_row(module, &object(values), actor, "$");
            accepted(done)
        })
    }

    /// Changes some fields of a record as a person does.
    ///
    /// # Panics
    /// When Zoho refuses the values.
    pub fn edit(&self, module: &str, id: RecordId, values: Value) {
        self.with(|state| {
            let actor = state.someone();
            let done = state.update_row(module, id, &object(values), actor, "$");
            accepted(done);
        });
    }

    /// Moves a record to the recycle bin; false when there is none.
    pub fn delete(&self, module: &str, id: RecordId) -> bool {
        self.with(|state| {
            let actor = state.someone();
            state.delete_row(module, id, actor)
        })
    }

    /// Restores a record from the recycle bin; false when it is not there.
    pub fn undelete(&self, module: &str, id: RecordId) -> bool {
        self.with(|state| {
            let actor = state.someone();
            state.restore_row(module, id, actor)
        })
    }

    /// Removes a record from the recycle bin for good; false when it is not there.
    pub fn purge(&self, module: &str, id: RecordId) -> bool {
        self.with(|state| {
            state.modules.get_mut(module).is_some_and(|module| module.table.empty_grave(id))
        })
    }

    /// Merges `child` into `master` as a person does: the child goes, its empty-handed master takes `fields`.
    ///
    /// # Panics
    /// When Zoho refuses the merge.
    pub fn merge(&self, module: &str, master: RecordId, child: RecordId, fields: &[&str]) {
        let fields: Vec<String> = fields.iter().map(|&field| field.to_owned()).collect();
        self.with(|state| {
            let actor = state.someone();
            accepted(state.merge(module, master, child, &fields, actor));
        });
    }

    /// Converts a lead as a person does; `deal` holds the values of a new deal.
    ///
    /// # Panics
    /// When Zoho refuses the conversion.
    pub fn convert_lead(&self, lead: RecordId, deal: Option<Value>) -> Converted {
        let wishes = deal.map(|deal| ("Deals".to_owned(), deal)).into_iter().collect();
        self.with(|state| {
            let actor = state.someone();
            accepted(state.convert(lead, &wishes, actor))
        })
    }

    /// Copies a record as a person does; unique values stay behind.
    ///
    /// # Panics
    /// When Zoho refuses the copy.
    pub fn clone_record(&self, module: &str, id: RecordId) -> RecordId {
        self.with(|state| {
            let actor = state.someone();
            accepted(state.clone_row(module, id, actor))
        })
    }

    /// A live record as stored: times in UTC, lookups as ids, no empty fields.
    pub fn get(&self, module: &str, id: RecordId) -> Option<Value> {
        self.with(|state| state.table(module)?.get(id).map(raw))
    }

    /// All live records of a module by id.
    pub fn all(&self, module: &str) -> Vec<Value> {
        self.with(|state| {
            state
                .table(module)
                .map_or_else(Vec::new, |table| table.rows().values().map(raw).collect())
        })
    }

    pub fn count(&self, module: &str) -> usize {
        self.with(|state| state.table(module).map_or(0, super::table::Table::len))
    }

    /// Adds many records fast: values are taken as stored, unchecked. Gives the ids in order.
    pub fn add_many(&self, module: &str, values: impl IntoIterator<Item = Value>) -> Vec<RecordId> {
        self.with(|state| {
            let by = state.person;
            values.into_iter().map(|value| state.seed_row(module, object(value), by)).collect()
        })
    }

    /// Adds or replaces a field; give it the same name to change length, options or type.
    pub fn add_field(&self, module: &str, field: Field) {
        self.with(|state| {
            state.add_field(module, field);
        });
    }

    pub fn remove_field(&self, module: &str, api_name: &str) {
        self.with(|state| {
            if let Some(module) = state.modules.get_mut(module) {
                module.remove_field(api_name);
            }
        });
    }

    /// Changes a field in place: shorten it, retype it, make it mandatory.
    pub fn change_field(&self, module: &str, api_name: &str, change: impl FnOnce(&mut Field)) {
        self.with(|state| {
            let now = state.now();
            let Some(module) = state.modules.get_mut(module) else { return };
            if let Some(field) = module.field_mut(api_name) {
                change(field);
                field.modified = Some(now);
            }
            module.reindex();
        });
    }

    /// Renames what an option shows, in the picklist and in the records; times stay.
    pub fn rename_option(&self, module: &str, api_name: &str, from: &str, to: &str) {
        self.change_field(module, api_name, |field| {
            for option in field.options.iter_mut().filter(|option| option.display == from) {
                option.display = to.into();
            }
        });
        self.with(|state| {
            let Some(module) = state.modules.get_mut(module) else { return };
            let holders = module
                .table
                .rows()
                .values()
                .filter(|row| row.fields.get(api_name) == Some(&from.into()));
            for id in holders.map(|row| row.id).collect::<Vec<_>>() {
                module.table.touch(id, |row| {
                    row.fields.insert(api_name.into(), to.into());
                });
            }
        });
    }

    pub fn add_module(&self, api_name: &str) {
        self.with(|state| state.add_module(api_name));
    }

    pub fn add_user(&self, user: User) -> RecordId {
        self.with(|state| state.add_user(user))
    }

    /// Makes `user` the one who works in the CRM's pages from now on.
    pub fn act_as(&self, user: RecordId) {
        self.with(|state| state.person = user);
    }

    /// The user behind the tokens handed out from now on.
    pub fn api_user(&self) -> RecordId {
        self.with(|state| state.api_user)
    }

    /// The user who works in the CRM's pages.
    pub fn person(&self) -> RecordId {
        self.with(|state| state.person)
    }

    /// Changes a user: deactivate, delete, move to another zone.
    pub fn change_user(&self, id: RecordId, change: impl FnOnce(&mut User)) {
        self.with(|state| {
            if let Some(user) = state.users.get_mut(&id) {
                change(user);
            }
        });
    }

    /// A self client's grant code, good once for three minutes.
    pub fn grant_code(&self, scopes: &str) -> String {
        self.with(|state| {
            let (user, now) = (state.api_user, state.now());
            state.tokens.grant(scopes, user, now)
        })
    }

    /// A refresh token, as if a person had consented.
    pub fn refresh_token(&self, scopes: &str) -> String {
        self.with(|state| {
            let user = state.api_user;
            state.tokens.refresh_token(scopes, user)
        })
    }

    /// An access token for calls without the OAuth dance.
    pub fn access_token(&self, scopes: &str) -> String {
        let refresh = self.refresh_token(scopes);
        self.with(|state| {
            let now = state.now();
            state.tokens.access_token(&refresh, now).unwrap_or_default()
        })
    }

    /// Revokes all tokens and codes.
    pub fn revoke_all(&self) {
        self.with(|state| state.tokens.revoke_all());
    }

    /// Ends all access tokens; refresh tokens stay good.
    pub fn expire_access_tokens(&self) {
        self.with(|state| state.tokens.expire_access());
    }

    /// Takes the scopes that start with `prefix` away from all tokens.
    pub fn withdraw_scopes(&self, prefix: &str) {
        self.with(|state| state.tokens.withdraw(prefix));
    }

    pub fn set_limits(&self, limits: Limits) {
        self.with(|state| state.ledger.limits = limits);
    }

    /// Credits used within the last 24 hours; counted only while limits are on.
    pub fn credits_used(&self) -> u64 {
        self.with(|state| state.ledger.used())
    }

    pub fn set_switches(&self, change: impl FnOnce(&mut Switches)) {
        self.with(|state| change(&mut state.switches));
    }

    /// Lets a workflow write a field after each later write to the module.
    pub fn automation(&self, module: &str, field: &str, automation: Automation) {
        self.with(|state| state.automations.add(module, field, automation));
    }

    /// Lets workflows run `by` after the write they follow.
    pub fn delay_automations(&self, by: TimeDelta) {
        self.with(|state| state.automations.delay = by);
    }

    pub fn clear_automations(&self) {
        self.with(|state| state.automations.clear());
    }

    /// Cuts written values of a field to `kept` characters without a word.
    pub fn truncate_silently(&self, module: &str, field: &str, kept: usize) {
        self.with(|state| {
            if let Some(module) = state.modules.get_mut(module) {
                module.rules.truncated.insert(field.into(), kept);
            }
        });
    }

    /// Refuses an option though the metadata lists it.
    pub fn refuse_option(&self, module: &str, field: &str, option: &str) {
        self.with(|state| {
            if let Some(module) = state.modules.get_mut(module) {
                module.rules.refused.insert((field.into(), option.into()));
            }
        });
    }

    /// Locks a record: writes over the API and by people are refused.
    pub fn lock(&self, module: &str, id: RecordId) {
        self.set_lock(module, id, true);
    }

    pub fn unlock(&self, module: &str, id: RecordId) {
        self.set_lock(module, id, false);
    }

    /// Changes what the API user may do with a module.
    pub fn set_access(&self, module: &str, access: Access) {
        self.with(|state| {
            if let Some(module) = state.modules.get_mut(module) {
                module.rules.access = access;
            }
        });
    }

    /// Recalculates a formula: the value changes, `Modified_Time` does not.
    pub fn recalculate(&self, module: &str, id: RecordId, field: &str, value: Value) {
        self.with(|state| {
            if let Some(module) = state.modules.get_mut(module) {
                module.table.touch(id, |row| {
                    row.fields.insert(field.into(), value);
                });
            }
        });
    }

    fn set_lock(&self, module: &str, id: RecordId, locked: bool) {
        self.with(|state| {
            if let Some(module) = state.modules.get_mut(module) {
                module.table.touch(id, |row| row.locked = locked);
            }
        });
    }
}

impl State {
    fn someone(&self) -> Actor {
        Actor { user: self.person, workflows: true }
    }

    fn seed_row(&mut self, module: &str, mut fields: Map<String, Value>, by: u64) -> u64 {
        let (id, now) = (self.fresh_id(), self.now());
        fields.retain(|_, value| !value.is_null());
        fields.entry("Owner").or_insert_with(|| json!({ "id": by.to_string() }));
        if matches!(module, "Contacts" | "Leads") {
            let part = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
            let full = format!("{} {}", part("First_Name"), part("Last_Name")).trim().to_owned();
            fields.insert("Full_Name".into(), full.into());
        }
        let row = Row {
            id,
            fields,
            created: now,
            modified: now,
            created_by: by,
            modified_by: by,
            locked: false,
            past: Vec::new(),
        };
        if let Some(module) = self.modules.get_mut(module) {
            module.table.add(row);
        }
        id
    }
}

fn object(values: Value) -> Map<String, Value> {
    let Value::Object(values) = values else { return Map::new() };
    values
}

fn accepted<T>(done: Result<T, super::refusal::Refusal>) -> T {
    match done {
        Ok(done) => done,
        Err(refusal) => panic!("Zoho refuses what the test did in its pages: {}", refusal.object()),
    }
}

/// A record as stored, with what the server keeps beside the fields.
fn raw(row: &Row) -> Value {
    let time =
        |millis: i64| chrono::DateTime::from_timestamp_millis(millis).map(super::times::store);
    let mut shown = row.fields.clone();
    shown.insert("id".into(), row.id.to_string().into());
    shown.insert("Created_Time".into(), time(row.created).into());
    shown.insert("Modified_Time".into(), time(row.modified).into());
    shown.insert("Created_By".into(), json!({ "id": row.created_by.to_string() }));
    shown.insert("Modified_By".into(), json!({ "id": row.modified_by.to_string() }));
    shown.into()
}
