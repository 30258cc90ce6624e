//! Checks a write's body against the built-in and custom fields.

use serde_json::{Map, Value, json};

use super::kind::Kind;
use super::refusal::Refusal;
use super::schema::{Access, CONTACT_SYNC, Column, Shape, columns};
use super::settings::UnknownLink;
use super::state::{Actor, Source, State};
use super::{time, values};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Create,
    Change,
}

/// A write that fits the schema.
#[derive(Clone, Debug, Default)]
pub(super) struct Input {
    pub(super) body: Map<String, Value>,
    /// By code; null clears.
    pub(super) custom: Map<String, Value>,
}

/// Longest name, title or subject.
const NAME_LENGTH: usize = 255;

impl State {
    /// Checks a body; keys that the entity doesn't have are refused for the strict kinds.
    pub(super) fn validate(
        &self,
        kind: Kind,
        mode: Mode,
        given: &Map<String, Value>,
        by: &Actor,
    ) -> Result<Input, Refusal> {
        let mut input = Input::default();
        for (key, value) in given {
            if key == "custom_fields" && kind.has_custom_fields() {
                input.custom = self.validate_custom(kind, value, by)?;
                continue;
            }
            let Some(column) = self.writable(kind, mode, key, by)? else { continue };
            let value = self.shaped(kind, column, value, by)?;
            input.body.insert(key.clone(), value);
        }
        Ok(input)
    }

