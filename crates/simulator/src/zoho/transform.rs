//! What turns records into others: conversion, merge, clone, tags.

use serde_json::{Map, Value, json};

use super::refusal::Refusal;
use super::state::State;
use super::table::id_of;
use super::times;
use super::watch::{Event, Operation};
use super::write::Actor;

/// Lead field → field of the contact it becomes. Source: Zoho CRM help, "Lead conversion mapping".
const TO_CONTACT: &[(&str, &str)] = &[
    ("Salutation", "Salutation"),
    ("First_Name", "First_Name"),
    ("Last_Name", "Last_Name"),
    ("Email", "Email"),
    ("Secondary_Email", "Secondary_Email"),
    ("Phone", "Phone"),
    ("Mobile", "Mobile"),
    ("Fax", "Fax"),
    ("Designation", "Title"),
    ("Lead_Source", "Lead_Source"),
    ("Description", "Description"),
    ("Email_Opt_Out", "Email_Opt_Out"),
    ("Street", "Mailing_Street"),
    ("City", "Mailing_City"),
    ("State", "Mailing_State"),
    ("Country", "Mailing_Country"),
    ("Zip_Code", "Mailing_Zip"),
    ("Owner", "Owner"),
];

const TO_ACCOUNT: &[(&str, &str)] = &[
    ("Company", "Account_Name"),
    ("Phone", "Phone"),
    ("Website", "Website"),
    ("Industry", "Industry"),
    ("Annual_Revenue", "Annual_Revenue"),
    ("No_of_Employees", "Employees"),
    ("Street", "Billing_Street"),
    ("City", "Billing_City"),
    ("State", "Billing_State"),
    ("Country", "Billing_Country"),
    ("Zip_Code", "Billing_Code"),
    ("Owner", "Owner"),
];

/// The records a lead became.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Converted {
    pub contact: u64,
    pub account: Option<u64>,
    pub deal: Option<u64>,
}

impl State {
    /// Converts a lead; `wishes` holds `Accounts`, `Contacts` (ids to reuse) and `Deals` (values).
    pub(super) fn convert(
        &mut self,
        lead: u64,
        wishes: &Map<String, Value>,
        actor: Actor,
    ) -> Result<Converted, Refusal> {
        let row = self.table("Leads").and_then(|leads| leads.get(lead));
        let row = row.ok_or_else(|| Refusal::invalid_id(json!({ "resource_path_index": 1 })))?;
        if row.fields.get("Converted__s") == Some(&Value::Bool(true)) {
            return Err(Refusal::new(
                400,
                "ID_ALREADY_CONVERTED",
                "id already converted",
                json!({ "resource_path_index": 1 }),
            ));
        }
        let before = row.fields.clone();
        let account = self.converted_account(&before, wishes, actor)?;
        let contact = self.converted_contact(&before, wishes, account, actor)?;
        let deal = self.converted_deal(wishes, account, contact, actor)?;
        let mut fields = before;
        let link = |id: u64| json!({ "id": id.to_string() });
        fields.insert("Converted__s".into(), true.into());
        fields.insert("Converted_Date_Time".into(), times::store(self.instant()).into());
        fields.insert("Converted_Contact".into(), link(contact));
        fields.extend(account.map(|id| ("Converted_Account".into(), link(id))));
        fields.extend(deal.map(|id| ("Converted_Deal".into(), link(id))));
        self.repoint("Leads", lead, "Contacts", contact, &["Notes", "Tasks", "Events", "Calls"]);
        self.store("Leads", lead, fields, actor.user);
        let changed = vec!["Converted__s".into()];
        self.watches.note(Event {
            module: "Leads".into(),
            id: lead,
            operation: Operation::Update,
            changed,
        });
        Ok(Converted { contact, account, deal })
    }

    /// The account given, else the one of that name, else a new one; none without a company.
    fn converted_account(
        &mut self,
        lead: &Map<String, Value>,
        wishes: &Map<String, Value>,
        actor: Actor,
    ) -> Result<Option<u64>, Refusal> {
        if let Some(id) = wishes.get("Accounts").and_then(id_of) {
            return self.existing("Accounts", id).map(Some);
        }
        let Some(name) = lead.get("Company").filter(|name| !name.is_null()) else {
            return Ok(None);
        };
        let known = self
            .table("Accounts")
            .and_then(|accounts| accounts.holding("Account_Name", name)?.first().copied());
        if let Some(known) = known {
            return Ok(Some(known));
        }
        let values = self.mapped("Accounts", lead, TO_ACCOUNT);
        self.insert_row("Accounts", &values, actor, "$.data[0].Accounts").map(Some)
    }

