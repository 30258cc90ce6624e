//! Saved filters: conditions that narrow a list. Source: Pipedrive API v1, "Filters".

#![expect(clippy::unnecessary_wraps, reason = "handlers share one signature")]

use serde_json::{Map, Value, json};

use super::kind::Kind;
use super::query;
use super::refusal::Refusal;
use super::routes::{Ctx, Outcome};
use super::state::State;
use super::table::Version;
use super::time;
use crate::host::Reply;

const MAX_CONDITIONS: usize = 16;
const TYPES: [&str; 7] = ["deals", "leads", "org", "people", "products", "activity", "projects"];

/// A filter as it is kept.
#[derive(Clone, Debug)]
pub(super) struct Filter {
    /// All of its row but the conditions.
    row: Map<String, Value>,
    conditions: Value,
    /// Conditions of equality that a person saved in the web UI.
    pub(super) wanted: Vec<(&'static str, Value)>,
}

impl Filter {
    pub(super) fn of_values(id: i64, wanted: &[(&'static str, Value)]) -> Self {
        let row = row(id, &format!("Filter {id}"), "deals", 0, "");
        Self { row, conditions: empty(), wanted: wanted.to_vec() }
    }
}

fn row(id: i64, name: &str, kind: &str, user: i64, at: &str) -> Map<String, Value> {
    let row = json!({
        "id": id, "name": name, "filter_code": null, "is_editable": true, "active_flag": true, "type": kind, "temporary_flag": null,
        "user_id": user, "add_time": at, "update_time": at, "visible_to": "7", "last_used_time": null, "custom_view_id": null,
    });
    let Value::Object(row) = row else { return Map::new() };
    row
}

fn empty() -> Value {
    let none = |glue: &str| json!({ "glue": glue, "conditions": [] });
    json!({ "glue": "and", "conditions": [none("and"), none("or")] })
}

fn one(data: &Value) -> Reply {
    Reply::json(200, &json!({ "success": true, "data": data }))
}

/// The single conditions of a tree.
fn leaves(tree: &Value) -> Vec<&Value> {
    match tree.get("conditions").and_then(Value::as_array) {
        Some(parts) => parts.iter().flat_map(leaves).collect(),
        None => vec![tree],
    }
}

impl State {
    /// Kind and code of the field that a condition names.
    fn condition_field(&self, leaf: &Value) -> Option<(Kind, String)> {
        let kind = Kind::parse(leaf.get("object")?.as_str()?)?;
        let id = leaf.get("field_id")?;
        let id = id.as_i64().or_else(|| id.as_str()?.parse().ok())?;
        let field = self.fields_of(kind).iter().find(|field| field.id == id)?;
        Some((kind, field.code.clone()))
    }

    /// Whether a record meets a filter's conditions.
    pub(super) fn meets(&self, filter: &Filter, kind: Kind, version: &Version) -> bool {
        self.meets_tree(&filter.conditions, kind, version)
    }

    fn meets_tree(&self, tree: &Value, kind: Kind, version: &Version) -> bool {
        let Some(parts) = tree.get("conditions").and_then(Value::as_array) else {
            return self.meets_leaf(tree, kind, version);
        };
        let mut met = parts.iter().map(|part| self.meets_tree(part, kind, version));
        if tree["glue"] == "or" && !parts.is_empty() {
            met.any(|met| met)
        } else {
            met.all(|met| met)
        }
    }

    fn meets_leaf(&self, leaf: &Value, kind: Kind, version: &Version) -> bool {
        let Some((owner, code)) = self.condition_field(leaf) else { return true };
        let there = match owner {
            owner if owner == kind => Some(version),
            owner => owner
                .link()
                .and_then(|link| self.record(owner, version.int(link)?))
                .map(|record| &record.version),
        };
        let key = match code.as_str() {
            "email" => "emails",
            "phone" => "phones",
            code => code,
        };
        let value = there.and_then(|there| there.body.get(key).or_else(|| there.custom.get(key)));
        let wanted = &leaf["value"];
        compare(value.unwrap_or(&Value::Null), leaf["operator"].as_str().unwrap_or("="), wanted)
    }
}

/// A value's texts: one, or those of its parts.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::Null => Vec::new(),
        Value::String(text) if text.is_empty() => Vec::new(),
        Value::String(text) => vec![text.to_lowercase()],
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        Value::Object(parts) => parts.get("value").map(texts).unwrap_or_default(),
        Value::Bool(flag) => vec![i32::from(*flag).to_string()],
        Value::Number(_) => vec![value.to_string()],
    }
}

fn compare(value: &Value, operator: &str, wanted: &Value) -> bool {
    let (held, wanted) = (texts(value), texts(wanted).into_iter().next().unwrap_or_default());
    let order = |text: &String| {
        let numbers = text.parse::<f64>().ok().zip(wanted.parse::<f64>().ok());
        numbers.map_or_else(|| text.cmp(&wanted), |(text, wanted)| text.total_cmp(&wanted))
    };
    match operator {
        "IS NULL" => held.is_empty(),
        "IS NOT NULL" => !held.is_empty(),
        "!=" => !held.contains(&wanted),
        "LIKE '$%'" => held.iter().any(|text| text.starts_with(&wanted)),
        "LIKE '%$%'" => held.iter().any(|text| text.contains(&wanted)),
        "NOT LIKE '$%'" => !held.iter().any(|text| text.starts_with(&wanted)),
        "<" => held.iter().any(|text| order(text).is_lt()),
        "<=" => held.iter().any(|text| order(text).is_le()),
        ">" => held.iter().any(|text| order(text).is_gt()),
        ">=" => held.iter().any(|text| order(text).is_ge()),
        _ => held.contains(&wanted),
    }
}

/// The conditions of a body: a tree of at most 16 that name fields.
fn conditions(state: &State, given: &Map<String, Value>) -> Result<Value, Refusal> {
    let tree = given.get("conditions").filter(|tree| tree.get("conditions").is_some());
    let tree = tree.ok_or_else(|| Refusal::new(400, "Conditions must be given."))?;
    let all = leaves(tree);
    if all.len() > MAX_CONDITIONS {
        return Err(Refusal::new(400, "A filter has at most 16 conditions."));
    }
    if all.iter().any(|leaf| state.condition_field(leaf).is_none()) {
        return Err(Refusal::new(400, "A condition names an unknown field."));
    }
    Ok(tree.clone())
}

fn found<'a>(state: &'a State, ctx: &Ctx) -> Result<(i64, &'a Filter), Refusal> {
    let id = ctx.id(0)?;
    let filter = state.shelf.filters.get(&id).ok_or_else(|| Refusal::not_found("Filter"))?;
    Ok((id, filter))
}

