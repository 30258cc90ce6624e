//! Both CRMs as people see them: records of two kinds, each with a few values that mean the same on both sides.

use std::sync::Arc;

use crmsync::sandbox::two_companies;
use crmsync_core::model::{EntityName, Pair, Side};
use crmsync_simulator::host::Service;
use crmsync_simulator::pipedrive::Pipedrive;
use crmsync_simulator::zoho::Zoho;
use serde_json::{Value, json};

use crate::clockwork::Clockwork;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Account,
    Contact,
}

/// What is decided as one: a field, or a group of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Unit {
    Name,
    Website,
    Email,
    Phone,
}

impl Kind {
    pub(crate) const ALL: [Self; 2] = [Self::Account, Self::Contact];

    pub(crate) fn entity(self) -> EntityName {
        EntityName::new(match self {
            Self::Account => "account",
            Self::Contact => "contact",
        })
    }

    pub(crate) const fn module(self, side: Side) -> &'static str {
        match (self, side) {
            (Self::Account, Side::Left) => "Accounts",
            (Self::Account, Side::Right) => "organizations",
            (Self::Contact, Side::Left) => "Contacts",
            (Self::Contact, Side::Right) => "persons",
        }
    }

    pub(crate) const fn units(self) -> &'static [Unit] {
        match self {
            Self::Account => &[Unit::Name, Unit::Website],
            Self::Contact => &[Unit::Name, Unit::Email, Unit::Phone],
        }
    }

    pub(crate) fn of_module(side: Side, module: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.module(side) == module)
    }
}

impl Unit {
    /// Canonical names of its fields, as open rows and journals name them.
    pub(crate) const fn fields(self, kind: Kind) -> &'static [&'static str] {
        match (self, kind) {
            (Self::Name, Kind::Account) => &["name"],
            (Self::Name, Kind::Contact) => &["first_name", "last_name", "full_name"],
            (Self::Website, _) => &["website"],
            (Self::Email, _) => &["email"],
            (Self::Phone, _) => &["phone"],
        }
    }
}

/// Names one record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Who {
    pub(crate) side: Side,
    pub(crate) kind: Kind,
    pub(crate) id: String,
}

impl std::fmt::Display for Who {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kind.module(self.side), self.id)
    }
}

/// A record as a person sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shown {
    /// Values in the order of [`Kind::units`].
    pub(crate) units: Vec<String>,
    /// ID of the counterpart that its external-ID field names.
    pub(crate) external: String,
    /// ID of its account.
    pub(crate) account: String,
}

impl Shown {
    pub(crate) fn unit(&self, kind: Kind, unit: Unit) -> Option<&str> {
        let at = kind.units().iter().position(|one| *one == unit)?;
        self.units.get(at).map(String::as_str)
    }
}

/// The two servers.
#[derive(Clone)]
pub(crate) struct Crms {
    pub(crate) zoho: Arc<Zoho>,
    pub(crate) pipedrive: Arc<Pipedrive>,
}

impl Crms {
    pub(crate) fn new(clocks: &Clockwork, seed: u64) -> Self {
        let (zoho, pipedrive) =
            two_companies(clocks.face(Side::Left), clocks.face(Side::Right), seed);
        Self { zoho, pipedrive }
    }

    pub(crate) fn services(&self) -> Pair<Arc<dyn Service>> {
        Pair::new(Arc::clone(&self.zoho) as _, Arc::clone(&self.pipedrive) as _)
    }

    pub(crate) fn get(&self, who: &Who) -> Option<Shown> {
        let module = who.kind.module(who.side);
        match who.side {
            Side::Left => self.zoho.get(module, number(&who.id)).map(|row| shown(who, &row)),
            Side::Right => {
                let id = signed(&who.id);
                self.pipedrive
                    .get(module, id)
                    .filter(|row| row["is_deleted"] != true)
                    .map(|row| shown(who, &row))
            }
        }
    }

    pub(crate) fn all(&self, side: Side, kind: Kind) -> Vec<(Who, Shown)> {
        let rows = match side {
            Side::Left => self.zoho.all(kind.module(side)),
            Side::Right => self.pipedrive.all(kind.module(side)),
        };
        let one = |row: Value| {
            let who = Who { side, kind, id: text(&row["id"]) };
            let shown = shown(&who, &row);
            (who, shown)
        };
        rows.into_iter().map(one).collect()
    }

