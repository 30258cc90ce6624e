//! Inserting, changing and deleting one record: the rules that hold for the API and for people alike.

use serde_json::{Map, Value, json};

use super::accept::accept;
use super::refusal::Refusal;
use super::schema::{Field, FieldType, Module};
use super::state::State;
use super::table::Row;
use super::watch::{Event, Operation};

/// Who writes, and whether automations follow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Actor {
    pub(super) user: u64,
    pub(super) workflows: bool,
}

impl State {
    /// Adds a record; `path` is its place in the body, such as `$.data[0]`.
    pub(super) fn insert_row(
        &mut self,
        module: &str,
        input: &Map<String, Value>,
        actor: Actor,
        path: &str,
    ) -> Result<u64, Refusal> {
        let schema = self.modules.get(module).ok_or_else(|| Refusal::module(0))?;
        let mut accepted = accept(self, schema, input, path);
        let bad: Vec<String> = accepted.errors.iter().filter_map(named).collect();
        for field in
            schema.fields.iter().filter(|field| field.mandatory && !bad.contains(&field.api_name))
        {
            if accepted.values.get(&field.api_name).is_none_or(Value::is_null) {
                accepted.errors.push(Refusal::mandatory(
                    &field.api_name,
                    &format!("{path}.{}", field.api_name),
                ));
            }
        }
        accepted.errors.extend(self.clashes(schema, &accepted.values, None, path));
        Refusal::fold(accepted.errors)?;

        let id = self.fresh_id();
        let now = self.now();
        let changed: Vec<String> = accepted.values.keys().cloned().collect();
        let mut fields = Map::new();
        self.blend(module, &mut fields, accepted.values, &Map::new());
        fields.entry("Owner").or_insert_with(|| json!({ "id": actor.user.to_string() }));
        self.complete(module, &mut fields, &changed)?;
        let row = Row {
            id,
            fields,
            created: now,
            modified: now,
            created_by: actor.user,
            modified_by: actor.user,
            locked: false,
            past: Vec::new(),
        };
        if let Some(module) = self.modules.get_mut(module) {
            module.table.add(row);
        }
        self.after_write(module, id, Operation::Insert, changed, actor);
        Ok(id)
    }

    /// Changes the fields named in `input` and no other.
    pub(super) fn update_row(
        &mut self,
        module: &str,
        id: u64,
        input: &Map<String, Value>,
        actor: Actor,
        path: &str,
    ) -> Result<(), Refusal> {
        let schema = self.modules.get(module).ok_or_else(|| Refusal::module(0))?;
        let row = schema.table.get(id).ok_or_else(|| unknown_id(path))?;
        writable(row, path, "update")?;
        let mut accepted = accept(self, schema, input, path);
        if module == "Notes" {
            accepted.values.remove("Parent_Id");
        }
        for field in schema.fields.iter().filter(|field| field.mandatory) {
            if accepted.values.get(&field.api_name).is_some_and(Value::is_null) {
                accepted.errors.push(Refusal::mandatory(
                    &field.api_name,
                    &format!("{path}.{}", field.api_name),
                ));
            }
        }
        accepted.errors.extend(self.clashes(schema, &accepted.values, Some(id), path));
        Refusal::fold(accepted.errors)?;

        let before = row.fields.clone();
        let appended =
            input.get("$append_values").and_then(Value::as_object).cloned().unwrap_or_default();
        let mut fields = before.clone();
        let changed: Vec<String> = accepted.values.keys().cloned().collect();
        self.blend(module, &mut fields, accepted.values, &appended);
        self.complete(module, &mut fields, &changed)?;
        if fields == before && !self.switches.idle_update_stamps {
            return Ok(());
        }
        self.store(module, id, fields, actor.user);
        self.after_write(module, id, Operation::Update, changed, actor);
        Ok(())
    }

    /// Puts a new version in place, stamped now.
    pub(super) fn store(&mut self, module: &str, id: u64, fields: Map<String, Value>, by: u64) {
        let now = self.now();
        if let Some(module) = self.modules.get_mut(module) {
            module.table.revise(id, now, by, fields);
        }
    }

