//! What a create or an update sends: only what changes, except where the API replaces a list or an object whole.

use std::collections::BTreeMap;

use crmsync_core::model::schema::FieldKind;
use crmsync_core::model::{RemoteField, Value};
use serde_json::{Map, Value as Json, json};

use super::super::ErrorKind;
use super::codec;
use super::entries::Entries;
use super::fields::FORMATTED_ADDRESS;
use super::module::Dialect;
use super::record::flat_key;
use super::schema::{Shape, Shapes};

/// The field that v2 sets and cannot clear. Source: live answers, "The value is not a valid 'string'".
pub(super) const UNCLEARABLE: &str = "expected_close_date";

/// Body of a create. Empty values are left out: there is nothing to clear.
///
/// # Errors
/// [`ErrorKind::UnknownName`], [`ErrorKind::Invalid`].
pub(super) fn create(
    shapes: &Shapes,
    fields: &BTreeMap<RemoteField, Value>,
) -> Result<Json, ErrorKind> {
    let set = fields.iter().filter(|(_, value)| !value.is_empty());
    Draft::new(shapes, &Json::Null, Purpose::Create).fill(set)
}

/// Body of an update of the record whose JSON is `current`.
///
/// # Errors
/// [`ErrorKind::UnknownName`], [`ErrorKind::Invalid`].
pub(super) fn update(
    shapes: &Shapes,
    fields: &BTreeMap<RemoteField, Value>,
    current: &Json,
) -> Result<Json, ErrorKind> {
    let deals = shapes.module.is_deals();
    let apart = |field: &RemoteField, value: &Value| {
        deals && field.as_str() == UNCLEARABLE && value.is_empty()
    };
    let sent = fields.iter().filter(|(field, value)| !apart(field, value));
    Draft::new(shapes, current, Purpose::Update).fill(sent)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Create,
    Update,
}

/// Part of a field and the value to write to it.
type Parts<'a> = Vec<(&'a RemoteField, &'a Value)>;

struct Draft<'a> {
    shapes: &'a Shapes,
    current: &'a Json,
    purpose: Purpose,
    root: Map<String, Json>,
    custom: Map<String, Json>,
}

impl<'a> Draft<'a> {
    fn new(shapes: &'a Shapes, current: &'a Json, purpose: Purpose) -> Self {
        Self { shapes, current, purpose, root: Map::new(), custom: Map::new() }
    }

    fn fill(
        mut self,
        fields: impl Iterator<Item = (&'a RemoteField, &'a Value)>,
    ) -> Result<Json, ErrorKind> {
        let mut by_base: BTreeMap<&str, Parts<'a>> = BTreeMap::new();
        for (field, value) in fields {
            by_base.entry(field.base()).or_default().push((field, value));
        }
        let names = self.take_names(&mut by_base);
        for (base, parts) in by_base {
            self.put(base, &parts)?;
        }
        self.put_names(&names)?;
        if !self.custom.is_empty() {
            self.root.insert("custom_fields".into(), Json::Object(self.custom));
        }
        Ok(Json::Object(self.root))
    }

    fn put(&mut self, base: &str, parts: &Parts<'_>) -> Result<(), ErrorKind> {
        let shapes =
            parts.iter().map(|(field, _)| self.writable(field)).collect::<Result<Vec<_>, _>>()?;
        let Some((shape, (field, value))) = shapes.first().zip(parts.first()) else {
            return Ok(());
        };
        match (self.shapes.module.name, base) {
            ("persons", "emails" | "phones") => {
                let entries = self.merge_list(base, parts)?;
                self.root.insert(base.to_owned(), entries);
            }
            ("products", "prices") => {
                let prices = self.merge_prices(parts)?;
                self.root.insert(base.to_owned(), prices);
            }
            ("activities", "person_id") => {
                let participants = self.participants(field, value)?;
                self.root.insert("participants".into(), participants);
            }
            _ if self.is_flat(shape.custom) && field.part().is_some() => {
                let object = self.merge_object(base, shape.custom, parts, &shapes)?;
                self.insert_flat(base, object);
            }
            _ if self.is_flat(shape.custom) => {
                let json = self.encode(*shape, field, value)?;
                self.root.insert(base.to_owned(), json);
            }
            _ if self.shapes.is_composite(base) => {
                let object = self.merge_object(base, shape.custom, parts, &shapes)?;
                self.insert(base, shape.custom, object);
            }
            _ => {
                let json = self.encode(*shape, field, value)?;
                self.insert(base, shape.custom, json);
            }
        }
        Ok(())
    }

    fn writable(&self, field: &RemoteField) -> Result<Shape, ErrorKind> {
        let shape = self.shapes.shape(field);
        let shape = shape.ok_or_else(|| ErrorKind::UnknownName(format!("field `{field}`")))?;
        let writable = match self.purpose {
            Purpose::Create => shape.on_create,
            Purpose::Update => shape.on_update,
        };
        if writable { Ok(shape) } else { Err(invalid(field, "it is read-only")) }
    }