    pub(crate) fn add(&self, side: Side, kind: Kind, units: &[String], account: &str) -> Who {
        let id = match side {
            Side::Left => {
                let mut row = json!({});
                for (unit, value) in kind.units().iter().zip(units) {
                    merge(&mut row, left_change(kind, *unit, value));
                }
                if !account.is_empty() {
                    row["Account_Name"] = json!({ "id": account });
                }
                self.zoho.add(kind.module(side), row).to_string()
            }
            Side::Right => {
                let mut row = json!({});
                for (unit, value) in kind.units().iter().zip(units) {
                    merge(&mut row, right_change(kind, *unit, value, &json!({})));
                }
                if kind == Kind::Contact {
                    row["name"] = units[0].clone().into();
                }
                if !account.is_empty() {
                    row["org_id"] = signed(account).into();
                }
                self.pipedrive.add(kind.module(side), row).to_string()
            }
        };
        Who { side, kind, id }
    }

    pub(crate) fn edit(&self, who: &Who, unit: Unit, value: &str) {
        let module = who.kind.module(who.side);
        match who.side {
            Side::Left => {
                self.zoho.edit(module, number(&who.id), left_change(who.kind, unit, value));
            }
            Side::Right => {
                let id = signed(&who.id);
                let now = self.pipedrive.get(module, id).unwrap_or_default();
                self.pipedrive.edit(module, id, right_change(who.kind, unit, value, &now));
            }
        }
    }

    pub(crate) fn set_account(&self, contact: &Who, account: &str) {
        let module = contact.kind.module(contact.side);
        match contact.side {
            Side::Left => {
                let change = if account.is_empty() {
                    json!({ "Account_Name": null })
                } else {
                    json!({ "Account_Name": { "id": account } })
                };
                self.zoho.edit(module, number(&contact.id), change);
            }
            Side::Right => {
                let account = (!account.is_empty()).then(|| signed(account));
                self.pipedrive.edit(module, signed(&contact.id), json!({ "org_id": account }));
            }
        }
    }

    pub(crate) fn delete(&self, who: &Who) {
        let module = who.kind.module(who.side);
        match who.side {
            Side::Left => {
                self.zoho.delete(module, number(&who.id));
            }
            Side::Right => self.pipedrive.delete(module, signed(&who.id)),
        }
    }

    pub(crate) fn undelete(&self, who: &Who) -> bool {
        let module = who.kind.module(who.side);
        match who.side {
            Side::Left => self.zoho.undelete(module, number(&who.id)),
            Side::Right => self.pipedrive.undelete(module, signed(&who.id)),
        }
    }

    pub(crate) fn merge(&self, survivor: &Who, loser: &Who) {
        let module = survivor.kind.module(survivor.side);
        match survivor.side {
            Side::Left => {
                self.zoho.merge(module, number(&survivor.id), number(&loser.id), &[]);
            }
            Side::Right => {
                self.pipedrive.merge(module, signed(&loser.id), signed(&survivor.id));
            }
        }
    }

    /// Copies a record: on Pipedrive's side with its external ID, which Zoho keeps unique.
    pub(crate) fn copy(&self, who: &Who) -> Who {
        let module = who.kind.module(who.side);
        let id = match who.side {
            Side::Left => self.zoho.clone_record(module, number(&who.id)).to_string(),
            Side::Right => {
                let row = self.pipedrive.get(module, signed(&who.id)).unwrap_or_default();
                let mut copy =
                    json!({ "name": row["name"], "custom_fields": row["custom_fields"] });
                for key in ["first_name", "last_name", "emails", "phones", "website"] {
                    if row.get(key).is_some_and(|value| !value.is_null()) {
                        copy[key] = row[key].clone();
                    }
                }
                self.pipedrive.add(module, copy).to_string()
            }
        };
        Who { side: who.side, kind: who.kind, id }
    }

    pub(crate) fn set_external(&self, who: &Who, value: Option<&str>) {
        let module = who.kind.module(who.side);
        match who.side {
            Side::Left => {
                self.zoho.edit(module, number(&who.id), json!({ "Pipedrive_ID": value }));
            }
            Side::Right => {
                let change = json!({ "custom_fields": { "Zoho ID": value } });
                self.pipedrive.edit(module, signed(&who.id), change);
            }
        }
    }
}

fn merge(row: &mut Value, more: Value) {
    if let (Some(row), Value::Object(more)) = (row.as_object_mut(), more) {
        row.extend(more);
    }
}

