//! Search over an index that lags behind the records.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::fields::Field;
use super::kind::Kind;
use super::page;
use super::refusal::Refusal;
use super::routes::{Ctx, Outcome};
use super::state::State;
use super::table::{Millis, Record, Version};
use crate::host::Reply;

/// Hits that the filters by person, organization and status look at.
const FILTERED_HITS: usize = 2_000;
const MAX_LIMIT: usize = 100;

fn is_searchable(field: &Field) -> bool {
    matches!(
        field.value_type.as_str(),
        "address" | "varchar" | "text" | "varchar_auto" | "double" | "monetary" | "phone"
    )
}

/// What a field's value says to a search.
fn words(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Object(parts) => parts.get("value").and_then(words),
        Value::Null | Value::Bool(_) | Value::Array(_) => None,
    }
}

fn contacts<'a>(version: &'a Version, key: &str) -> impl Iterator<Item = &'a str> {
    version
        .body
        .get(key)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|item| item["value"].as_str())
}

impl State {
    /// The version that the index holds of a record, if it holds one.
    ///
    /// Deleted deals leave the index at once, persons after a while, organizations never.
    fn indexed<'a>(
        &self,
        kind: Kind,
        record: &'a Record,
        at: Millis,
        now: Millis,
    ) -> Option<&'a Version> {
        if let Some(deleted) = record.deleted_at {
            let stays = match kind {
                Kind::Organization => true,
                Kind::Person => {
                    deleted + self.settings.switches.search_ghosts.num_milliseconds() > now
                }
                Kind::Deal
                | Kind::Activity
                | Kind::Product
                | Kind::Pipeline
                | Kind::Stage
                | Kind::Note
                | Kind::Lead
                | Kind::DealProduct => false,
            };
            if !stays {
                return None;
            }
            return record
                .past
                .iter()
                .rev()
                .find(|version| !version.deleted && version.since <= at);
        }
        record.version_at(at)
    }

    fn index_time(&self, ctx: &Ctx) -> Millis {
        ctx.as_of.unwrap_or(ctx.now) - self.settings.switches.search_lag.num_milliseconds()
    }

    /// Texts of a version in the fields that a search names.
    fn texts(&self, kind: Kind, version: &Version, fields: &[&str]) -> Vec<String> {
        let mut texts = Vec::new();
        for field in fields {
            match *field {
                "email" => texts.extend(contacts(version, "emails").map(Into::into)),
                "phone" => texts.extend(contacts(version, "phones").map(Into::into)),
                "address" => texts.extend(version.body.get("address").and_then(words)),
                "custom_fields" => {
                    let custom = self.custom_fields(kind).filter(|field| is_searchable(field));
                    texts.extend(
                        custom.filter_map(|field| version.custom.get(&field.code).and_then(words)),
                    );
                }
                "notes" => texts.extend(self.notes_of(kind, version)),
                key => texts.extend(version.body.get(key).and_then(words)),
            }
        }
        texts
    }

    fn notes_of(&self, kind: Kind, version: &Version) -> Vec<String> {
        let Some(key) = kind.link() else { return Vec::new() };
        let notes = self.table(Kind::Note).rows().values().filter(|note| !note.version.deleted);
        notes
            .filter(|note| note.version.body[key] == version.body["id"])
            .map(|note| note.version.text("content").to_owned())
            .collect()
    }

    /// Records that may hold a word in full, without a look at the others.
    fn candidates(&self, kind: Kind, keys: &[&str], word: &str) -> BTreeSet<i64> {
        let at = |key: &&str| self.words.get(&(kind, (*key).to_owned(), word.to_owned()));
        keys.iter().filter_map(at).flatten().copied().collect()
    }

    fn named_in_hit(&self, kind: Kind, id: Option<i64>) -> Value {
        let Some(record) = id.and_then(|id| self.record(kind, id)) else { return Value::Null };
        let mut hit = json!({ "id": record.id, "name": record.version.body["name"] });
        if kind == Kind::Organization {
            hit["address"] = record.version.body.get("address").and_then(words).into();
        }
        hit
    }

    fn hit(&self, kind: Kind, version: &Version) -> Value {
        let get = |key: &str| version.body.get(key).cloned().unwrap_or_default();
        let custom = self.texts(kind, version, &["custom_fields"]);
        let organization = if kind == Kind::Lead { "organization_id" } else { "org_id" };
        let mut item = json!({ "id": get("id"), "type": kind.singular(), "visible_to": get("visible_to"),
            "owner": { "id": get("owner_id") }, "custom_fields": custom });
        let more = match kind {
            Kind::Person => {
                json!({ "name": get("name"), "phones": contacts(version, "phones").collect::<Vec<_>>(),
                "emails": contacts(version, "emails").collect::<Vec<_>>(), "notes": [],
                "organization": self.named_in_hit(Kind::Organization, version.int(organization)) })
            }
            Kind::Organization => {
                json!({ "name": get("name"), "address": version.body.get("address").and_then(words), "notes": [] })
            }
            Kind::Deal | Kind::Lead => {
                json!({ "title": get("title"), "value": get("value"), "currency": get("currency"), "status": get("status"),
                "stage": self.named_in_hit(Kind::Stage, version.int("stage_id")), "person": self.named_in_hit(Kind::Person, version.int("person_id")),
                "organization": self.named_in_hit(Kind::Organization, version.int(organization)), "is_archived": get("is_archived"), "notes": [] })
            }
            Kind::Product
            | Kind::Activity
            | Kind::Pipeline
            | Kind::Stage
            | Kind::Note
            | Kind::DealProduct => {
                json!({ "name": get("name"), "code": get("code") })
            }
        };
        for (key, value) in more.as_object().into_iter().flatten() {
            item[key] = value.clone();
        }
        item
    }
}