    fn insert(&mut self, base: &str, custom: bool, json: Json) {
        let place = if custom { &mut self.custom } else { &mut self.root };
        place.insert(base.to_owned(), json);
    }

    /// v1 keeps a custom field's parts beside it at the root.
    fn is_flat(&self, custom: bool) -> bool {
        custom && self.shapes.module.dialect == Dialect::V1
    }

    /// Parts go together; a field that is cleared goes alone.
    fn insert_flat(&mut self, base: &str, object: Json) {
        if let Json::Object(parts) = object {
            let keyed = parts.into_iter().map(|(part, json)| (flat_key(base, Some(&part)), json));
            self.root.extend(keyed);
        } else {
            self.root.insert(base.to_owned(), object);
        }
    }

    /// The parts of a composite as they are stored.
    fn stored_parts(&self, base: &str, custom: bool) -> Map<String, Json> {
        if self.is_flat(custom) {
            let part = |part: &str| {
                let json = self.current.get(flat_key(base, Some(part)))?;
                Some((part.to_owned(), json.clone()))
            };
            return ["value", "currency", "until"].into_iter().filter_map(part).collect();
        }
        match self.stored(base, custom) {
            Some(Json::Object(object)) => object.clone(),
            Some(text @ Json::String(_)) => Map::from_iter([("value".to_owned(), text.clone())]),
            Some(_) | None => Map::new(),
        }
    }

    /// The stored value of a whole field.
    fn stored(&self, base: &str, custom: bool) -> Option<&'a Json> {
        let place = if custom { self.current.get("custom_fields")? } else { self.current };
        place.get(base).filter(|json| !json.is_null())
    }

    fn encode(&self, shape: Shape, field: &RemoteField, value: &Value) -> Result<Json, ErrorKind> {
        let module = self.shapes.module;
        let json = codec::encode(module.dialect, shape.kind, value)
            .map_err(|mismatch| invalid(field, mismatch.to_string()))?;
        Ok(match (json, shape.kind) {
            // A built-in list of ids is cleared by an empty one; a custom field by null only.
            (Json::Null, FieldKind::OptionSet) if !shape.custom => json!([]),
            // Keys of activity types, and all options of v1, are texts even where they look like numbers.
            (Json::Number(id), FieldKind::Option)
                if module.dialect == Dialect::V1 || field.as_str() == "type" =>
            {
                Json::String(id.to_string())
            }
            (Json::Bool(flag), _) if module.name == "notes" => json!(u8::from(flag)),
            (json, _) => json,
        })
    }

    /// Merges new values into an object that the API replaces whole.
    fn merge_object(
        &self,
        base: &str,
        custom: bool,
        parts: &Parts<'_>,
        shapes: &[Shape],
    ) -> Result<Json, ErrorKind> {
        let mut object = self.stored_parts(base, custom);
        let address = self.shapes.is_address(base);
        let derived = address
            && derived_text(&object).is_none_or(|text| object.get("value") == Some(&json!(text)));
        let mut text_given = false;
        for ((field, value), shape) in parts.iter().zip(shapes) {
            let part = field.part().unwrap_or("value");
            text_given |= part == "value";
            object.insert(part.to_owned(), self.encode(*shape, field, value)?);
        }
        if address {
            return Ok(address_object(object, derived && !text_given));
        }
        // The zone travels by name: no call tells what a zone's number means.
        object.remove("timezone_id");
        let main = if object.contains_key("amount") { "amount" } else { "value" };
        if object.get(main).is_none_or(Json::is_null) {
            return Ok(Json::Null);
        }
        object.retain(|_, json| !json.is_null());
        Ok(Json::Object(object))
    }

    fn merge_list(&self, base: &str, parts: &Parts<'_>) -> Result<Json, ErrorKind> {
        let mut entries = Entries::read(base, self.stored(base, false));
        // The whole list first: `emails` sorts before `emails[work]`.
        for (field, value) in parts {
            match (field.part(), value) {
                (None, Value::Empty) => entries.clear(),
                (None, Value::List(values)) => entries.replace_all(base, values),
                (None, Value::Text(value)) => entries.replace_primary(base, value),
                (Some(label), Value::Empty) => entries.remove(label),
                (Some(label), Value::Text(value)) => entries.set(base, label, value),
                (_, _) => return Err(invalid(field, "it takes texts")),
            }
        }
        Ok(entries.json())
    }

    fn merge_prices(&self, parts: &Parts<'_>) -> Result<Json, ErrorKind> {
        let stored = self.stored("prices", false).and_then(Json::as_array);
        let mut prices: Vec<Map<String, Json>> =
            stored.into_iter().flatten().filter_map(Json::as_object).map(writable_price).collect();
        for (field, value) in parts {
            let Some(currency) = field.part() else {
                return Err(invalid(field, "name a currency"));
            };
            let json = codec::encode(Dialect::V2, FieldKind::Money, value)
                .map_err(|mismatch| invalid(field, mismatch.to_string()))?;
            let found =
                prices.iter_mut().find(|price| price.get("currency") == Some(&json!(currency)));
            match (found, json) {
                (_, Json::Null) => {
                    prices.retain(|price| price.get("currency") != Some(&json!(currency)));
                }
                (Some(price), json) => {
                    price.insert("price".into(), json);
                }
                (None, json) => prices.push(Map::from_iter([
                    ("currency".to_owned(), json!(currency)),
                    ("price".to_owned(), json),
                ])),
            }
        }
        Ok(Json::Array(prices.into_iter().map(Json::Object).collect()))
    }

    /// An activity's person is its primary participant; the others stay.
    fn participants(&self, field: &RemoteField, value: &Value) -> Result<Json, ErrorKind> {
        let person = codec::encode(Dialect::V2, FieldKind::Lookup, value)
            .map_err(|mismatch| invalid(field, mismatch.to_string()))?;
        let stored = self.stored("participants", false).and_then(Json::as_array);
        let primary = |row: &&Json| row.get("primary") == Some(&Json::Bool(true));
        let others = stored
            .into_iter()
            .flatten()
            .filter(|row| !primary(row))
            .filter_map(|row| row.get("person_id"));
        let others = others
            .filter(|id| **id != person)
            .map(|id| json!({ "person_id": id, "primary": false }));
        let first = (!person.is_null()).then(|| json!({ "person_id": person, "primary": true }));
        Ok(Json::Array(first.into_iter().chain(others).collect()))
    }

    /// Takes a person's names out: the server derives each from the others, so that they go together.
    fn take_names(
        &self,
        by_base: &mut BTreeMap<&str, Parts<'a>>,
    ) -> BTreeMap<&'static str, &'a Value> {
        let parts = ["first_name", "last_name"];
        if self.shapes.module.name != "persons"
            || !parts.iter().any(|part| by_base.contains_key(part))
        {
            return BTreeMap::new();
        }
        let mut take = |key: &'static str| {
            let (_, value) = by_base.remove(key)?.pop()?;
            Some((key, value))
        };
        ["name", "first_name", "last_name"].into_iter().filter_map(&mut take).collect()
    }

    fn put_names(&mut self, names: &BTreeMap<&'static str, &'a Value>) -> Result<(), ErrorKind> {
        if names.is_empty() {
            return Ok(());
        }
        for (key, value) in names {
            if !value.is_empty() && value.as_text().is_none() {
                return Err(invalid(&RemoteField::from(*key), "it takes a text"));
            }
        }
        let part = |key: &str| {
            let text = match names.get(key) {
                Some(value) => value.as_text(),
                None => self.current.get(key).and_then(Json::as_str),
            };
            text.filter(|text| !text.is_empty()).map(str::to_owned)
        };
        let (first, last) = (part("first_name"), part("last_name"));
        let joined =
            [first.as_deref(), last.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(" ");
        let whole = names.get("name").and_then(|name| name.as_text()).map_or(joined, str::to_owned);
        if whole.is_empty() {
            return Err(invalid(&RemoteField::from("name"), "a person needs a name"));
        }
        self.root.insert("name".into(), json!(whole));
        for (key, text) in [("first_name", first), ("last_name", last)] {
            if text.is_some() || self.purpose == Purpose::Update {
                self.root.insert(key.into(), json!(text));
            }
        }
        Ok(())
    }
}