    /// Moves a record with its notes and activities to the recycle bin.
    pub(super) fn delete_row(&mut self, module: &str, id: u64, actor: Actor) -> bool {
        let now = self.now();
        let Some(schema) = self.modules.get_mut(module) else { return false };
        let Some(row) = schema.table.get(id) else { return false };
        let name = schema.display_name(&row.fields);
        schema.table.bury(id, now, Some(actor.user), name);
        self.after_write(module, id, Operation::Delete, Vec::new(), actor);
        for child in ["Notes", "Tasks", "Events", "Calls"] {
            for id in self.table(child).map(|table| table.pointing_to(id)).unwrap_or_default() {
                self.delete_row(child, id, actor);
            }
        }
        true
    }

    /// Brings a record back with the notes and activities that went with it.
    pub(super) fn restore_row(&mut self, module: &str, id: u64, actor: Actor) -> bool {
        let now = self.now();
        let stamps = self.switches.restore_stamps;
        let Some(schema) = self.modules.get_mut(module) else { return false };
        let Some(died) = schema.table.graves().get(&id).map(|grave| grave.at) else { return false };
        let Some(mut row) = schema.table.raise(id) else { return false };
        if stamps {
            (row.modified, row.modified_by) = (now, actor.user);
        }
        schema.table.add(row);
        for child in ["Notes", "Tasks", "Events", "Calls"] {
            let graves = self.table(child).map(|table| table.graves().clone()).unwrap_or_default();
            let lost =
                graves.values().filter(|grave| grave.at == died && points_to(&grave.row, id));
            for id in lost.map(|grave| grave.row.id).collect::<Vec<_>>() {
                self.restore_row(child, id, actor);
            }
        }
        self.after_write(module, id, Operation::Insert, Vec::new(), actor);
        true
    }

    fn after_write(
        &mut self,
        module: &str,
        id: u64,
        operation: Operation,
        changed: Vec<String>,
        actor: Actor,
    ) {
        if module == "Notes" && operation != Operation::Delete && self.switches.notes_stamp_parent {
            self.stamp_parent(id, actor.user);
        }
        self.watches.note(Event { module: module.into(), id, operation, changed });
        if actor.workflows && operation != Operation::Delete {
            self.schedule_automations(module, id);
        }
    }

    /// Moves the `Modified_Time` of the record a note belongs to.
    fn stamp_parent(&mut self, note: u64, by: u64) {
        let parent = self.table("Notes").and_then(|notes| notes.get(note)?.fields.get("Parent_Id"));
        let named = parent.and_then(|parent| {
            Some((parent.pointer("/module/api_name")?.as_str()?, super::table::id_of(parent)?))
        });
        let Some((module, id)) = named.map(|(module, id)| (module.to_owned(), id)) else { return };
        if let Some(fields) =
            self.table(&module).and_then(|table| table.get(id)).map(|row| row.fields.clone())
        {
            self.store(&module, id, fields, by);
        }
    }

    /// Unique values that another record holds already.
    fn clashes(
        &self,
        module: &Module,
        values: &Map<String, Value>,
        own: Option<u64>,
        path: &str,
    ) -> Vec<Refusal> {
        let unique = module.fields.iter().filter(|field| field.refuses_duplicates());
        let clash = |field: &Field| {
            let value = values.get(&field.api_name).filter(|value| !value.is_null())?;
            let mut holders =
                module.table.holding(&field.api_name, value)?.iter().filter(|id| Some(**id) != own);
            let row = module.table.get(*holders.next()?)?;
            Some(self.duplicate(module, row, &field.api_name, path, holders.next().is_some()))
        };
        unique.filter_map(clash).collect()
    }

    pub(super) fn duplicate(
        &self,
        module: &Module,
        row: &Row,
        field: &str,
        path: &str,
        more: bool,
    ) -> Refusal {
        let owner = row.fields.get("Owner").and_then(super::table::id_of);
        let owner = owner.and_then(|id| self.users.get(&id));
        let owner = owner.map(|user| json!({ "name": user.full_name(), "id": user.id.to_string(), "zuid": user.zuid() }));
        let details = json!({
            "api_name": field,
            "json_path": format!("{path}.{field}"),
            "id": row.id.to_string(),
            "more_records": more,
            "duplicate_record": {
                "id": row.id.to_string(),
                "Owner": owner,
                "module": { "api_name": module.api_name, "id": module.id.to_string() },
            },
        });
        Refusal::new(400, "DUPLICATE_DATA", "duplicate data", details)
    }