    /// The contact given, else a new one; a contact with the same address is a duplicate.
    fn converted_contact(
        &mut self,
        lead: &Map<String, Value>,
        wishes: &Map<String, Value>,
        account: Option<u64>,
        actor: Actor,
    ) -> Result<u64, Refusal> {
        if let Some(id) = wishes.get("Contacts").and_then(id_of) {
            return self.existing("Contacts", id);
        }
        if let (Some(email), Some(contacts)) = (lead.get("Email"), self.modules.get("Contacts")) {
            let twin = contacts
                .table
                .holding("Email", email)
                .and_then(|ids| contacts.table.get(*ids.first()?));
            if let Some(twin) = twin {
                return Err(self.duplicate(contacts, twin, "Email", "$.data[0].Contacts", false));
            }
        }
        let mut values = self.mapped("Contacts", lead, TO_CONTACT);
        values.extend(account.map(|id| ("Account_Name".into(), json!({ "id": id.to_string() }))));
        self.insert_row("Contacts", &values, actor, "$.data[0].Contacts")
    }

    fn converted_deal(
        &mut self,
        wishes: &Map<String, Value>,
        account: Option<u64>,
        contact: u64,
        actor: Actor,
    ) -> Result<Option<u64>, Refusal> {
        let Some(mut values) = wishes.get("Deals").and_then(Value::as_object).cloned() else {
            return Ok(None);
        };
        values.insert("Contact_Name".into(), json!({ "id": contact.to_string() }));
        values.extend(account.map(|id| ("Account_Name".into(), json!({ "id": id.to_string() }))));
        self.insert_row("Deals", &values, actor, "$.data[0].Deals").map(Some)
    }

    fn existing(&self, module: &str, id: u64) -> Result<u64, Refusal> {
        let found = self.table(module).is_some_and(|table| table.get(id).is_some());
        let details = json!({ "api_name": "id", "json_path": format!("$.data[0].{module}.id") });
        if found { Ok(id) } else { Err(Refusal::invalid_id(details)) }
    }

    /// Values of a lead under the target's names; custom fields of the same name go along, unique ones too.
    fn mapped(
        &self,
        module: &str,
        lead: &Map<String, Value>,
        names: &[(&str, &str)],
    ) -> Map<String, Value> {
        let mut values: Map<String, Value> = names
            .iter()
            .filter_map(|(from, to)| Some(((*to).to_owned(), lead.get(*from)?.clone())))
            .collect();
        let (leads, target) = (self.modules.get("Leads"), self.modules.get(module));
        let custom = leads.into_iter().flat_map(|leads| &leads.fields).filter(|field| field.custom);
        for field in custom.filter(|field| {
            target.is_some_and(|target| target.field(&field.api_name).is_some_and(|f| f.custom))
        }) {
            values.extend(
                lead.get(&field.api_name).map(|value| (field.api_name.clone(), value.clone())),
            );
        }
        values
    }

    /// Merges `child` into `master`: the named fields are taken over, what points to the child moves.
    pub(super) fn merge(
        &mut self,
        module: &str,
        master: u64,
        child: u64,
        taken: &[String],
        actor: Actor,
    ) -> Result<(), Refusal> {
        let row = |id: u64| self.table(module).and_then(|table| table.get(id));
        let (Some(kept), Some(lost)) = (row(master), row(child)) else {
            return Err(Refusal::invalid_id(
                json!({ "api_name": "id", "json_path": "$.merge[0].data[0].id" }),
            ));
        };
        if kept.locked || lost.locked || master == child {
            return Err(Refusal::new(
                400,
                "NOT_ALLOWED",
                "the record cannot be merged",
                json!({ "api_name": "id" }),
            ));
        }
        let (mut fields, lost) = (kept.fields.clone(), lost.fields.clone());
        for name in taken {
            fields.extend(lost.get(name).map(|value| (name.clone(), value.clone())));
        }
        self.repoint(module, child, module, master, &[]);
        let changed = self
            .table(module)
            .and_then(|table| table.get(master))
            .is_some_and(|row| row.fields != fields);
        self.bury_merged(module, child, actor);
        if changed || self.switches.merge_stamps {
            self.store(module, master, fields, actor.user);
            let event = Event {
                module: module.into(),
                id: master,
                operation: Operation::Update,
                changed: taken.to_vec(),
            };
            self.watches.note(event);
        }
        Ok(())
    }

