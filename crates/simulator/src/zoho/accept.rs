//! What a written value must look like, and how it is stored.

use chrono::Timelike;
use serde_json::{Map, Value, json};

use super::refusal::Refusal;
use super::schema::{Field, FieldType, Module};
use super::state::State;
use super::times;

/// A row as written, checked against the module's fields.
pub(super) struct Accepted {
    /// Field → stored value; null clears.
    pub(super) values: Map<String, Value>,
    pub(super) errors: Vec<Refusal>,
}

/// Checks every field of `input`; read-only fields are ignored, as is what the module does not know.
pub(super) fn accept(
    state: &State,
    module: &Module,
    input: &Map<String, Value>,
    path: &str,
) -> Accepted {
    let mut accepted = Accepted { values: Map::new(), errors: Vec::new() };
    let related =
        input.get("$se_module").or_else(|| input.get("se_module")).and_then(Value::as_str);
    for (name, value) in input {
        let at = format!("{path}.{name}");
        let Some(field) = module.field(name) else {
            if state.switches.refuse_unknown_fields && !name.starts_with('$') {
                accepted
                    .errors
                    .push(Refusal::invalid(json!({ "api_name": name, "json_path": at })));
            }
            continue;
        };
        if field.read_only || name == "id" {
            continue;
        }
        let check = Check { state, module, field, path: &at, related };
        match check.value(value) {
            Ok(stored) => {
                accepted.values.insert(name.clone(), stored);
            }
            Err(refusal) => accepted.errors.push(refusal),
        }
    }
    if let (true, Some(name)) = (module.is_activity(), related) {
        accepted.values.insert("$se_module".into(), name.into());
    }
    accepted
}

struct Check<'a> {
    state: &'a State,
    module: &'a Module,
    field: &'a Field,
    path: &'a str,
    /// Module of `What_Id`, told beside it.
    related: Option<&'a str>,
}

