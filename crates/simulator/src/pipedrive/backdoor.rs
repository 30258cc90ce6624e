//! What a person does in the web UI, and what a test turns: never under the API's paths.

use chrono::TimeDelta;
use serde_json::{Map, Value};

use super::filters::Filter;
use super::kind::Kind;
use super::rules::{Automation, Loss};
use super::state::{Actor, Source, State};
use super::{Limits, Pipedrive, Plan, Switches};

/// Whether `given` names `kind`, or why a test is wrong.
fn kind(name: &str) -> Kind {
    Kind::parse(name).unwrap_or_else(|| panic!("no entity is called `{name}`"))
}

fn object(given: &Value) -> Map<String, Value> {
    given.as_object().cloned().unwrap_or_else(|| panic!("not a JSON object: {given}"))
}

/// Replaces names of custom fields by their codes.
fn coded(state: &State, kind: Kind, mut given: Map<String, Value>) -> Map<String, Value> {
    if let Some(Value::Object(custom)) = given.remove("custom_fields") {
        let code = |name: String| {
            state
                .custom_fields(kind)
                .find(|field| field.name == name)
                .map_or(name, |field| field.code.clone())
        };
        let custom: Map<String, Value> =
            custom.into_iter().map(|(name, value)| (code(name), value)).collect();
        given.insert("custom_fields".into(), custom.into());
    }
    given
}

/// A person at work in the web UI. Entities are named as in paths or events: `persons`, `person`.
///
/// # Panics
/// These methods panic on an entity that does not exist and on a record the UI would refuse: a test that
/// asks for one is wrong.
#[expect(clippy::needless_pass_by_value, reason = "JSON is handed over where it is written")]
impl Pipedrive {
    /// Adds a record from a v2 body and answers its id (for leads the ordinal; the UUID is in the body).
    /// Custom fields go by code or by name.
    pub fn add(&self, entity: &str, record: Value) -> i64 {
        let state = &mut *self.state();
        let by = state.web();
        add(state, kind(entity), &record, &by)
    }

    /// Adds a record as another user.
    pub fn add_as(&self, user: i64, entity: &str, record: Value) -> i64 {
        let state = &mut *self.state();
        add(state, kind(entity), &record, &Actor { user, source: Source::Web })
    }

    /// Adds many records under one lock.
    pub fn add_many(&self, entity: &str, records: impl Iterator<Item = Value>) -> Vec<i64> {
        let state = &mut *self.state();
        let by = state.web();
        let kind = kind(entity);
        records.map(|record| add(state, kind, &record, &by)).collect()
    }

    /// Changes fields of a record, as v2 PATCH would.
    pub fn edit(&self, entity: &str, id: i64, change: Value) {
        let state = &mut *self.state();
        let by = state.web();
        edit(state, &by, kind(entity), id, &change);
    }

    /// Changes many records alike, as the list view's bulk edit does.
    pub fn edit_many(&self, entity: &str, ids: &[i64], change: Value) {
        let state = &mut *self.state();
        let by = state.web();
        state.webhooks.bulk = true;
        for id in ids {
            edit(state, &by, kind(entity), *id, &change);
        }
        state.webhooks.bulk = false;
    }

    /// Changes fields of a record as another user.
    pub fn edit_as(&self, user: i64, entity: &str, id: i64, change: Value) {
        let state = &mut *self.state();
        edit(state, &Actor { user, source: Source::Web }, kind(entity), id, &change);
    }

    /// Deletes a record softly.
    pub fn delete(&self, entity: &str, id: i64) {
        let state = &mut *self.state();
        let (by, now) = (state.web(), state.now());
        state.remove(kind(entity), id, &by, now);
    }

    /// Restores a deleted record; false when there is none to restore.
    pub fn undelete(&self, entity: &str, id: i64) -> bool {
        let state = &mut *self.state();
        let (by, now) = (state.web(), state.now());
        state.sweep(now);
        state.restore(kind(entity), id, &by, now)
    }

    /// Merges `loser` into `survivor`; false when one of them is not there.
    pub fn merge(&self, entity: &str, loser: i64, survivor: i64) -> bool {
        let state = &mut *self.state();
        let (by, now) = (state.web(), state.now());
        state.merge(kind(entity), loser, survivor, &by, now)
    }