/// A filter with its conditions; `include_field_code` adds codes to them.
fn whole(state: &State, ctx: &Ctx, filter: &Filter) -> Value {
    let mut row = filter.row.clone();
    let mut tree = filter.conditions.clone();
    let codes = matches!(ctx.call.query("include_field_code"), Some("true" | "1"));
    dress(state, &mut tree, codes);
    row.insert("conditions".into(), tree);
    row.into()
}

fn dress(state: &State, tree: &mut Value, codes: bool) {
    if let Some(parts) = tree.get_mut("conditions").and_then(Value::as_array_mut) {
        for part in parts {
            dress(state, part, codes);
        }
        return;
    }
    if codes {
        tree["field_code"] = state.condition_field(tree).map(|(_, code)| code).into();
    }
    tree["json_value_flag"] = false.into();
}

/// `GET /v1/filters?type=`
pub(super) fn list(state: &mut State, ctx: &Ctx) -> Outcome {
    let kind = ctx.call.query("type");
    let held = state.shelf.filters.values();
    let held = held.filter(|filter| kind.is_none_or(|kind| filter.row["type"] == kind));
    Ok(one(&held.map(|filter| Value::from(filter.row.clone())).collect()))
}

/// `GET /v1/filters/{id}`
pub(super) fn get(state: &mut State, ctx: &Ctx) -> Outcome {
    let (_, filter) = found(state, ctx)?;
    Ok(one(&whole(state, ctx, filter)))
}

