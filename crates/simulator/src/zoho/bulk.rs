//! Bulk read: jobs that write the records of a module into a zipped CSV file.
//!
//! A job takes its rows when it is asked for and shows them when its time has passed.
//! Source: Zoho CRM API v8, "Bulk Read".

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Cursor, Write};

use bytes::Bytes;
use serde_json::{Map, Value, json};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::attachments::file;
use super::criteria::{Comparison, Operator, Test, known};
use super::lists::seen;
use super::oauth::Right;
use super::refusal::{Answer, Refusal};
use super::render::{Depth, Renderer};
use super::request::Request;
use super::schema::Module;
use super::state::State;
use super::table::{Row, id_of};
use crate::host::Reply;

/// Rows of one job.
const PAGE: usize = 200_000;
const MAX_CRITERIA: usize = 25;
/// Downloads of one minute.
const DOWNLOADS: usize = 10;
const MINUTE: i64 = 60 * 1_000;

/// The jobs of an organisation and its latest downloads.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    jobs: BTreeMap<u64, Job>,
    downloads: VecDeque<i64>,
}

#[derive(Debug)]
struct Job {
    query: Map<String, Value>,
    page: usize,
    csv: String,
    count: usize,
    more: bool,
    asked: i64,
    by: u64,
}

/// All calls under `/crm/bulk/v8`.
pub(super) fn route(state: &mut State, request: &Request<'_>, path: &[&str]) -> Answer {
    match (request.call.method.as_str(), path) {
        ("POST", ["bulk", "read"]) => create(state, request),
        ("GET", ["bulk", "read", job]) => details(state, request, job),
        ("GET", ["bulk", "read", job, "result"]) => result(state, request, job),
        (_, ["bulk", "read", ..]) => Err(Refusal::wrong_verb()),
        _ => Err(Refusal::wrong_url()),
    }
}

fn refused(code: &'static str, message: &str, details: Value) -> Refusal {
    Refusal::new(400, code, message, details)
}

fn create(state: &mut State, request: &Request<'_>) -> Answer {
    request.access.require("bulk", "", Right::Create)?;
    let json = request.call.header("content-type").unwrap_or_default();
    if !json.starts_with("application/json") {
        let message = "Media type not supported";
        return Err(Refusal::new(415, "MEDIA_TYPE_NOT_SUPPORTED", message, json!({})));
    }
    if request.call.body.is_empty() {
        return Err(refused("REQUEST_BODY_IS_EMPTY", "Request body is empty", json!({})));
    }
    let query = request.object()?.get("query").and_then(Value::as_object);
    let query = query.ok_or_else(|| Refusal::mandatory("query", "$.query"))?;
    let (query, page) = match query.get("page_token").and_then(Value::as_str) {
        Some(token) => following(state, token)?,
        None => (query.clone(), page(query)?),
    };
    let job = read(state, request, query, page)?;
    let id = state.fresh_id();
    let details = json!({
        "id": id.to_string(), "operation": "read", "state": "ADDED", "created_by": state.user_ref(job.by),
        "created_time": request.zone.millis(job.asked),
    });
    state.jobs.jobs.insert(id, job);
    let status = json!({ "status": "success", "code": "ADDED_SUCCESSFULLY", "message": "Added successfully.", "details": details });
    Ok(Reply::json(201, &json!({ "data": [status], "info": {} })))
}

fn page(query: &Map<String, Value>) -> Result<usize, Refusal> {
    let page = query.get("page").map_or(Some(1), Value::as_u64).filter(|page| *page > 0);
    page.and_then(|page| usize::try_from(page).ok()).ok_or_else(|| {
        refused("PAGE_RANGE_EXCEEDED", "The page is out of range", json!({ "api_name": "page" }))
    })
}

fn token(id: u64) -> String {
    blake3::hash(format!("bulk page after {id}").as_bytes()).to_hex().as_str().to_owned()
}

/// The query of the job that gave the token, one page on.
fn following(state: &State, given: &str) -> Result<(Map<String, Value>, usize), Refusal> {
    let job = state.jobs.jobs.iter().find(|(id, job)| job.more && token(**id) == given);
    let (_, job) = job.ok_or_else(|| {
        refused("INVALID_DATA", "invalid data", json!({ "api_name": "page_token" }))
    })?;
    Ok((job.query.clone(), job.page + 1))
}