    fn writable(
        &self,
        kind: Kind,
        mode: Mode,
        key: &str,
        by: &Actor,
    ) -> Result<Option<&'static Column>, Refusal> {
        let strict = matches!(kind, Kind::Person | Kind::Organization | Kind::Deal | Kind::Product);
        if kind == Kind::Person && CONTACT_SYNC.iter().any(|column| column.key == key) {
            let column = CONTACT_SYNC.iter().find(|column| column.key == key);
            let on = self.settings.company.contact_sync;
            return if on {
                Ok(column)
            } else {
                Err(Refusal::new(403, "Contact sync is not enabled for this company"))
            };
        }
        let column = columns(kind).iter().find(|column| column.key == key);
        let open = column.is_some_and(|column| match column.access {
            Access::Write => true,
            Access::CreateOnly => mode == Mode::Create || by.source == Source::Web,
            Access::ReadOnly => {
                by.source == Source::Web && !matches!(key, "id" | "update_time" | "is_deleted")
            }
        });
        if open {
            return Ok(column);
        }
        if strict && by.source != Source::Web && !self.settings.switches.ignore_unknown_keys {
            return Err(Refusal::invalid(key, &format!("Unknown key '{key}'")));
        }
        Ok(None)
    }

    fn validate_custom(
        &self,
        kind: Kind,
        value: &Value,
        by: &Actor,
    ) -> Result<Map<String, Value>, Refusal> {
        let given = value.as_object().ok_or_else(|| Refusal::not_a("custom_fields", "object"))?;
        let zone = self.user(by.user).map_or("UTC", |user| user.time_zone.as_str());
        let mut checked = Map::new();
        for (code, value) in given {
            let field = self.custom_field(kind, code).ok_or_else(|| {
                Refusal::invalid("custom_fields", &format!("Unknown key '{code}'"))
            })?;
            checked.insert(
                code.clone(),
                values::check(self, kind, field, value, zone)?.unwrap_or_default(),
            );
        }
        Ok(checked)
    }

    fn shaped(
        &self,
        kind: Kind,
        column: &Column,
        value: &Value,
        by: &Actor,
    ) -> Result<Value, Refusal> {
        let key = column.key;
        if value.is_null() {
            let refused = self.settings.switches.refuse_null_links
                && matches!(key, "org_id" | "person_id" | "value");
            let read_only = column.access == Access::ReadOnly;
            return if (column.nullable || read_only) && !refused {
                Ok(Value::Null)
            } else {
                Err(Refusal::not_a(key, type_name(column.shape)))
            };
        }
        let checked = match column.shape {
            Shape::Text => text(key, value)?,
            Shape::Html => value.as_str().map(|html| ammonia::clean(html).into()),
            Shape::Int => value.as_i64().map(Into::into),
            Shape::Number => value.is_number().then(|| value.clone()),
            Shape::Bool => value.as_bool().map(Into::into),
            Shape::Flag => {
                value.as_bool().or_else(|| value.as_i64().map(|flag| flag == 1)).map(Into::into)
            }
            Shape::Date => dated(kind, value),
            Shape::OfDay => value.as_str().and_then(|text| {
                if text.is_empty() { Some(Value::Null) } else { time::of_day(text).map(Into::into) }
            }),
            Shape::Stamp => {
                value.as_str().and_then(time::parse_any).map(|millis| time::v2(millis).into())
            }
            Shape::Ids => self.option_ids(kind, key, value)?,
            Shape::Uuids => self.label_uuids(value)?,
            Shape::Contacts => Some(self.contacts(key, value)?),
            Shape::Address => {
                values::address(value, kind == Kind::Organization || kind == Kind::Person)
            }
            Shape::Participants => self.participants(value)?,
            Shape::Attendees => attendees(value),
            Shape::Prices => self.prices(value)?,
            Shape::Amount => self.amount(value)?,
            Shape::Currency => {
                value.as_str().filter(|code| self.shelf.has_currency(code)).map(Into::into)
            }
            Shape::Visibility => self.visibility(kind, value),
            Shape::Word(words) => {
                value.as_str().filter(|word| words.contains(word)).map(Into::into)
            }
            Shape::User => return self.owner(key, value),
            Shape::Link(target) => return self.link(key, target, value, by),
            Shape::LeadLink => return self.lead_link(key, value),
            Shape::Option => self.option(kind, key, value)?,
        };
        checked.ok_or_else(|| Refusal::not_a(key, type_name(column.shape)))
    }

    fn owner(&self, key: &str, value: &Value) -> Result<Value, Refusal> {
        let id = value.as_i64().ok_or_else(|| Refusal::not_a(key, "integer"))?;
        let known = self.user(id).is_some_and(|user| user.active);
        if known {
            Ok(id.into())
        } else {
            Err(Refusal::new(400, "User not found or not accessible."))
        }
    }

    fn link(&self, key: &str, target: Kind, value: &Value, by: &Actor) -> Result<Value, Refusal> {
        let id = value.as_i64().ok_or_else(|| Refusal::not_a(key, "integer"))?;
        let record = self
            .live(target, id)
            .filter(|record| self.sees(by.user, target, record, &record.version));
        if record.is_some() {
            return Ok(id.into());
        }
        match self.settings.switches.unknown_links {
            UnknownLink::Refused => {
                Err(Refusal::invalid(key, &format!("{} not found", target.title())))
            }
            UnknownLink::NotFound => Err(Refusal::not_found(target.title())),
            UnknownLink::Null => Ok(Value::Null),
        }
    }

    fn lead_link(&self, key: &str, value: &Value) -> Result<Value, Refusal> {
        let uuid = value.as_str().ok_or_else(|| Refusal::not_a(key, "string"))?;
        let id = self.leads.get(uuid).filter(|id| self.live(Kind::Lead, **id).is_some());
        if id.is_some() { Ok(uuid.into()) } else { Err(Refusal::invalid(key, "Lead not found")) }
    }

    fn option_ids(&self, kind: Kind, key: &str, value: &Value) -> Result<Option<Value>, Refusal> {
        let Some(ids) = value.as_array() else { return Ok(None) };
        let field = self.fields_of(kind).iter().find(|field| field.code == key);
        for id in ids {
            let id = id.as_i64().ok_or_else(|| Refusal::not_a(key, "integer"))?;
            if !field.is_some_and(|field| field.has_option(id)) {
                return Err(Refusal::invalid(key, &format!("Unknown option '{id}'")));
            }
        }
        Ok(Some(value.clone()))
    }

    fn option(&self, kind: Kind, key: &str, value: &Value) -> Result<Option<Value>, Refusal> {
        let Some(id) = value.as_i64() else { return Ok(None) };
        let field = self.fields_of(kind).iter().find(|field| field.code == key);
        if !field.is_some_and(|field| field.has_option(id)) {
            return Err(Refusal::invalid(key, &format!("Unknown option '{id}'")));
        }
        Ok(Some(if key == "category" { id.to_string().into() } else { id.into() }))
    }

    fn label_uuids(&self, value: &Value) -> Result<Option<Value>, Refusal> {
        let Some(ids) = value.as_array() else { return Ok(None) };
        let known = |id: &Value| {
            id.as_str()
                .is_some_and(|id| self.shelf.lead_labels.iter().any(|label| label["id"] == id))
        };
        if ids.iter().all(known) {
            Ok(Some(value.clone()))
        } else {
            Err(Refusal::invalid("label_ids", "Unknown label"))
        }
    }

    /// Emails, phones, messengers: at most one primary, else the first one is.
    fn contacts(&self, key: &str, value: &Value) -> Result<Value, Refusal> {
        let items = value.as_array().ok_or_else(|| Refusal::not_a(key, "array"))?;
        let mut contacts = Vec::new();
        for item in items {
            let item = item.as_object().ok_or_else(|| Refusal::not_a(key, "object"))?;
            let unknown =
                item.keys().find(|name| !matches!(name.as_str(), "value" | "primary" | "label"));
            if let Some(name) = unknown.filter(|_| !self.settings.switches.ignore_unknown_keys) {
                return Err(Refusal::invalid(key, &format!("Unknown key '{name}'")));
            }
            let text = item
                .get("value")
                .and_then(Value::as_str)
                .ok_or_else(|| Refusal::not_a(&format!("{key}.value"), "string"))?;
            let primary = match item.get("primary") {
                None => false,
                Some(flag) => flag
                    .as_bool()
                    .ok_or_else(|| Refusal::not_a(&format!("{key}.primary"), "boolean"))?,
            };
            let label = match item.get("label") {
                None | Some(Value::Null) => "work",
                Some(label) => label
                    .as_str()
                    .ok_or_else(|| Refusal::not_a(&format!("{key}.label"), "string"))?,
            };
            let text = text.trim();
            let text = if key == "emails" && self.settings.switches.lowercase_emails {
                text.to_lowercase()
            } else {
                text.to_owned()
            };
            contacts.push((text, primary, label.to_owned()));
        }
        if contacts.iter().filter(|(_, primary, _)| *primary).count() > 1
            && !self.settings.switches.first_primary_wins
        {
            return Err(Refusal::invalid(key, "Only one primary value is allowed"));
        }
        let first = contacts.iter().position(|(_, primary, _)| *primary).unwrap_or(0);
        let rows = contacts.iter().enumerate().map(|(index, (value, _, label))| json!({ "value": value, "primary": index == first, "label": label }));
        Ok(rows.collect())
    }

    fn participants(&self, value: &Value) -> Result<Option<Value>, Refusal> {
        let Some(items) = value.as_array() else { return Ok(None) };
        let mut rows = Vec::new();
        for item in items {
            let id = item
                .get("person_id")
                .and_then(Value::as_i64)
                .ok_or_else(|| Refusal::not_a("participants.person_id", "integer"))?;
            if self.live(Kind::Person, id).is_none() {
                return Err(Refusal::invalid("participants", "Person not found"));
            }
            rows.push((id, item.get("primary").and_then(Value::as_bool).unwrap_or(false)));
        }
        let first = rows.iter().position(|(_, primary)| *primary).unwrap_or(0);
        let rows = rows
            .iter()
            .enumerate()
            .map(|(index, (id, _))| json!({ "person_id": id, "primary": index == first }));
        Ok(Some(rows.collect()))
    }

    fn prices(&self, value: &Value) -> Result<Option<Value>, Refusal> {
        let Some(items) = value.as_array() else { return Ok(None) };
        let mut rows: Vec<Value> = Vec::new();
        for item in items {
            let currency = item
                .get("currency")
                .and_then(Value::as_str)
                .filter(|code| self.shelf.has_currency(code));
            let currency = currency.ok_or_else(|| Refusal::not_a("prices.currency", "string"))?;
            if rows.iter().any(|row| row["currency"] == currency) {
                return Err(Refusal::invalid("prices", "Only one price per currency is allowed"));
            }
            let mut row = json!({ "currency": currency, "price": 0, "cost": 0, "direct_cost": 0, "notes": "" });
            for (name, part) in
                item.as_object().into_iter().flatten().filter(|(name, _)| *name != "currency")
            {
                match (name.as_str(), part) {
                    ("price" | "cost" | "direct_cost", Value::Number(_))
                    | ("notes", Value::String(_)) => row[name] = part.clone(),
                    ("price" | "cost" | "direct_cost", _) => {
                        return Err(Refusal::not_a(&format!("prices.{name}"), "number"));
                    }
                    _ => return Err(Refusal::invalid("prices", &format!("Unknown key '{name}'"))),
                }
            }
            rows.push(row);
        }
        Ok(Some(rows.into()))
    }

    fn amount(&self, value: &Value) -> Result<Option<Value>, Refusal> {
        let amount = value.get("amount").filter(|amount| amount.is_number());
        let currency = value
            .get("currency")
            .and_then(Value::as_str)
            .filter(|code| self.shelf.has_currency(code));
        match (amount, currency) {
            (Some(amount), Some(currency)) => {
                Ok(Some(json!({ "amount": amount, "currency": currency })))
            }
            _ => {
                Err(Refusal::new(400, "Both \"amount\" and \"currency\" of \"value\" must be set."))
            }
        }
    }

    fn visibility(&self, kind: Kind, value: &Value) -> Option<Value> {
        let given = value
            .as_i64()
            .or_else(|| value.as_str().filter(|_| kind == Kind::Lead)?.parse().ok())?;
        let levels: &[i64] =
            if self.settings.company.plan.has_groups() { &[1, 3, 5, 7] } else { &[1, 3] };
        let level = levels.iter().find(|level| **level == given)?;
        Some(if kind == Kind::Lead { level.to_string().into() } else { (*level).into() })
    }
}