impl Check<'_> {
    fn value(&self, value: &Value) -> Result<Value, Refusal> {
        if value.is_null() || value.as_str() == Some("") {
            return Ok(Value::Null);
        }
        match self.field.kind {
            FieldType::Text
            | FieldType::SmallText
            | FieldType::LargeText
            | FieldType::RichText
            | FieldType::Autonumber
            | FieldType::Formula => self.text(value),
            FieldType::Email => self.shaped(value, is_email),
            FieldType::Phone => self.shaped(value, is_phone),
            FieldType::Website => self.shaped(value, is_website),
            FieldType::Picklist => self.option(value),
            FieldType::MultiPicklist => self.options(value),
            FieldType::Boolean => value.as_bool().map(Value::Bool).ok_or_else(|| self.wrong_type()),
            FieldType::Integer => self.integer(value),
            FieldType::Bigint => self.bigint(value),
            FieldType::Double | FieldType::Currency | FieldType::Percent => self.number(value),
            FieldType::Date => self.date(value),
            FieldType::DateTime => self.instant(value),
            FieldType::Lookup | FieldType::MultiModule => self.lookup(value),
            FieldType::Owner | FieldType::User => self.user(value),
            FieldType::Subform => self.rows(value),
            FieldType::Tag => self.tags(value),
            FieldType::Layout => self.layout(value),
            FieldType::Json
            | FieldType::Alarm
            | FieldType::Recurrence
            | FieldType::CallReminder => Ok(value.clone()),
        }
    }

    fn text(&self, value: &Value) -> Result<Value, Refusal> {
        let text = value.as_str().ok_or_else(|| self.wrong_type())?;
        if let Some(&kept) = self.module.rules.truncated.get(&self.field.api_name) {
            return Ok(text.chars().take(kept).collect::<String>().into());
        }
        if text.chars().count() > self.field.length {
            return Err(self.refuse("maximum_length", self.field.length.into()));
        }
        Ok(text.into())
    }

    fn shaped(&self, value: &Value, shape: fn(&str) -> bool) -> Result<Value, Refusal> {
        let text = self.text(value)?;
        if text.as_str().is_some_and(shape) { Ok(text) } else { Err(self.wrong_type()) }
    }

    /// Unknown options are taken as they are, unless the switch says otherwise.
    fn option(&self, value: &Value) -> Result<Value, Refusal> {
        let text = value.as_str().ok_or_else(|| self.wrong_type())?;
        if text == "-None-" {
            return Ok(Value::Null);
        }
        let known = self
            .field
            .options
            .iter()
            .find(|option| option.display == text || option.actual == text);
        let shown = known.map_or(text, |option| option.display.as_str());
        let refused =
            self.module.rules.refused.contains(&(self.field.api_name.clone(), shown.to_owned()));
        if refused || (known.is_none() && self.state.switches.strict_picklists) {
            return Err(self.wrong_type());
        }
        if shown.chars().count() > self.field.length {
            return Err(self.refuse("maximum_length", self.field.length.into()));
        }
        Ok(shown.into())
    }

    fn options(&self, value: &Value) -> Result<Value, Refusal> {
        let chosen = value.as_array().ok_or_else(|| self.wrong_type())?;
        let options: Result<Vec<Value>, Refusal> =
            chosen.iter().map(|value| self.option(value)).collect();
        Ok(options?.into())
    }

    fn integer(&self, value: &Value) -> Result<Value, Refusal> {
        let number = value.as_i64().ok_or_else(|| self.wrong_type())?;
        if number.unsigned_abs().to_string().len() > self.field.length {
            return Err(self.refuse("maximum_length", self.field.length.into()));
        }
        Ok(number.into())
    }

    /// Delivered as a string; taken as a string or a number.
    fn bigint(&self, value: &Value) -> Result<Value, Refusal> {
        let text = value
            .as_i64()
            .map(|number| number.to_string())
            .or_else(|| value.as_str().map(str::to_owned));
        let text =
            text.filter(|text| text.parse::<i64>().is_ok()).ok_or_else(|| self.wrong_type())?;
        if text.trim_start_matches('-').len() > self.field.length {
            return Err(self.refuse("maximum_length", self.field.length.into()));
        }
        Ok(text.into())
    }

    fn number(&self, value: &Value) -> Result<Value, Refusal> {
        let number = value.as_f64().ok_or_else(|| self.wrong_type())?;
        if number.abs() >= 1e16 {
            return Err(self.refuse("maximum_length", self.field.length.into()));
        }
        let rounds = self.field.kind == FieldType::Currency && self.state.switches.rounds_currency;
        let cents = (number * 100.0).round() / 100.0;
        Ok(if rounds && (cents - number).abs() > f64::EPSILON {
            cents.into()
        } else {
            value.clone()
        })
    }

    fn date(&self, value: &Value) -> Result<Value, Refusal> {
        value
            .as_str()
            .filter(|text| times::is_date(text))
            .map(Into::into)
            .ok_or_else(|| self.wrong_type())
    }

    fn instant(&self, value: &Value) -> Result<Value, Refusal> {
        let at = value.as_str().and_then(times::parse).ok_or_else(|| self.wrong_type())?;
        if at.nanosecond() != 0 && self.state.switches.refuse_milliseconds {
            return Err(self.wrong_type());
        }
        Ok(times::store(at).into())
    }

    /// Takes `{"id": "…"}` and, as reported, a bare id.
    fn lookup(&self, value: &Value) -> Result<Value, Refusal> {
        let id = value.get("id").unwrap_or(value);
        let id = id.as_str().map(str::to_owned).or_else(|| id.as_u64().map(|id| id.to_string()));
        let id = id.ok_or_else(|| self.wrong_type())?;
        let named = value.pointer("/module/api_name").and_then(Value::as_str);
        let related = if self.field.kind == FieldType::MultiModule { self.related } else { None };
        let mut stored = json!({ "id": id });
        if let Some(module) =
            named.or(related).filter(|_| self.field.kind == FieldType::MultiModule)
        {
            stored["module"] = json!({ "api_name": module });
        }
        let found = self.state.target(self.field, &stored, related);
        let (module, _) = found.ok_or_else(|| {
            Refusal::invalid_id(json!({ "api_name": self.field.api_name, "json_path": format!("{}.id", self.path) }))
        })?;
        if self.field.kind == FieldType::MultiModule {
            stored["module"] = json!({ "api_name": module.api_name, "id": module.id.to_string() });
        }
        Ok(stored)
    }

    /// A deactivated or unknown user is refused.
    fn user(&self, value: &Value) -> Result<Value, Refusal> {
        let id = value.get("id").unwrap_or(value);
        let id = id.as_str().and_then(|id| id.parse::<u64>().ok()).or_else(|| id.as_u64());
        let user = id.and_then(|id| self.state.users.get(&id)).filter(|user| user.is_active());
        let user = user.ok_or_else(|| {
            Refusal::invalid_id(json!({ "api_name": self.field.api_name, "json_path": format!("{}.id", self.path) }))
        })?;
        Ok(json!({ "id": user.id.to_string() }))
    }

    fn layout(&self, value: &Value) -> Result<Value, Refusal> {
        let id = self.module.layout.to_string();
        let given = value.get("id").and_then(Value::as_str);
        if given == Some(id.as_str()) { Ok(json!({ "id": id })) } else { Err(self.wrong_type()) }
    }

    fn rows(&self, value: &Value) -> Result<Value, Refusal> {
        let rows = value.as_array().filter(|rows| rows.iter().all(Value::is_object));
        let rows = rows.ok_or_else(|| self.wrong_type())?;
        if rows.len() > 100 {
            return Err(self.refuse("limit", 100.into()));
        }
        Ok(value.clone())
    }

    /// Objects with a name; the rest is filled in when the row is stored.
    fn tags(&self, value: &Value) -> Result<Value, Refusal> {
        let tags = value.as_array().ok_or_else(|| self.wrong_type())?;
        let name = |tag: &Value| {
            tag.get("name").and_then(Value::as_str).map(|name| json!({ "name": name }))
        };
        let names: Option<Vec<Value>> = tags.iter().map(name).collect();
        names.map(Value::Array).ok_or_else(|| self.wrong_type())
    }

    fn wrong_type(&self) -> Refusal {
        self.refuse("expected_data_type", self.field.kind.name().into())
    }

    fn refuse(&self, key: &str, expected: Value) -> Refusal {
        let mut details = json!({ "api_name": self.field.api_name, "json_path": self.path });
        details[key] = expected;
        Refusal::invalid(details)
    }
}

/// Letters, digits and a few signs on both sides of one `@`, a dot in the domain.
fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else { return false };
    let local_ok = |c: char| c.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c);
    let domain_ok = |c: char| c.is_alphanumeric() || c == '-' || c == '.';
    let labels = domain.split('.').all(|label| !label.is_empty());
    !local.is_empty()
        && local.chars().all(local_ok)
        && domain.contains('.')
        && labels
        && domain.chars().all(domain_ok)
}

/// Digits, letters, space and `+ - . ( ) ; #`.
fn is_phone(text: &str) -> bool {
    text.chars().all(|c| c.is_alphanumeric() || " +-.();#".contains(c))
}

fn is_website(text: &str) -> bool {
    let bare = text.split_once("://").map_or(text, |(_, bare)| bare);
    let host = bare.split(['/', '?', '#']).next().unwrap_or_default();
    host.contains('.')
        && !host.starts_with('.')
        && !host.ends_with('.')
        && !text.contains(char::is_whitespace)
}