fn read(
    state: &State,
    request: &Request<'_>,
    query: Map<String, Value>,
    page: usize,
) -> Result<Job, Refusal> {
    let name = query.get("module").and_then(|module| module.get("api_name")?.as_str());
    let name = name.ok_or_else(|| Refusal::mandatory("module", "$.query.module"))?;
    let unknown = || {
        let message = "The module is not available";
        refused("MODULE_NOT_AVAILABLE", message, json!({ "module": name }))
    };
    let module = state.module(name, 0).map_err(|_| unknown())?;
    if module.api_name == "Notes" {
        let message = "The module is not supported";
        return Err(refused("MODULE_NOT_SUPPORTED", message, json!({ "module": name })));
    }
    request.may_read(module)?;
    let fields = columns(state, module, query.get("fields"))?;
    let test = query.get("criteria").map(|given| criteria(state, module, given)).transpose()?;
    let table = seen(state, module, request);
    let renderer = Renderer { state, module, zone: &request.zone, depth: Depth::List };
    let fits = |row: &&Row| test.as_ref().is_none_or(|test| test.holds(state, module, row));
    let mut rows = table.rows().values().filter(fits).skip((page - 1) * PAGE).peekable();
    let mut csv = String::from("Id");
    for name in &fields {
        csv.push(',');
        csv.push_str(name);
    }
    csv.push('\n');
    let mut count = 0;
    for row in rows.by_ref().take(PAGE) {
        csv.push_str(&row.id.to_string());
        for name in &fields {
            csv.push(',');
            csv.push_str(&quoted(&cell(&renderer, row, name)));
        }
        csv.push('\n');
        count += 1;
    }
    let more = rows.peek().is_some();
    Ok(Job { query, page, csv, count, more, asked: state.now(), by: request.access.user })
}

/// The fields asked for without the id, which always comes; all of the module when there are none.
fn columns(state: &State, module: &Module, asked: Option<&Value>) -> Result<Vec<String>, Refusal> {
    let asked = asked.and_then(Value::as_array).into_iter().flatten();
    let asked: Vec<String> = asked.filter_map(Value::as_str).map(str::to_owned).collect();
    let user = |name: &str| {
        name.split_once('.').is_some_and(|(field, part)| {
            let kind = module.field(field).map(|field| field.kind.name());
            matches!(kind, Some("ownerlookup" | "userlookup"))
                && matches!(part, "id" | "first_name" | "last_name" | "email")
        })
    };
    let stray = asked.iter().find(|name| !known(state, module, name) && !user(name));
    if let Some(name) = stray {
        let message = "The field is not available";
        return Err(refused("FIELD_NOT_AVAILABLE", message, json!({ "field": name })));
    }
    let all = module.fields.iter().filter(|field| !field.kind.only_in_single());
    let names =
        if asked.is_empty() { all.map(|field| field.api_name.clone()).collect() } else { asked };
    Ok(names.into_iter().filter(|name| name != "id").collect())
}

/// A value as CSV has it: lookups are bare ids, lists are joined.
fn cell(renderer: &Renderer<'_>, row: &Row, name: &str) -> String {
    let (state, module) = (renderer.state, renderer.module);
    let Some((lookup, rest)) = name.split_once('.') else {
        let field = module.field(name).filter(|field| renderer.shows(field));
        return field.map_or_else(String::new, |field| text(&renderer.value(field, row)));
    };
    let stored = module.field(lookup).zip(row.fields.get(lookup));
    let user = stored.and_then(|(_, stored)| state.users.get(&id_of(stored)?));
    if let Some(user) = user {
        return match rest {
            "first_name" => user.first_name.clone(),
            "last_name" => user.last_name.clone(),
            "email" => user.email.clone(),
            _ => user.id.to_string(),
        };
    }
    let target = stored.and_then(|(field, stored)| state.target(field, stored, None));
    target.map_or_else(String::new, |(module, row)| {
        let there = Renderer { state, module, zone: renderer.zone, depth: renderer.depth };
        if rest == "id" { row.id.to_string() } else { cell(&there, row, rest) }
    })
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(","),
        Value::Object(object) => {
            let id = object.get("id").and_then(Value::as_str);
            id.map_or_else(|| value.to_string(), str::to_owned)
        }
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

fn criteria(state: &State, module: &Module, given: &Value) -> Result<Test, Refusal> {
    let test = group(state, module, given)?;
    if test.comparisons().len() > MAX_CRITERIA {
        let details = json!({ "max_limit": MAX_CRITERIA });
        return Err(refused("CRITERIA_LIMIT_EXCEEDED", "Criteria limit exceeded", details));
    }
    Ok(test)
}

fn group(state: &State, module: &Module, given: &Value) -> Result<Test, Refusal> {
    let Some(parts) = given.get("group").and_then(Value::as_array) else {
        return Ok(Test::Compare(comparison(state, module, given)?));
    };
    let parts = parts.iter().map(|part| group(state, module, part)).collect::<Result<_, _>>()?;
    match given.get("group_operator").and_then(Value::as_str).map(str::to_lowercase).as_deref() {
        Some("and") => Ok(Test::All(parts)),
        Some("or") => Ok(Test::Any(parts)),
        _ => Err(refused(
            "INVALID_CRITERIA",
            "The criteria are not valid",
            json!({ "api_name": "group_operator" }),
        )),
    }
}

fn comparison(state: &State, module: &Module, given: &Value) -> Result<Comparison, Refusal> {
    let field = given.pointer("/field/api_name").or_else(|| given.get("api_name"));
    let field = field.and_then(Value::as_str).unwrap_or_default().to_owned();
    if !known(state, module, &field) {
        let message = "The field in the criteria is not available";
        return Err(refused("FIELD_IN_CRITERIA_NOT_AVAILABLE", message, json!({ "field": field })));
    }
    let comparator = given.get("comparator").and_then(Value::as_str).unwrap_or_default();
    let value = given.get("value").cloned().unwrap_or_default();
    let values: Vec<String> = match value.as_array() {
        Some(items) => items.iter().map(text).collect(),
        None => vec![text(&value)],
    };
    let empty = values.first().is_some_and(|value| value == "${EMPTY}");
    let around = |before: &str, after: &str| {
        values.iter().map(|value| format!("{before}{value}{after}")).collect::<Vec<_>>()
    };
    let (operator, values) = match comparator {
        "equal" if empty => (Operator::Null, values),
        "not_equal" if empty => (Operator::NotNull, values),
        "equal" => (Operator::Equal, values),
        "not_equal" => (Operator::NotEqual, values),
        "in" => (Operator::In, values),
        "not_in" => (Operator::NotIn, values),
        "less_than" => (Operator::Less, values),
        "less_equal" => (Operator::LessEqual, values),
        "greater_than" => (Operator::Greater, values),
        "greater_equal" => (Operator::GreaterEqual, values),
        "between" => (Operator::Between, values),
        "not_between" => (Operator::NotBetween, values),
        "contains" => (Operator::Like, around("%", "%")),
        "not_contains" => (Operator::NotLike, around("%", "%")),
        "starts_with" => (Operator::Like, around("", "%")),
        "ends_with" => (Operator::Like, around("%", "")),
        _ => {
            return Err(refused(
                "FIELD_COMPARATOR_IN_CRITERIA_NOT_SUPPORTED",
                "The comparator is not supported",
                json!({ "field": field, "comparator": comparator }),
            ));
        }
    };
    Ok(Comparison { field, operator, values })
}

fn job<'a>(state: &'a State, id: &str) -> Result<(u64, &'a Job), Refusal> {
    let found = id.parse().ok().and_then(|id| Some((id, state.jobs.jobs.get(&id)?)));
    found.ok_or_else(|| {
        Refusal::new(404, "RESOURCE_NOT_FOUND", "The requested resource does not exist", json!({}))
    })
}