fn left_change(kind: Kind, unit: Unit, value: &str) -> Value {
    let set = if value.is_empty() { Value::Null } else { value.into() };
    match (kind, unit) {
        (Kind::Account, Unit::Name) => json!({ "Account_Name": set }),
        (Kind::Contact, Unit::Name) => {
            let (first, last) = value.split_once(' ').unwrap_or(("", value));
            let first = if first.is_empty() { Value::Null } else { first.into() };
            json!({ "First_Name": first, "Last_Name": last })
        }
        (_, Unit::Website) => json!({ "Website": set }),
        (_, Unit::Email) => json!({ "Email": set }),
        (_, Unit::Phone) => json!({ "Phone": set }),
    }
}

fn right_change(kind: Kind, unit: Unit, value: &str, now: &Value) -> Value {
    match (kind, unit) {
        (Kind::Account, Unit::Name) => json!({ "name": value }),
        (Kind::Contact, Unit::Name) => {
            let (first, last) = value.split_once(' ').unwrap_or(("", value));
            json!({ "first_name": first, "last_name": last })
        }
        (_, Unit::Website) => {
            json!({ "website": if value.is_empty() { Value::Null } else { value.into() } })
        }
        (_, Unit::Email) => {
            let others: Vec<_> = others(&now["emails"], |entry| entry["primary"] != true);
            let own = json!({ "value": value, "primary": true });
            json!({ "emails": joined(value, own, others) })
        }
        (_, Unit::Phone) => {
            let others: Vec<_> = others(&now["phones"], |entry| entry["label"] != "work");
            let own = json!({ "value": value, "label": "work", "primary": others.is_empty() });
            json!({ "phones": joined(value, own, others) })
        }
    }
}

fn others(list: &Value, keep: impl Fn(&Value) -> bool) -> Vec<Value> {
    list.as_array().into_iter().flatten().filter(|entry| keep(entry)).cloned().collect()
}

fn joined(value: &str, own: Value, others: Vec<Value>) -> Vec<Value> {
    (!value.is_empty()).then_some(own).into_iter().chain(others).collect()
}

fn shown(who: &Who, row: &Value) -> Shown {
    let units = who.kind.units().iter().map(|unit| value(who, *unit, row)).collect();
    let (external, account) = match who.side {
        Side::Left => (text(&row["Pipedrive_ID"]), reference(&row["Account_Name"])),
        Side::Right => {
            let custom = row["custom_fields"].as_object();
            // The only field of the company's own is our external ID; its name is a hash.
            let external = custom.and_then(|fields| fields.values().next()).map(text);
            (external.unwrap_or_default(), reference(&row["org_id"]))
        }
    };
    let account = if who.kind == Kind::Contact { account } else { String::new() };
    Shown { units, external, account }
}

fn value(who: &Who, unit: Unit, row: &Value) -> String {
    match (who.side, who.kind, unit) {
        (Side::Left, Kind::Account, Unit::Name) => text(&row["Account_Name"]),
        (Side::Left, Kind::Contact, Unit::Name) => full(&row["First_Name"], &row["Last_Name"]),
        (Side::Left, _, Unit::Website) => text(&row["Website"]),
        (Side::Left, _, Unit::Email) => text(&row["Email"]),
        (Side::Left, _, Unit::Phone) => text(&row["Phone"]),
        (Side::Right, Kind::Account, Unit::Name) => text(&row["name"]),
        (Side::Right, Kind::Contact, Unit::Name) => full(&row["first_name"], &row["last_name"]),
        (Side::Right, _, Unit::Website) => text(&row["website"]),
        (Side::Right, _, Unit::Email) => entry(&row["emails"], |entry| entry["primary"] == true),
        (Side::Right, _, Unit::Phone) => entry(&row["phones"], |entry| entry["label"] == "work"),
    }
}

fn full(first: &Value, last: &Value) -> String {
    format!("{} {}", text(first), text(last)).trim().to_owned()
}

fn entry(list: &Value, is_it: impl Fn(&Value) -> bool) -> String {
    let found = list.as_array().into_iter().flatten().find(|entry| is_it(entry));
    found.map(|entry| text(&entry["value"])).unwrap_or_default()
}

fn reference(value: &Value) -> String {
    if value.is_object() { text(&value["id"]) } else { text(value) }
}

pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

fn number(id: &str) -> u64 {
    id.parse().unwrap()
}

fn signed(id: &str) -> i64 {
    id.parse().unwrap()
}