    /// Lays written values over a record: nulls clear, subform rows and appended options add.
    fn blend(
        &mut self,
        module: &str,
        fields: &mut Map<String, Value>,
        values: Map<String, Value>,
        appended: &Map<String, Value>,
    ) {
        for (name, value) in values {
            let kind = self
                .modules
                .get(module)
                .and_then(|module| module.field(&name))
                .map(|field| field.kind);
            let value = match kind {
                Some(FieldType::Subform) => self.subform(fields.get(&name), &value),
                Some(FieldType::Tag) => self.tags(module, &value),
                Some(FieldType::MultiPicklist)
                    if appended.get(&name) == Some(&Value::Bool(true)) =>
                {
                    let mut options =
                        fields.get(&name).and_then(Value::as_array).cloned().unwrap_or_default();
                    let added = value.as_array().into_iter().flatten();
                    let new: Vec<Value> =
                        added.filter(|option| !options.contains(option)).cloned().collect();
                    options.extend(new);
                    options.into()
                }
                Some(_) | None => value,
            };
            if value.is_null() || value.as_array().is_some_and(Vec::is_empty) {
                fields.remove(&name);
            } else {
                fields.insert(name, value);
            }
        }
    }

    /// Rows with an id change, rows without are added, `_delete` removes, `[]` empties.
    fn subform(&mut self, before: Option<&Value>, sent: &Value) -> Value {
        let mut rows = before.and_then(Value::as_array).cloned().unwrap_or_default();
        let Some(sent) = sent.as_array().filter(|sent| !sent.is_empty()) else {
            return Value::Null;
        };
        for change in sent.iter().filter_map(Value::as_object) {
            let at = rows
                .iter()
                .position(|row| change.contains_key("id") && row.get("id") == change.get("id"));
            match at {
                Some(at) if change.contains_key("_delete") => {
                    rows.remove(at);
                }
                Some(at) => {
                    if let Some(row) = rows[at].as_object_mut() {
                        row.extend(change.clone());
                    }
                }
                None => {
                    let mut row = change.clone();
                    row.insert("id".into(), self.fresh_id().to_string().into());
                    rows.push(row.into());
                }
            }
        }
        rows.into()
    }

    /// Gives ids to tag names; unknown names become new tags of the module.
    pub(super) fn tags(&mut self, module: &str, names: &Value) -> Value {
        let names =
            names.as_array().into_iter().flatten().filter_map(|tag| tag.get("name")?.as_str());
        let tags = names.map(|name| {
            let known = self.modules.get(module).and_then(|module| module.tags.get(name).copied());
            let id = known.unwrap_or_else(|| self.fresh_id());
            if let Some(module) = self.modules.get_mut(module) {
                module.tags.insert(name.to_owned(), id);
            }
            json!({ "name": name, "id": id.to_string(), "color_code": null })
        });
        Value::Array(tags.collect())
    }
}

/// Refuses to change a locked record or a converted lead.
pub(super) fn writable(row: &Row, path: &str, action: &str) -> Result<(), Refusal> {
    if row.locked {
        let details = json!({ "api_name": "id", "json_path": format!("{path}.id"), "action": action, "id": row.id.to_string() });
        return Err(Refusal::new(400, "RECORD_LOCKED", "record is locked", details));
    }
    if row.fields.get("Converted__s") == Some(&Value::Bool(true)) && action == "update" {
        let details = json!({ "id": row.id.to_string() });
        return Err(Refusal::new(
            400,
            "CONVERTED_RECORD",
            "can't update the converted record",
            details,
        ));
    }
    Ok(())
}

pub(super) fn unknown_id(path: &str) -> Refusal {
    Refusal::invalid_id(json!({ "api_name": "id", "json_path": format!("{path}.id") }))
}

fn points_to(row: &Row, id: u64) -> bool {
    row.fields.iter().any(|(name, value)| name != "Owner" && super::table::id_of(value) == Some(id))
}

fn named(refusal: &Refusal) -> Option<String> {
    refusal.details.get("api_name").and_then(Value::as_str).map(str::to_owned)
}