/// How far a job is: a quarter of its time each for waiting, being queued, and half for the work.
fn progress(state: &State, job: &Job) -> &'static str {
    let (spent, whole) = (state.now() - job.asked, state.switches.bulk_time.num_milliseconds());
    match spent * 4 {
        spent if spent >= whole * 4 => "COMPLETED",
        spent if spent >= whole * 2 => "IN PROGRESS",
        spent if spent >= whole => "QUEUED",
        _ => "ADDED",
    }
}

fn details(state: &State, request: &Request<'_>, id: &str) -> Answer {
    request.access.require("bulk", "", Right::Read)?;
    let (id, job) = job(state, id)?;
    let progress = progress(state, job);
    let module = job.query.get("module").and_then(|module| module.get("api_name")?.as_str());
    let module = module.and_then(|name| state.modules.get(name));
    let mut query = job.query.clone();
    query.remove("page_token");
    query.insert("page".into(), job.page.into());
    if let Some(module) = module {
        let module = json!({ "id": module.id.to_string(), "api_name": module.api_name });
        query.insert("module".into(), module);
    }
    let mut shown = json!({
        "id": id.to_string(), "operation": "read", "state": progress, "query": query, "created_by": state.user_ref(job.by),
        "created_time": request.zone.millis(job.asked), "file_type": "csv",
    });
    if progress == "COMPLETED" {
        shown["result"] = json!({
            "page": job.page, "per_page": PAGE, "count": job.count, "download_url": format!("/crm/bulk/v8/read/{id}/result"),
            "more_records": job.more, "next_page_token": job.more.then(|| token(id)),
        });
    }
    Ok(Reply::json(200, &json!({ "data": [shown] })))
}

fn result(state: &mut State, request: &Request<'_>, id: &str) -> Answer {
    request.access.require("bulk", "", Right::Read)?;
    let now = state.now();
    state.jobs.downloads.retain(|at| *at > now - MINUTE);
    if state.jobs.downloads.len() >= DOWNLOADS {
        let message = "You have exceeded the number of downloads of one minute";
        return Err(Refusal::new(429, "TOO_MANY_REQUESTS", message, json!({})));
    }
    let (id, job) = job(state, id)?;
    if progress(state, job) != "COMPLETED" || job.count == 0 {
        return Ok(Reply::empty(204));
    }
    let archive = zipped(&format!("{id}.csv"), &job.csv)
        .map_err(|_| Refusal::new(500, "INTERNAL_ERROR", "Internal server error", json!({})))?;
    state.jobs.downloads.push_back(now);
    Ok(file(&format!("{id}.zip"), &archive))
}

fn zipped(name: &str, text: &str) -> io::Result<Bytes> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    archive.start_file(name, SimpleFileOptions::default())?;
    archive.write_all(text.as_bytes())?;
    Ok(archive.finish()?.into_inner().into())
}
