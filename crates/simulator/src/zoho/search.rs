//! Search over an index that lags, and counting.

use serde_json::{Value, json};

use super::criteria::{Comparison, Operator, Test, known};
use super::lists::seen;
use super::oauth::Right;
use super::refusal::{Answer, Refusal};
use super::render::{Depth, Renderer};
use super::request::Request;
use super::schema::{FieldType, Module};
use super::state::State;
use super::table::{Row, Table};
use crate::host::Reply;

/// Conditions of one search, v8.
const MAX_CRITERIA: usize = 15;
const MAX_RESULTS: usize = 2_000;
/// Brackets read: far more than 15 conditions need.
const MAX_BRACKETS: usize = 200;

/// `GET /{module}/search`.
pub(super) fn search(state: &State, request: &Request<'_>, module: &str) -> Answer {
    let module = state.module(module, 0)?;
    request.may_read(module)?;
    request.access.require_search()?;
    let test = wanted(state, module, request)?.ok_or_else(|| {
        let details = json!({ "param_names": ["criteria", "email", "phone", "word"] });
        Refusal::new(
            400,
            "EXPECTED_PARAM_MISSING",
            "one of the expected parameter is missing",
            details,
        )
    })?;
    let per_page = request.per_page(200)?;
    let page = usize::try_from(request.page()?).unwrap_or(usize::MAX);
    if page.saturating_mul(per_page) > MAX_RESULTS {
        return Err(Refusal::new(
            400,
            "LIMIT_REACHED",
            "limit reached",
            json!({ "limit": "2000" }),
        ));
    }
    let table = indexed(state, module, request);
    let converted = request.call.query("converted").unwrap_or("false");
    let found = matching(state, module, &table, &test).into_iter().filter(|row| {
        let is = row.fields.get("Converted__s") == Some(&Value::Bool(true));
        converted == "both" || is == (converted == "true")
    });
    let mut found = found.rev().skip((page - 1).saturating_mul(per_page)).peekable();
    let shown: Vec<&Row> = found.by_ref().take(per_page).collect();
    if shown.is_empty() {
        return Ok(Reply::empty(204));
    }
    let renderer = Renderer { state, module, zone: &request.zone, depth: Depth::List };
    let fields = match request.call.query("fields") {
        Some(_) => request.fields()?,
        None => module.fields.iter().map(|field| field.api_name.clone()).collect(),
    };
    let data: Vec<Value> = shown.iter().map(|row| renderer.selected(row, &fields)).collect();
    let info = json!({
        "per_page": per_page, "count": data.len(), "page": page, "sort_by": "id", "sort_order": "desc",
        "more_records": found.peek().is_some(),
    });
    Ok(Reply::json(200, &json!({ "data": data, "info": info })))
}

/// `GET /{module}/actions/count`.
pub(super) fn count(state: &State, request: &Request<'_>, module: &str) -> Answer {
    let module = state.module(module, 0)?;
    request.may_read(module)?;
    request.access.require_search()?;
    request.access.require("settings", "layouts", Right::Read)?;
    let table = indexed(state, module, request);
    let count = match wanted(state, module, request)? {
        None => table.len(),
        Some(test) => matching(state, module, &table, &test).len(),
    };
    Ok(Reply::json(200, &json!({ "count": count })))
}

/// The table as the search index knows it.
fn indexed<'a>(
    state: &State,
    module: &'a Module,
    request: &Request<'_>,
) -> std::borrow::Cow<'a, Table> {
    let lag = state.switches.index_lag.num_milliseconds();
    if lag > 0 {
        return std::borrow::Cow::Owned(module.table.as_of(state.now() - lag));
    }
    seen(state, module, request)
}

fn matching<'a>(state: &State, module: &Module, table: &'a Table, test: &Test) -> Vec<&'a Row> {
    table.rows().values().filter(|row| test.holds(state, module, row)).collect()
}

/// The one condition asked for: criteria before email before phone before word.
fn wanted(state: &State, module: &Module, request: &Request<'_>) -> Result<Option<Test>, Refusal> {
    if let Some(text) = request.call.query("criteria") {
        return criteria(state, module, text).map(Some);
    }
    let any = |kinds: &[FieldType], value: &str| {
        let fields = module.fields.iter().filter(|field| kinds.contains(&field.kind));
        let test = |name: &str| {
            Test::Compare(Comparison {
                field: name.into(),
                operator: Operator::Contains,
                values: vec![value.into()],
            })
        };
        Test::Any(fields.map(|field| test(&field.api_name)).collect())
    };
    if let Some(email) = request.call.query("email") {
        return Ok(Some(any(&[FieldType::Email], email)));
    }
    if let Some(phone) = request.call.query("phone") {
        return Ok(Some(any(&[FieldType::Phone], phone)));
    }
    let Some(word) = request.call.query("word") else { return Ok(None) };
    if word.chars().count() < 2 {
        return Err(Refusal::invalid_param("word"));
    }
    Ok(Some(any(
        &[
            FieldType::Text,
            FieldType::Email,
            FieldType::Phone,
            FieldType::Website,
            FieldType::Picklist,
        ],
        word,
    )))
}