fn invalid(field: &RemoteField, reason: impl Into<String>) -> ErrorKind {
    ErrorKind::Invalid { field: field.to_string(), reason: reason.into() }
}

/// The keys of a price that a write takes. Source: "Update a product", prices.
fn writable_price(price: &Map<String, Json>) -> Map<String, Json> {
    let keys = ["currency", "price", "cost", "direct_cost"];
    let kept = price.iter().filter(|(key, value)| keys.contains(&key.as_str()) && !value.is_null());
    kept.map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// An address with all its parts; `value` is the one the API asks for, so it is told from the parts if need be.
fn address_object(mut object: Map<String, Json>, derive: bool) -> Json {
    object.remove(FORMATTED_ADDRESS);
    if derive {
        object.insert("value".into(), json!(derived_text(&object)));
    }
    let empty = |json: &Json| json.is_null() || json.as_str() == Some("");
    if object.get("value").is_none_or(empty) {
        match derived_text(&object) {
            Some(text) => object.insert("value".into(), json!(text)),
            None => return Json::Null,
        };
    }
    // What is left out becomes null, and is not refused for it.
    object.retain(|_, json| !empty(json));
    Json::Object(object)
}

/// `Main St 1, 10616 Tallinn, Harju, Estonia`.
fn derived_text(object: &Map<String, Json>) -> Option<String> {
    let join = |parts: &[&str], between: &str| {
        let texts = parts.iter().filter_map(|part| object.get(*part)?.as_str());
        texts.filter(|text| !text.is_empty()).collect::<Vec<_>>().join(between)
    };
    let lines = [
        join(&["route", "street_number", "subpremise"], " "),
        join(&["sublocality"], " "),
        join(&["postal_code", "locality"], " "),
        join(&["admin_area_level_2", "admin_area_level_1", "country"], ", "),
    ];
    let text = lines.into_iter().filter(|line| !line.is_empty()).collect::<Vec<_>>().join(", ");
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests;