    /// Saves a filter that wants these values in these built-in fields, and answers its id.
    pub fn add_filter(&self, wanted: &[(&'static str, Value)]) -> i64 {
        let filters = &mut self.state().shelf.filters;
        let id = filters.last_key_value().map_or(1, |(id, _)| id + 1);
        filters.insert(id, Filter::of_values(id, wanted));
        id
    }

    /// Archives a deal or a lead.
    pub fn archive(&self, entity: &str, id: i64) {
        self.edit(entity, id, serde_json::json!({ "is_archived": true }));
    }

    pub fn unarchive(&self, entity: &str, id: i64) {
        self.edit(entity, id, serde_json::json!({ "is_archived": false }));
    }

    /// The v2 entity, also of a deleted record; `None` when there is none.
    pub fn get(&self, entity: &str, id: i64) -> Option<Value> {
        let state = self.state();
        let kind = kind(entity);
        state.record(kind, id).map(|record| state.entity(kind, &record.version).into())
    }

    /// All records that are not deleted, by id.
    pub fn all(&self, entity: &str) -> Vec<Value> {
        let state = self.state();
        let kind = kind(entity);
        let rows = state.table(kind).rows().values().filter(|record| !record.version.deleted);
        rows.map(|record| state.entity(kind, &record.version).into()).collect()
    }

    /// How many records are not deleted.
    pub fn count(&self, entity: &str) -> usize {
        let state = self.state();
        state.table(kind(entity)).rows().values().filter(|record| !record.version.deleted).count()
    }

    /// Adds a custom field and answers its code.
    pub fn add_field(
        &self,
        entity: &str,
        name: &str,
        field_type: &str,
        options: &[&str],
    ) -> String {
        let labels: Vec<String> = options.iter().map(|label| (*label).to_owned()).collect();
        self.state().add_field(kind(entity), name, field_type, &labels)
    }

    /// Deletes a custom field with its values.
    pub fn delete_field(&self, entity: &str, code: &str) -> bool {
        self.state().delete_field(kind(entity), code)
    }

    /// Renames a custom field; its code stays. False when there is no such field.
    pub fn rename_field(&self, entity: &str, code: &str, name: &str) -> bool {
        self.state().rename_field(kind(entity), code, name)
    }

    /// Makes a field another of the same code: values of the old type are gone.
    pub fn retype_field(&self, entity: &str, code: &str, field_type: &str) -> bool {
        self.state().retype_field(kind(entity), code, field_type)
    }

    /// Demands a field on every create.
    pub fn require_field(&self, entity: &str, code: &str) {
        self.state().rules.required.insert((kind(entity), code.to_owned()));
    }

    /// Refuses texts longer than `length` characters in a field.
    pub fn cap_field(&self, entity: &str, field: &str, length: usize) {
        self.state().rules.caps.insert((kind(entity), field.to_owned()), length);
    }

    /// Adds an option to a field and answers its id; `None` when there is no such field.
    pub fn add_option(&self, entity: &str, code: &str, label: &str) -> Option<i64> {
        self.state().add_option(kind(entity), code, label)
    }

    pub fn rename_option(&self, entity: &str, code: &str, id: i64, label: &str) -> bool {
        self.state().rename_option(kind(entity), code, id, label)
    }

    pub fn remove_option(&self, entity: &str, code: &str, id: i64) -> bool {
        self.state().remove_option(kind(entity), code, id)
    }

    /// Adds a user and answers the id.
    pub fn add_user(&self, name: &str, email: &str, time_zone: &str) -> i64 {
        let state = &mut *self.state();
        let now = state.now();
        let by = state.web();
        let id = state.add_user(name, email, time_zone, false, now);
        state.announce_user(id, "create", &Value::Null, &by, now);
        id
    }

    /// Makes a user an admin, or an ordinary one.
    pub fn set_admin(&self, user: i64, admin: bool) {
        if let Some(user) = self.state().users.get_mut(&user) {
            user.admin = admin;
        }
    }

    /// Puts a user into a visibility group.
    pub fn set_group(&self, user: i64, group: i64) {
        if let Some(user) = self.state().users.get_mut(&user) {
            user.group = group;
        }
    }

    /// Deactivates a user; users are never deleted.
    pub fn deactivate_user(&self, user: i64) {
        let state = &mut *self.state();
        let now = state.now();
        let by = state.web();
        if let Some(user) = state.users.get_mut(&user) {
            (user.active, user.modified) = (false, now);
        }
        state.announce_user(user, "change", &serde_json::json!({ "active_flag": true }), &by, now);
    }

    /// The first user's API token.
    pub fn api_token(&self) -> String {
        self.api_token_of(self.owner())
    }

    pub fn api_token_of(&self, user: i64) -> String {
        let state = self.state();
        state
            .keyring
            .api
            .iter()
            .find(|(_, id)| **id == user)
            .map(|(token, _)| token.clone())
            .unwrap_or_default()
    }

    /// Issues a new API token; the old one is dead at once.
    pub fn regenerate_token(&self) -> String {
        let state = &mut *self.state();
        let user = state.web().user;
        state.regenerate(user)
    }

    /// Id of the first user, who founded the company.
    pub fn owner(&self) -> i64 {
        self.state().web().user
    }

    /// An authorization code, as if the first user had consented.
    pub fn grant_code(&self) -> String {
        let state = &mut *self.state();
        let (user, now) = (state.web().user, state.now());
        state.grant_code(user, now)
    }

    /// A refresh token of the first user.
    pub fn refresh_token(&self) -> String {
        let state = &mut *self.state();
        let (user, now) = (state.web().user, state.now());
        state.grant_refresh(user, now)
    }

    /// Ends all access tokens at once.
    pub fn expire_access_tokens(&self) {
        self.state().expire_access();
    }

    /// Refuses the next `times` refreshes.
    pub fn refuse_refreshes(&self, times: usize) {
        self.state().keyring.refusals = times;
    }

    /// Uninstalls the OAuth app: its tokens and webhooks are gone.
    pub fn uninstall_app(&self) {
        self.state().revoke_app();
    }

    /// Takes a right away from every user; [`Pipedrive::regain`] gives it back.
    pub fn lose(&self, entity: &str, loss: Loss) {
        let state = &mut *self.state();
        state.rules.lost.insert(kind(entity), loss);
    }

    pub fn regain(&self, entity: &str) {
        self.state().rules.lost.remove(&kind(entity));
    }

    /// Cuts a field's texts to `length` characters without a word.
    pub fn truncate_field(&self, entity: &str, field: &str, length: usize) {
        self.state().rules.lengths.insert((kind(entity), field.to_owned()), length);
    }

    /// Refuses a value, such as an option id, in a field.
    pub fn refuse_value(&self, entity: &str, field: &str, value: Value) {
        self.state().rules.refused.push((kind(entity), field.to_owned(), value));
    }

    /// Runs a script `after` each write of an entity; it reads the v2 entity and answers what to change.
    pub fn automate(
        &self,
        entity: &str,
        after: TimeDelta,
        script: impl Fn(&Value) -> Option<Value> + Send + 'static,
    ) {
        let automation = Automation { kind: kind(entity), after, script: Box::new(script) };
        self.state().rules.automations.push(automation);
    }

    /// Refuses API writes of a record with 403 until [`Pipedrive::unlock`].
    pub fn lock(&self, entity: &str, id: i64) {
        self.state().rules.locked.insert((kind(entity), id));
    }

    pub fn unlock(&self, entity: &str, id: i64) {
        self.state().rules.locked.remove(&(kind(entity), id));
    }

    /// Takes back every rule: lengths, refusals, demands, locks, automations, lost rights.
    pub fn clear_rules(&self) {
        let rules = &mut self.state().rules;
        rules.lengths.clear();
        rules.refused.clear();
        rules.caps.clear();
        rules.required.clear();
        rules.locked.clear();
        rules.automations.clear();
        rules.lost.clear();
    }

    /// Shows about `per_mille` of 1,000 writes in lists only `by` later, with their older second.
    pub fn commit_late(&self, seed: u64, per_mille: u64, by: TimeDelta) {
        self.state().rules.be_late(seed, per_mille, by);
    }

    /// Changes how undocumented parts behave.
    pub fn switch(&self, change: impl FnOnce(&mut Switches)) {
        change(&mut self.state().settings.switches);
    }

    /// Changes the limits.
    pub fn limit(&self, change: impl FnOnce(&mut Limits)) {
        change(&mut self.state().settings.limits);
    }

    pub fn set_plan(&self, plan: Plan) {
        self.state().settings.company.plan = plan;
    }

    /// Tokens used since the last reset of the budget.
    pub fn tokens_used(&self) -> u64 {
        self.state().meter.used()
    }

    /// Uses the day's budget up but for `left` tokens.
    pub fn drain_budget(&self, left: u64) {
        let state = &mut *self.state();
        let now = state.now();
        state.meter.drain(&state.settings, left, now);
    }
}

fn add(state: &mut State, kind: Kind, record: &Value, by: &Actor) -> i64 {
    let (now, record) = (state.now(), coded(state, kind, object(record)));
    match state.create(kind, &record, by, now) {
        Ok(id) => id,
        Err(refusal) => panic!("add of a {} refused: {}", kind.singular(), refusal.body),
    }
}

fn edit(state: &mut State, by: &Actor, kind: Kind, id: i64, change: &Value) {
    let (now, change) = (state.now(), coded(state, kind, object(change)));
    state.sweep(now);
    if let Err(refusal) = state.change(kind, id, &change, by, now) {
        panic!("edit of {} {id} refused: {}", kind.singular(), refusal.body);
    }
}