fn text(key: &str, value: &Value) -> Result<Option<Value>, Refusal> {
    let Some(text) = value.as_str() else { return Ok(None) };
    let named = matches!(key, "name" | "title" | "subject");
    if named && text.chars().count() > NAME_LENGTH {
        return Err(Refusal::invalid(key, "The value is too long"));
    }
    if matches!(key, "name" | "title") && text.trim().is_empty() {
        return Err(Refusal::invalid(key, "The value must not be empty"));
    }
    Ok(Some(text.into()))
}

/// An empty date of a deal is stored as the zero date; elsewhere it clears.
fn dated(kind: Kind, value: &Value) -> Option<Value> {
    match (value.as_str()?, kind) {
        ("", Kind::Deal) => Some("0000-00-00".into()),
        ("", _) => Some(Value::Null),
        (date, _) => time::is_date(date).then(|| date.into()),
    }
}

fn attendees(value: &Value) -> Option<Value> {
    let rows = value.as_array()?.iter().map(|item| {
        let email = item.get("email")?.as_str()?;
        Some(json!({ "email": email, "name": item.get("name"), "status": item.get("status").and_then(Value::as_str).unwrap_or("noreply"),
            "is_organizer": item.get("is_organizer").and_then(Value::as_bool).unwrap_or(false),
            "person_id": item.get("person_id"), "user_id": item.get("user_id") }))
    });
    rows.collect::<Option<Vec<_>>>().map(Into::into)
}

fn type_name(shape: Shape) -> &'static str {
    match shape {
        Shape::Text
        | Shape::Html
        | Shape::Date
        | Shape::OfDay
        | Shape::Currency
        | Shape::Word(_)
        | Shape::LeadLink => "string",
        Shape::Int | Shape::Visibility | Shape::User | Shape::Link(_) | Shape::Option => "integer",
        Shape::Number => "number",
        Shape::Bool | Shape::Flag => "boolean",
        Shape::Stamp => "datetime",
        Shape::Ids
        | Shape::Uuids
        | Shape::Contacts
        | Shape::Participants
        | Shape::Attendees
        | Shape::Prices => "array",
        Shape::Address | Shape::Amount => "object",
    }
}
