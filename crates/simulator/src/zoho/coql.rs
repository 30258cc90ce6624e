//! COQL: `select … from … where … order by … limit …` with immediate visibility.
//!
//! Without aggregates, `group by` and explicit joins. Source: Zoho CRM API v8, "COQL overview", "Limitations".

use std::cmp::Ordering;
use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::criteria::{Comparison, Operator, cell, known};
use super::lists::current;
use super::oauth::Right;
use super::refusal::{Answer, Refusal};
use super::render::{Depth, Renderer};
use super::request::Request;
use super::schema::Module;
use super::state::State;
use super::table::{Row, Table};
use super::times;
use crate::host::Reply;

mod parse;

pub(super) use parse::{Query, limit_of};

/// Most rows of one call.
const MAX_LIMIT: usize = 2_000;
/// Most rows by limit and offset.
const MAX_ROWS: usize = 100_000;
const MAX_FIELDS: usize = 50;
const MAX_CRITERIA: usize = 25;
const MAX_ORDER: usize = 10;

/// `POST /coql`.
pub(super) fn run(state: &State, request: &Request<'_>) -> Answer {
    request.access.require("coql", "", Right::Read)?;
    let text = request.object()?.get("select_query").and_then(Value::as_str);
    let text = text.ok_or_else(|| Refusal::mandatory("select_query", "$.select_query"))?;
    let query = parse::parse(text)?;
    let module = state.module(&query.module, 0)?;
    request.may_read(module)?;
    check(state, module, &query)?;
    let table = current(module);
    let mut rows = matching(state, module, &table, &query);
    let more = rows.len() > query.limit;
    rows.truncate(query.limit);
    if rows.is_empty() {
        return Ok(Reply::empty(204));
    }
    let renderer = Renderer { state, module, zone: &request.zone, depth: Depth::List };
    let data: Vec<Value> = rows.iter().map(|row| shown(&renderer, row, &query.fields)).collect();
    let info = json!({ "count": data.len(), "more_records": more });
    Ok(Reply::json(200, &json!({ "data": data, "info": info })))
}

fn check(state: &State, module: &Module, query: &Query) -> Result<(), Refusal> {
    if query.limit == 0 {
        return Err(Refusal::new(400, "INVALID_DATA", "limit should be greater than 0", json!({})));
    }
    let over = |by: &str, limit: usize| {
        Refusal::new(
            400,
            "LIMIT_EXCEEDED",
            "You have exceeded the maximum limit",
            json!({ "by": by, "limit": limit }),
        )
    };
    if query.limit > MAX_LIMIT {
        return Err(over("limit", MAX_LIMIT));
    }
    if query.offset.saturating_add(query.limit) > MAX_ROWS {
        return Err(over("offset", MAX_ROWS));
    }
    let tests = query.test.comparisons();
    if query.fields.len() > MAX_FIELDS {
        return Err(over("select", MAX_FIELDS));
    }
    if tests.len() > MAX_CRITERIA {
        return Err(over("where", MAX_CRITERIA));
    }
    if query.order.len() > MAX_ORDER {
        return Err(over("order by", MAX_ORDER));
    }
    let named = tests
        .iter()
        .map(|test| &test.field)
        .chain(&query.fields)
        .chain(query.order.iter().map(|(name, _)| name));
    for name in named {
        if !known(state, module, name) {
            let details =
                json!({ "column_name": name, "reason": "column given seems to be invalid" });
            return Err(Refusal::new(400, "INVALID_QUERY", "invalid query formed", details));
        }
    }
    Ok(())
}