/// A search term: two characters at least, one when whole values are compared.
fn term(ctx: &Ctx, exact: bool) -> Result<String, Refusal> {
    let term = ctx.call.query("term").unwrap_or_default().trim().to_owned();
    match (term.chars().count(), exact) {
        (0, _) => Err(Refusal::new(
            400,
            "ServerError [ERR_INVALID_INPUT]: Invalid input: \"term\" is not allowed to be empty",
        )),
        (1, false) => Err(Refusal::invalid("term", "The value must be at least 2 characters long")),
        _ => Ok(term),
    }
}

fn searched(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Person => &["name", "email", "phone", "notes", "custom_fields"],
        Kind::Organization => &["name", "address", "notes", "custom_fields"],
        Kind::Product => &["name", "code", "custom_fields"],
        Kind::Deal | Kind::Lead => &["title", "notes", "custom_fields"],
        Kind::Activity | Kind::Pipeline | Kind::Stage | Kind::Note | Kind::DealProduct => &[],
    }
}

fn asked_fields<'a>(ctx: &'a Ctx, allowed: &[&'a str]) -> Result<Vec<&'a str>, Refusal> {
    let Some(text) = ctx.call.query("fields") else { return Ok(allowed.to_vec()) };
    let fields: Vec<&str> = text.split(',').map(str::trim).collect();
    if fields.iter().all(|field| allowed.contains(field)) {
        Ok(fields)
    } else {
        Err(Refusal::invalid("fields", "Invalid value"))
    }
}

fn flag(ctx: &Ctx, name: &str) -> Result<bool, Refusal> {
    match ctx.call.query(name) {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(Refusal::not_a(name, "boolean")),
    }
}

/// Hits of one kind: score and item, best first.
fn hits(
    state: &State,
    ctx: &Ctx,
    kind: Kind,
    term: &str,
    fields: &[&str],
    exact: bool,
) -> Vec<(f64, Value)> {
    let (at, needle) = (state.index_time(ctx), term.to_lowercase());
    let matches = |record: &Record| {
        let version = state.indexed(kind, record, at, ctx.now)?;
        let texts = state.texts(kind, version, fields);
        let hit = texts.iter().any(|text| {
            let text = text.to_lowercase();
            if exact { text == needle } else { text.contains(&needle) }
        });
        (hit && state.sees(ctx.by.user, kind, record, version))
            .then(|| (score(&texts, &needle), state.hit(kind, version)))
    };
    let table = state.table(kind);
    // Names, addresses and phones are filed by their words: an exact search need not look at every row.
    let filed: Option<Vec<&str>> = fields
        .iter()
        .map(|field| match *field {
            "email" => Some("emails"),
            "phone" => Some("phones"),
            "name" | "title" | "code" => Some(*field),
            _ => None,
        })
        .collect();
    let mut hits: Vec<(f64, Value)> = match filed.filter(|_| exact) {
        Some(keys) => state
            .candidates(kind, &keys, &needle)
            .into_iter()
            .filter_map(|id| matches(table.get(id)?))
            .collect(),
        None => table.rows().values().filter_map(matches).collect(),
    };
    hits.sort_by(|left, right| right.0.total_cmp(&left.0));
    hits
}

/// Better where the term is more of the text.
fn score(texts: &[String], needle: &str) -> f64 {
    let shares = texts.iter().filter(|text| text.to_lowercase().contains(needle)).map(|text| {
        let share = u32::try_from(100 * needle.len() / text.len().max(1)).unwrap_or(100);
        f64::from(share) / 100.0
    });
    shares.fold(0.0, f64::max)
}

fn answer(state: &State, ctx: &Ctx, hits: Vec<(f64, Value)>) -> Outcome {
    let limit = page::limit_to(state, ctx, MAX_LIMIT)?;
    let start = page::decode(state, ctx)?.map_or(0, |at| usize::try_from(at.id).unwrap_or(0));
    let more = hits.len() > start + limit;
    let end = i64::try_from(start + limit).unwrap_or(i64::MAX);
    let next = more
        .then(|| page::encode(ctx, "id", false, &page::Position { value: end.into(), id: end }));
    let items = hits
        .into_iter()
        .skip(start)
        .take(limit)
        .map(|(score, item)| json!({ "result_score": score, "item": item }));
    let items: Vec<_> = items.collect();
    Ok(Reply::json(
        200,
        &json!({ "success": true, "data": { "items": items }, "additional_data": { "next_cursor": next } }),
    ))
}

/// `GET /api/v2/{kind}/search`
pub(super) fn of_kind(state: &mut State, ctx: &Ctx) -> Outcome {
    ctx.allow(&[
        "term",
        "fields",
        "exact_match",
        "organization_id",
        "person_id",
        "status",
        "include_fields",
        "limit",
        "cursor",
    ])?;
    let found = found(state, ctx)?;
    answer(state, ctx, found)
}

/// `GET /v1/{kind}/search`: the same by offset.
pub(super) fn by_offset(state: &mut State, ctx: &Ctx) -> Outcome {
    let found = found(state, ctx)?;
    paged(state, ctx, found)
}

fn paged(state: &State, ctx: &Ctx, found: Vec<(f64, Value)>) -> Outcome {
    let (hits, pagination) = page::by_offset(state, ctx, found)?;
    let items: Vec<Value> = hits
        .into_iter()
        .map(|(score, item)| json!({ "result_score": score, "item": item }))
        .collect();
    Ok(Reply::json(
        200,
        &json!({ "success": true, "data": { "items": items }, "additional_data": { "pagination": pagination } }),
    ))
}

/// Hits of the kind that the path names, as the parameters narrow them.
fn found(state: &State, ctx: &Ctx) -> Result<Vec<(f64, Value)>, Refusal> {
    state.permit(ctx.kind)?;
    let exact = flag(ctx, "exact_match")?;
    let term = term(ctx, exact)?;
    let fields = asked_fields(ctx, searched(ctx.kind))?;
    let mut found = hits(state, ctx, ctx.kind, &term, &fields, exact);
    for (parameter, part) in [("organization_id", "organization"), ("person_id", "person")] {
        if let Some(id) = ctx.call.query(parameter).and_then(|text| text.parse::<i64>().ok()) {
            found.truncate(FILTERED_HITS);
            found.retain(|(_, item)| item[part]["id"] == id);
        }
    }
    if let Some(status) = ctx.call.query("status") {
        found.truncate(FILTERED_HITS);
        found.retain(|(_, item)| item["status"] == status);
    }
    Ok(found)
}

const KINDS: [Kind; 5] = [Kind::Deal, Kind::Person, Kind::Organization, Kind::Product, Kind::Lead];

/// `GET /api/v2/itemSearch`
pub(super) fn items(state: &mut State, ctx: &Ctx) -> Outcome {
    ctx.allow(&[
        "term",
        "item_types",
        "fields",
        "search_for_related_items",
        "exact_match",
        "include_fields",
        "limit",
        "cursor",
    ])?;
    let found = found_anywhere(state, ctx)?;
    answer(state, ctx, found)
}

/// `GET /v1/itemSearch`: the same by offset.
pub(super) fn items_by_offset(state: &mut State, ctx: &Ctx) -> Outcome {
    let found = found_anywhere(state, ctx)?;
    paged(state, ctx, found)
}

/// Hits of all kinds that the parameters name, best first.
fn found_anywhere(state: &State, ctx: &Ctx) -> Result<Vec<(f64, Value)>, Refusal> {
    let exact = flag(ctx, "exact_match")?;
    let term = term(ctx, exact)?;
    let types: Option<Vec<&str>> =
        ctx.call.query("item_types").map(|types| types.split(',').map(str::trim).collect());
    let mut found = Vec::new();
    for kind in KINDS
        .into_iter()
        .filter(|kind| types.as_ref().is_none_or(|types| types.contains(&kind.singular())))
    {
        let fields = match ctx.call.query("fields") {
            None => searched(kind).to_vec(),
            Some(fields) => fields
                .split(',')
                .map(str::trim)
                .filter(|field| searched(kind).contains(field))
                .collect(),
        };
        found.extend(hits(state, ctx, kind, &term, &fields, exact));
    }
    found.sort_by(|left, right| right.0.total_cmp(&left.0));
    Ok(found)
}

/// `GET /api/v2/itemSearch/field`: case-sensitive, one field.
pub(super) fn by_field(state: &mut State, ctx: &Ctx) -> Outcome {
    ctx.allow(&["term", "entity_type", "match", "field", "limit", "cursor"])?;
    let mode = ctx.call.query("match").unwrap_or("exact");
    if !["exact", "beginning", "middle"].contains(&mode) {
        return Err(Refusal::invalid("match", "Invalid value"));
    }
    let term = term(ctx, mode == "exact")?;
    let kind =
        ctx.call.query("entity_type").and_then(Kind::parse).filter(|kind| KINDS.contains(kind));
    let kind = kind.ok_or_else(|| Refusal::invalid("entity_type", "Invalid value"))?;
    state.permit(kind)?;
    let code = ctx.call.query("field").unwrap_or_default();
    let field = state.fields_of(kind).iter().find(|field| field.code == code);
    let field = field
        .filter(|field| is_searchable(field))
        .ok_or_else(|| Refusal::invalid("field", "Field is not searchable"))?;
    let key = match code {
        "email" => "emails",
        "phone" => "phones",
        code => code,
    };
    let at = state.index_time(ctx);
    let hit = |record: &Record| {
        let version = state.indexed(kind, record, at, ctx.now)?;
        let texts: Vec<String> = if field.custom {
            version.custom.get(code).and_then(words).into_iter().collect()
        } else if matches!(key, "emails" | "phones") {
            contacts(version, key).map(Into::into).collect()
        } else {
            version.body.get(key).and_then(words).into_iter().collect()
        };
        let fits = texts.iter().any(|text| match mode {
            "exact" => *text == term,
            "beginning" => text.starts_with(&term),
            _ => text.contains(&term),
        });
        let name = if matches!(kind, Kind::Deal | Kind::Lead) { "title" } else { "name" };
        let seen = fits && state.sees(ctx.by.user, kind, record, version);
        seen.then(|| json!({ "id": version.body["id"], "name": version.body[name] }))
    };
    let table = state.table(kind);
    let filed = mode == "exact"
        && (field.custom && !matches!(field.value_type.as_str(), "monetary" | "address")
            || matches!(key, "emails" | "phones" | "name" | "title"));
    let rows: Vec<Value> = if filed {
        state
            .candidates(kind, &[key], &term.to_lowercase())
            .into_iter()
            .filter_map(|id| hit(table.get(id)?))
            .collect()
    } else {
        table.rows().values().filter_map(hit).collect()
    };
    page::of_values(state, ctx, rows)
}