fn criteria(state: &State, module: &Module, written: &str) -> Result<Test, Refusal> {
    if written.matches('(').count() > MAX_BRACKETS {
        return Err(invalid(json!({ "reason": "too many brackets" })));
    }
    let mut rest = written.trim();
    let test = group(module, &mut rest)?;
    if !rest.trim().is_empty() {
        return Err(invalid(json!({ "reason": "the criteria do not end" })));
    }
    let tests = test.comparisons();
    if tests.len() > MAX_CRITERIA {
        return Err(Refusal::new(
            400,
            "CRITERIA_LIMIT_EXCEEDED",
            "criteria limit exceeded",
            json!({ "limit": MAX_CRITERIA }),
        ));
    }
    if let Some(unknown) = tests.iter().find(|test| !known(state, module, &test.field)) {
        return Err(invalid(
            json!({ "reason": "the field is not available for search", "api_name": unknown.field }),
        ));
    }
    Ok(test)
}

/// `((a)and(b))`, `(a)or(b)` or a bare `field:operator:value`.
fn group(module: &Module, rest: &mut &str) -> Result<Test, Refusal> {
    if !rest.trim_start().starts_with('(') {
        return comparison(module, rest);
    }
    let first = bracket(module, rest)?;
    chain(module, rest, first)
}

fn chain(module: &Module, rest: &mut &str, first: Test) -> Result<Test, Refusal> {
    let mut test = first;
    loop {
        let next = rest.trim_start();
        if let Some(after) = next.strip_prefix("and") {
            *rest = after;
            test = Test::All(vec![test, bracket(module, rest)?]);
        } else if let Some(after) = next.strip_prefix("or") {
            *rest = after;
            test = Test::Any(vec![test, bracket(module, rest)?]);
        } else {
            return Ok(test);
        }
    }
}

fn bracket(module: &Module, rest: &mut &str) -> Result<Test, Refusal> {
    *rest = rest
        .trim_start()
        .strip_prefix('(')
        .ok_or_else(|| invalid(json!({ "reason": "a bracket is missing" })))?;
    let first = group(module, rest)?;
    let test = chain(module, rest, first)?;
    *rest = rest
        .trim_start()
        .strip_prefix(')')
        .ok_or_else(|| invalid(json!({ "reason": "a bracket is open" })))?;
    Ok(test)
}

fn comparison(module: &Module, rest: &mut &str) -> Result<Test, Refusal> {
    let (field, after) =
        rest.split_once(':').ok_or_else(|| invalid(json!({ "reason": "a field is missing" })))?;
    let (name, after) = after
        .split_once(':')
        .ok_or_else(|| invalid(json!({ "reason": "an operator is missing" })))?;
    let (values, after) = values(after);
    *rest = after;
    let field = field.trim().to_owned();
    let text = module.field(&field).is_some_and(|field| {
        matches!(
            field.kind,
            FieldType::Text
                | FieldType::Email
                | FieldType::Phone
                | FieldType::Website
                | FieldType::LargeText
        )
    });
    let operator = match name.trim() {
        "equals" if text => Operator::Contains,
        "equals" => Operator::Equal,
        "not_equal" => Operator::NotEqual,
        "greater_than" => Operator::Greater,
        "greater_equal" => Operator::GreaterEqual,
        "less_than" => Operator::Less,
        "less_equal" => Operator::LessEqual,
        "between" => Operator::Between,
        "in" => Operator::In,
        "starts_with" => Operator::StartsWith,
        _ => {
            return Err(invalid(
                json!({ "reason": "the operator is unknown", "api_name": field, "operator": name }),
            ));
        }
    };
    let values = if matches!(operator, Operator::In | Operator::Between) {
        values
    } else {
        vec![values.join(",")]
    };
    Ok(Test::Compare(Comparison { field, operator, values }))
}

/// Values up to the closing bracket, split at commas; a backslash takes the next sign as it is.
fn values(text: &str) -> (Vec<String>, &str) {
    let mut values = vec![String::new()];
    let mut signs = text.char_indices();
    while let Some((at, sign)) = signs.next() {
        match sign {
            '\\' => values
                .last_mut()
                .into_iter()
                .for_each(|value| value.extend(signs.next().map(|(_, sign)| sign))),
            ',' => values.push(String::new()),
            ')' => return (values, &text[at..]),
            _ => values.last_mut().into_iter().for_each(|value| value.push(sign)),
        }
    }
    (values, "")
}

fn invalid(details: Value) -> Refusal {
    Refusal::new(400, "INVALID_QUERY", "Invalid query formed", details)
}