/// Matches in order from the offset on, one more than the limit if there is one.
fn matching<'a>(state: &State, module: &Module, table: &'a Table, query: &Query) -> Vec<&'a Row> {
    let wanted = query.limit + 1;
    let hidden = |row: &Row| {
        state.switches.coql_hides_converted
            && row.fields.get("Converted__s") == Some(&Value::Bool(true))
    };
    let holds = |row: &&Row| !hidden(row) && query.test.holds(state, module, row);
    let (candidates, sorted) = candidates(table, query);
    let matches = candidates.filter(holds);
    if sorted {
        return matches.skip(query.offset).take(wanted).collect();
    }
    let mut keyed: Vec<(Vec<_>, &Row)> = matches
        .map(|row| {
            (query.order.iter().map(|(name, _)| cell(state, module, row, name)).collect(), row)
        })
        .collect();
    keyed.sort_by(|(left, left_row), (right, right_row)| {
        let by_keys = query.order.iter().zip(left.iter().zip(right)).map(
            |((_, ascending), (left, right))| {
                if *ascending { left.order(right) } else { right.order(left) }
            },
        );
        by_keys.fold(Ordering::Equal, Ordering::then).then(left_row.id.cmp(&right_row.id))
    });
    keyed.into_iter().map(|(_, row)| row).skip(query.offset).take(wanted).collect()
}

type Rows<'a> = Box<dyn Iterator<Item = &'a Row> + 'a>;

/// The rows worth testing, by an index where the conditions allow one, and whether they come in order.
fn candidates<'a>(table: &'a Table, query: &Query) -> (Rows<'a>, bool) {
    let musts = query.test.musts();
    let keyed = musts.iter().find_map(|test| by_key(table, test));
    if let Some(ids) = keyed {
        let ids: Vec<u64> = ids.into_iter().collect();
        return (Box::new(ids.into_iter().filter_map(|id| table.get(id))), query.by_id());
    }
    let least = |field: &str| {
        musts.iter().find(|test| {
            test.field == field
                && matches!(test.operator, Operator::Greater | Operator::GreaterEqual)
        })
    };
    if let Some(since) = least("Modified_Time").and_then(|test| times::parse(test.values.first()?))
    {
        let places = table.by_modified().range((since.timestamp(), 0)..);
        return (Box::new(places.filter_map(|(_, id)| table.get(*id))), query.by_modified());
    }
    let after = least("id").and_then(|test| test.values.first()?.parse::<u64>().ok()).unwrap_or(0);
    (Box::new(table.rows().range(after..).map(|(_, row)| row)), query.by_id())
}

/// Rows named by id or by the value of an indexed field.
fn by_key(table: &Table, test: &Comparison) -> Option<BTreeSet<u64>> {
    if !matches!(test.operator, Operator::Equal | Operator::In) {
        return None;
    }
    if test.field == "id" {
        return Some(test.values.iter().filter_map(|id| id.parse().ok()).collect());
    }
    if !table.indexes(&test.field) {
        return None;
    }
    let holders =
        test.values.iter().filter_map(|value| table.holding(&test.field, &value.as_str().into()));
    Some(holders.flatten().copied().collect())
}

/// Selected fields; a dotted name is the key it was asked by.
fn shown(renderer: &Renderer<'_>, row: &Row, fields: &[String]) -> Value {
    let mut object = Map::new();
    for name in fields {
        object.insert(name.clone(), value(renderer, row, name));
    }
    object.insert("id".into(), row.id.to_string().into());
    object.into()
}

fn value(renderer: &Renderer<'_>, row: &Row, name: &str) -> Value {
    match name.split_once('.') {
        None => renderer.module.field(name).map_or(Value::Null, |field| renderer.value(field, row)),
        Some((lookup, rest)) => {
            let target = renderer.module.field(lookup).zip(row.fields.get(lookup));
            let target =
                target.and_then(|(field, stored)| renderer.state.target(field, stored, None));
            let deeper = |(module, row): (&Module, &Row)| {
                let renderer = Renderer {
                    state: renderer.state,
                    module,
                    zone: renderer.zone,
                    depth: Depth::List,
                };
                value(&renderer, row, rest)
            };
            target.map_or(Value::Null, deeper)
        }
    }
}

impl Query {
    fn by_id(&self) -> bool {
        self.order.is_empty() || self.order == [("id".to_owned(), true)]
    }

    fn by_modified(&self) -> bool {
        let modified = ("Modified_Time".to_owned(), true);
        self.order == [modified.clone()] || self.order == [modified, ("id".to_owned(), true)]
    }
}