    fn bury_merged(&mut self, module: &str, child: u64, actor: Actor) {
        self.delete_row(module, child, actor);
        if self.switches.merged_are_permanent
            && let Some(module) = self.modules.get_mut(module)
        {
            module.table.empty_grave(child);
        }
    }

    /// Lets records that point to one record point to another; their times stay. Empty `only`: of all modules.
    fn repoint(&mut self, from_module: &str, from: u64, to_module: &str, to: u64, only: &[&str]) {
        let target = self.modules.get(to_module).map(|module| (module.api_name.clone(), module.id));
        let moved = from_module != to_module;
        for module in self
            .modules
            .values_mut()
            .filter(|module| only.is_empty() || only.contains(&module.api_name.as_str()))
        {
            for id in module.table.pointing_to(from) {
                module.table.touch(id, |row| {
                    for value in row.fields.values_mut().filter(|value| id_of(value) == Some(from))
                    {
                        value["id"] = to.to_string().into();
                        if let (true, Some((name, id))) = (value.get("module").is_some(), &target) {
                            value["module"] = json!({ "api_name": name, "id": id.to_string() });
                        }
                    }
                    if moved && row.fields.contains_key("$se_module") {
                        row.fields.insert("$se_module".into(), to_module.into());
                    }
                });
            }
        }
    }

    /// Copies a record; unique values do not go along.
    pub(super) fn clone_row(
        &mut self,
        module: &str,
        id: u64,
        actor: Actor,
    ) -> Result<u64, Refusal> {
        let schema = self.modules.get(module).ok_or_else(|| Refusal::module(0))?;
        let row = schema
            .table
            .get(id)
            .ok_or_else(|| Refusal::invalid_id(json!({ "resource_path_index": 1 })))?;
        let copied = row
            .fields
            .iter()
            .filter(|(name, _)| schema.field(name).is_none_or(|field| !field.refuses_duplicates()));
        let values: Map<String, Value> =
            copied.map(|(name, value)| (name.clone(), value.clone())).collect();
        self.insert_row(module, &values, actor, "$.data[0]")
    }

    /// Adds tags to a record or takes them away; false when there is no such record.
    pub(super) fn retag(
        &mut self,
        module: &str,
        id: u64,
        names: &Value,
        change: Tagging,
        actor: Actor,
    ) -> bool {
        let Some(row) = self.table(module).and_then(|table| table.get(id)) else { return false };
        let mut fields = row.fields.clone();
        let held = fields.get("Tag").and_then(Value::as_array).cloned().unwrap_or_default();
        let sent = self.tags(module, names);
        let sent = sent.as_array().cloned().unwrap_or_default();
        let among =
            |tags: &[Value], tag: &Value| tags.iter().any(|other| other["name"] == tag["name"]);
        let tags: Vec<Value> = match change {
            Tagging::Replace => sent,
            Tagging::Add => {
                let new: Vec<Value> = sent.into_iter().filter(|tag| !among(&held, tag)).collect();
                held.into_iter().chain(new).collect()
            }
            Tagging::Remove => held.into_iter().filter(|tag| !among(&sent, tag)).collect(),
        };
        fields.insert("Tag".into(), tags.into());
        if self.switches.tags_stamp {
            self.store(module, id, fields, actor.user);
        } else if let Some(module) = self.modules.get_mut(module) {
            module.table.touch(id, |row| row.fields = fields);
        }
        self.watches.note(Event {
            module: module.into(),
            id,
            operation: Operation::Update,
            changed: vec!["Tag".into()],
        });
        true
    }
}

/// What a call does with the tags it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tagging {
    Add,
    Replace,
    Remove,
}