/// `POST /v1/filters`
pub(super) fn add(state: &mut State, ctx: &Ctx) -> Outcome {
    let given = ctx.object()?;
    let text = |key: &str| given.get(key).and_then(Value::as_str).unwrap_or_default();
    if text("name").is_empty() || !TYPES.contains(&text("type")) {
        return Err(Refusal::new(400, "Name and a known type must be given."));
    }
    let conditions = conditions(state, &given)?;
    let id = state.shelf.filters.last_key_value().map_or(1, |(id, _)| id + 1);
    let row = row(id, text("name"), text("type"), ctx.by.user, &time::v1(ctx.now));
    let filter = Filter { row, conditions, wanted: Vec::new() };
    let shown = whole(state, ctx, &filter);
    state.shelf.filters.insert(id, filter);
    Ok(one(&shown).wrote(1))
}

/// `PUT /v1/filters/{id}`
pub(super) fn change(state: &mut State, ctx: &Ctx) -> Outcome {
    let given = ctx.object()?;
    let (id, filter) = found(state, ctx)?;
    let mut filter = filter.clone();
    filter.conditions = conditions(state, &given)?;
    filter.wanted.clear();
    if let Some(name) = given.get("name").filter(|name| name.is_string()) {
        filter.row.insert("name".into(), name.clone());
    }
    filter.row.insert("update_time".into(), time::v1(ctx.now).into());
    let shown = whole(state, ctx, &filter);
    state.shelf.filters.insert(id, filter);
    Ok(one(&shown).wrote(1))
}

/// `DELETE /v1/filters/{id}`
pub(super) fn delete(state: &mut State, ctx: &Ctx) -> Outcome {
    let (id, _) = found(state, ctx)?;
    state.shelf.filters.remove(&id);
    Ok(one(&json!({ "id": id })).wrote(1))
}

/// `DELETE /v1/filters?ids=`
pub(super) fn delete_many(state: &mut State, ctx: &Ctx) -> Outcome {
    let ids = query::ids(ctx, "ids")?.ok_or_else(|| Refusal::new(400, "ids must be given."))?;
    let gone: Vec<i64> =
        ids.into_iter().filter(|id| state.shelf.filters.remove(id).is_some()).collect();
    let count = gone.len();
    Ok(one(&json!({ "id": gone })).wrote(count))
}

/// `GET /v1/filters/helpers`: the operators by type of field.
pub(super) fn helpers(_: &mut State, _: &Ctx) -> Outcome {
    let order = json!({ "=": "is", "!=": "is not", ">": "is more than", "<": "is less than", ">=": "is more or equal to",
        "<=": "is less or equal to", "IS NULL": "is empty", "IS NOT NULL": "is not empty" });
    let text = json!({ "=": "is", "!=": "is not", "LIKE '$%'": "starts with", "LIKE '%$%'": "contains", "NOT LIKE '$%'": "does not start with",
        "IS NULL": "is empty", "IS NOT NULL": "is not empty" });
    let choice =
        json!({ "=": "is", "!=": "is not", "IS NULL": "is empty", "IS NOT NULL": "is not empty" });
    let mut operators = Map::new();
    for (kinds, rules) in [
        (&["int", "double", "monetary", "date", "time"][..], &order),
        (&["varchar", "varchar_auto", "text", "phone", "address"], &text),
        (&["enum", "set", "user", "org", "people", "stage", "status", "visible_to"], &choice),
    ] {
        operators.extend(kinds.iter().map(|kind| ((*kind).to_owned(), rules.clone())));
    }
    Ok(one(&json!({
        "operators": operators, "deprecated_operators": {},
        "relative_dates": { "Relative dates": { "today": "today", "yesterday": "yesterday", "tomorrow": "tomorrow" } },
        "address_field_components": { "country": "Country", "locality": "City/town", "postal_code": "ZIP/Postal code" },
    })))
}
