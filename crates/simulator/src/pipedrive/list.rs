//! Lists of v2: order and pages. A page costs what it holds, not what the table holds.

use std::fmt::Write;

use serde_json::{Value, json};

use super::page::{self, Position};
use super::query::Query;
use super::routes::{Ctx, Outcome};
use super::state::State;
use super::table::{Millis, Record, Table, Version};
use crate::host::Reply;

/// `GET /api/v2/{kind}`
pub(super) fn list(state: &mut State, ctx: &Ctx) -> Outcome {
    let query = Query::read(state, ctx, false)?;
    run(state, ctx, &query)
}

/// `GET /api/v2/deals/archived`
pub(super) fn archived(state: &mut State, ctx: &Ctx) -> Outcome {
    let query = Query::read(state, ctx, true)?;
    run(state, ctx, &query)
}

fn run(state: &mut State, ctx: &Ctx, query: &Query) -> Outcome {
    state.permit(ctx.kind)?;
    // Rows that a list shows late are shown at once to who asks for them by id.
    let now = if query.ids.is_some() { Millis::MAX } else { ctx.now };
    let mut found = select(state, ctx, query, now);
    let more = found.len() > query.limit;
    found.truncate(query.limit);
    let next = found
        .last()
        .filter(|_| more)
        .map(|at| page::encode(ctx, &query.sort, query.descending, at));
    let mut body = String::from(r#"{"success":true,"data":["#);
    for (index, row) in found.iter().enumerate() {
        if index > 0 {
            body.push(',');
        }
        state.render_into(&mut body, ctx, now, row.id, &query.look);
    }
    // A String takes every write.
    let _ = write!(body, r#"],"additional_data":{{"next_cursor":{}}}}}"#, json!(next));
    Ok(Reply { body: body.into(), ..Reply::json(200, &Value::Null) })
}

/// The rows of the page and one more, if there is one.
fn select(state: &State, ctx: &Ctx, query: &Query, now: Millis) -> Vec<Position> {
    let table = state.table(ctx.kind);
    let wanted = |id: i64| {
        let record = table.get(id)?;
        let version = record.shown(now, ctx.as_of)?;
        let keep = query.keeps(state, ctx.kind, id, version)
            && state.sees(ctx.by.user, ctx.kind, record, version);
        keep.then(|| Position { value: sort_value(&query.sort, record, version), id })
    };
    if ctx.as_of.is_some()
        || query.ids.is_some()
        || !matches!(query.sort.as_str(), "id" | "add_time" | "update_time")
    {
        return select_sorted(table, query, wanted);
    }
    walk(table, query).filter_map(wanted).take(query.limit + 1).collect()
}

fn sort_value(sort: &str, record: &Record, version: &Version) -> Value {
    match sort {
        "id" => record.id.into(),
        "update_time" => version.updated.into(),
        "add_time" => record.added.into(),
        key => version.body.get(key).cloned().unwrap_or_default(),
    }
}

/// Sorts all that fit: for ids, for rare orders, for the past.
fn select_sorted(
    table: &Table,
    query: &Query,
    wanted: impl Fn(i64) -> Option<Position>,
) -> Vec<Position> {
    let mut rows: Vec<Position> = match &query.ids {
        Some(ids) => ids
            .iter()
            .copied()
            .collect::<std::collections::BTreeSet<_>>()
            .into_iter()
            .filter_map(wanted)
            .collect(),
        None => table.rows().keys().copied().filter_map(wanted).collect(),
    };
    let key = |at: &Position| (order(&at.value), at.id);
    rows.sort_by_key(key);
    if query.descending {
        rows.reverse();
    }
    if let Some(after) = &query.after {
        rows.retain(
            |row| if query.descending { key(row) < key(after) } else { key(row) > key(after) },
        );
    }
    rows.truncate(query.limit + 1);
    rows
}

/// Null before numbers before texts.
fn order(value: &Value) -> (u8, i64, String) {
    match value {
        Value::String(text) => (2, 0, text.to_lowercase()),
        Value::Number(number) => (1, number.as_i64().unwrap_or(0), String::new()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => (0, 0, String::new()),
    }
}

/// Ids in the asked order from the cursor on, along an index.
fn walk<'a>(table: &'a Table, query: &'a Query) -> Box<dyn Iterator<Item = i64> + 'a> {
    let after = query.after.as_ref().map(|at| (at.value.as_i64().unwrap_or(Millis::MIN), at.id));
    match (query.sort.as_str(), query.descending) {
        ("update_time", false) => {
            let since = query.since.unwrap_or(Millis::MIN);
            let from =
                after.map_or((since, i64::MIN), |(time, id)| (time, id + 1).max((since, i64::MIN)));
            let until = query.until.unwrap_or(Millis::MAX);
            let in_time = move |id: &i64| {
                table.get(*id).is_none_or(|row| row.version.updated.unwrap_or(Millis::MIN) < until)
            };
            Box::new(table.updated_from(from).take_while(in_time))
        }
        ("update_time", true) => {
            let since = query.since.unwrap_or(Millis::MIN);
            let in_time = move |id: &i64| {
                table.get(*id).is_none_or(|row| row.version.updated.unwrap_or(Millis::MIN) >= since)
            };
            Box::new(
                table
                    .updated_to(after.unwrap_or((Millis::MAX, i64::MAX)))
                    .rev()
                    .take_while(in_time),
            )
        }
        ("add_time", false) => Box::new(
            table.added_from(after.map_or((Millis::MIN, i64::MIN), |(time, id)| (time, id + 1))),
        ),
        ("add_time", true) => {
            Box::new(table.added_to(after.unwrap_or((Millis::MAX, i64::MAX))).rev())
        }
        (_, true) => Box::new(
            table.rows().range(..after.map_or(i64::MAX, |(_, id)| id)).rev().map(|(id, _)| *id),
        ),
        (_, false) => by_id(table, query, after.map_or(i64::MIN, |(_, id)| id + 1)),
    }
}

/// By id; a short list of recent changes is sorted instead of searched for in the whole table.
fn by_id<'a>(table: &'a Table, query: &Query, from: i64) -> Box<dyn Iterator<Item = i64> + 'a> {
    let few = 5 * query.limit;
    if let Some(since) = query.since {
        let mut recent: Vec<i64> = table.updated_from((since, i64::MIN)).take(few + 1).collect();
        if recent.len() <= few {
            recent.retain(|id| *id >= from);
            recent.sort_unstable();
            return Box::new(recent.into_iter());
        }
    }
    Box::new(table.rows().range(from..).map(|(id, _)| *id))
}
