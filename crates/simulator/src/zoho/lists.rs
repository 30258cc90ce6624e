//! Reading records: lists, single records, the deleted feed.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::columns::Columns;
use super::pages::{Binding, Bookmark, Selection, Sort, TOKEN_ROWS};
use super::refusal::{Answer, Refusal};
use super::render::{Depth, Renderer};
use super::request::Request;
use super::schema::{Access, Module};
use super::state::State;
use super::table::{Table, seconds};
use super::times;
use crate::fault::Fault;
use crate::host::Reply;

pub(super) const MAX_FIELDS: usize = 50;
pub(super) const MAX_PAGE: usize = 200;
/// Rows that page numbers lead to.
const DISCRETE_ROWS: usize = 2_000;
const TOKEN_LIFE: i64 = 24 * 60 * 60 * 1_000;
const DAY: i64 = 24 * 60 * 60 * 1_000;
const BIN_DAYS: i64 = 60;
const GRAVE_DAYS: i64 = 120;

/// The table as the call sees it: now, or as of a while ago under [`Fault::Stale`].
pub(super) fn seen<'a>(state: &State, module: &'a Module, request: &Request<'_>) -> Cow<'a, Table> {
    let Some(Fault::Stale { by }) = &request.call.fault else { return current(module) };
    let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
    Cow::Owned(current(module).as_of(state.now().saturating_sub(by)))
}

/// The table as it is now: single records and COQL never lag.
pub(super) fn current(module: &Module) -> Cow<'_, Table> {
    if module.rules.access == Access::Unseen {
        Cow::Owned(Table::default())
    } else {
        Cow::Borrowed(&module.table)
    }
}

/// `GET /{module}`.
pub(super) fn list(state: &State, request: &Request<'_>, module: &str) -> Answer {
    let module = state.module(module, 0)?;
    request.may_read(module)?;
    if module.api_name == "Notes"
        && !state.users.get(&request.access.user).is_some_and(|user| user.admin)
    {
        return Err(Refusal::new(
            403,
            "NOT_SUPPORTED",
            "api not supported for this user",
            json!({}),
        ));
    }
    let fields = request.fields()?;
    let selection = selection(request, module)?;
    let table = seen(state, module, request);
    page(state, request, module, &table, &selection, &fields)
}

fn selection(request: &Request<'_>, module: &Module) -> Result<Selection, Refusal> {
    let sort_by = request.call.query("sort_by").unwrap_or("id");
    let sort = Sort::parse(sort_by).ok_or_else(|| {
        Refusal::invalid(json!({ "param_name": "sort_by", "supported_values": ["id", "Created_Time", "Modified_Time"] }))
    })?;
    let ascending = match request.call.query("sort_order").unwrap_or("desc") {
        "asc" => true,
        "desc" => false,
        _ => {
            return Err(Refusal::invalid(
                json!({ "param_name": "sort_order", "supported_values": ["asc", "desc"] }),
            ));
        }
    };
    let converted = match request.call.query("converted").unwrap_or("false") {
        "false" => Some(false),
        "true" => Some(true),
        "both" => None,
        _ => {
            return Err(Refusal::invalid(
                json!({ "param_name": "converted", "supported_values": ["true", "false", "both"] }),
            ));
        }
    };
    let ids = request.ids(module)?;
    let since = request.since("if-modified-since")?;
    Ok(Selection { sort, ascending, since, converted, ids })
}

/// One page with its `info`; 304 or 204 where there is nothing.
pub(super) fn page(
    state: &State,
    request: &Request<'_>,
    module: &Module,
    table: &Table,
    selection: &Selection,
    fields: &[String],
) -> Answer {
    let per_page = request.per_page(MAX_PAGE)?;
    let parameters = request.parameters(&module.api_name);
    let binding = Binding { seed: state.seed, user: request.access.user, parameters: &parameters };
    let now = state.now();
    let mark = match request.call.query("page_token") {
        Some(token) => binding.open(token, now)?,
        None => Bookmark {
            after: None,
            before: None,
            served: 0,
            page: request.page()?,
            expires: now + TOKEN_LIFE,
        },
    };
    let tokened = request.call.query("page_token").is_some();
    if tokened && mark.served >= TOKEN_ROWS {
        let message = "Pagination limit exceeded. Use bulk read";
        return Err(Refusal::new(
            400,
            "PAGINATION_LIMIT_EXCEEDED",
            message,
            json!({ "limit": TOKEN_ROWS }),
        ));
    }
    let number = usize::try_from(mark.page).unwrap_or(usize::MAX);
    if !tokened && number.saturating_mul(per_page) > DISCRETE_ROWS {
        let message = "Kindly use page_token to fetch records beyond 2000";
        return Err(Refusal::new(
            400,
            "DISCRETE_PAGINATION_LIMIT_EXCEEDED",
            message,
            json!({ "limit": DISCRETE_ROWS }),
        ));
    }
    let counted = state.switches.tokens_count_rows;
    let skipped = match tokened {
        true if counted => usize::try_from(mark.served).unwrap_or(usize::MAX),
        true => 0,
        false => (number - 1).saturating_mul(per_page),
    };
    let mut rows = selection.rows(table, mark.after.filter(|_| !counted)).skip(skipped).peekable();
    let shown: Vec<_> = rows.by_ref().take(per_page).collect();
    let Some(last) = shown.last().map(|row| selection.place(row)) else {
        return Ok(Reply::empty(if selection.since.is_some() { 304 } else { 204 }));
    };
    let renderer = Renderer { state, module, zone: &request.zone, depth: Depth::List };
    let data = Columns::new(&renderer, fields).array(&shown);
    let served = mark.served.max(skipped as u64) + shown.len() as u64;
    let expires = now + TOKEN_LIFE;
    let next =
        Bookmark { after: Some(last), before: mark.after, served, page: mark.page + 1, expires };
    let previous = Bookmark {
        after: mark.before,
        before: None,
        served: 0,
        page: mark.page.saturating_sub(1).max(1),
        expires,
    };
    let more = rows.peek().is_some();
    let info = json!({
        "call": false,
        "email": false,
        "per_page": per_page,
        "count": shown.len(),
        "page": mark.page,
        "sort_by": selection.sort.name(),
        "sort_order": if selection.ascending { "asc" } else { "desc" },
        "more_records": more,
        "next_page_token": more.then(|| binding.seal(&next)),
        "previous_page_token": (tokened && mark.page > 1).then(|| binding.seal(&previous)),
        "page_token_expiry": more.then(|| request.zone.millis(expires)),
    });
    let body = format!("{{\"data\":{data},\"info\":{info}}}");
    Ok(Reply { body: body.into(), ..Reply::json(200, &Value::Null) })
}

/// `GET /{module}/{id}`.
pub(super) fn single(state: &State, request: &Request<'_>, module: &str, id: &str) -> Answer {
    let module = state.module(module, 0)?;
    request.may_read(module)?;
    let table = current(module);
    let Some(id) = request.record(module, &table, id, 1)? else { return Ok(Reply::empty(204)) };
    let Some(row) = table.get(id) else { return Ok(Reply::empty(204)) };
    if request.since("if-modified-since")?.is_some_and(|since| seconds(row.modified) < since) {
        return Ok(Reply::empty(304));
    }
    let renderer = Renderer { state, module, zone: &request.zone, depth: Depth::Single };
    let shown = match request.call.query("fields") {
        Some(_) => renderer.selected(row, &request.fields()?),
        None => renderer.whole(row),
    };
    Ok(Reply::json(200, &json!({ "data": [shown] })))
}

/// `GET /{module}/deleted`: newest first, 60 days of the recycle bin, 120 of permanent deletions.
pub(super) fn deleted(state: &State, request: &Request<'_>, module: &str) -> Answer {
    let module = state.module(module, 0)?;
    request.may_read(module)?;
    let wanted = request.call.query("type").unwrap_or("all");
    if !matches!(wanted, "all" | "recycle" | "permanent") {
        return Err(Refusal::new(
            400,
            "PATTERN_NOT_MATCHED",
            "Please check whether the input values are correct",
            json!({ "param_name": "type" }),
        ));
    }
    let per_page = request.per_page(MAX_PAGE)?;
    let page = usize::try_from(request.page()?).unwrap_or(usize::MAX);
    if page.saturating_mul(per_page) > DISCRETE_ROWS && state.switches.deleted_feed_ends {
        return Err(Refusal::new(
            400,
            "DISCRETE_PAGINATION_LIMIT_EXCEEDED",
            "limit exceeded",
            json!({ "limit": DISCRETE_ROWS }),
        ));
    }
    let since = request.since("if-modified-since")?;
    let table = seen(state, module, request);
    let now = state.now();
    let oldest = seconds(now - GRAVE_DAYS * DAY);
    let graves = table.by_death().range((since.unwrap_or(oldest).max(oldest), 0)..).rev();
    let graves = graves.filter_map(|(_, id)| table.graves().get(id)).filter_map(|grave| {
        let permanent = grave.permanent || grave.at < now - BIN_DAYS * DAY;
        let kind = if permanent { "permanent" } else { "recycle" };
        (wanted == "all" || wanted == kind).then_some((grave, kind))
    });
    let mut graves = graves.skip((page - 1).saturating_mul(per_page)).peekable();
    let data: Vec<Value> = graves
        .by_ref()
        .take(per_page)
        .map(|(grave, kind)| {
            json!({
                "deleted_by": grave.by.map(|user| state.user_ref(user)),
                "id": grave.row.id.to_string(),
                "display_name": grave.name,
                "type": kind,
                "created_by": state.user_ref(grave.row.created_by),
                "deleted_time": request.zone.millis(grave.at),
            })
        })
        .collect();
    if data.is_empty() {
        return Ok(Reply::empty(if since.is_some() { 304 } else { 204 }));
    }
    let info = json!({ "per_page": per_page, "count": data.len(), "page": page, "more_records": graves.peek().is_some() });
    Ok(Reply::json(200, &json!({ "data": data, "info": info })))
}

impl Request<'_> {
    /// The mandatory `fields` of a list.
    pub(super) fn fields(&self) -> Result<Vec<String>, Refusal> {
        let text = self.call.query("fields").filter(|text| !text.is_empty());
        let text = text.ok_or_else(|| Refusal::param_missing("fields"))?;
        let fields: Vec<String> = text.split(',').map(|name| name.trim().to_owned()).collect();
        if fields.len() > MAX_FIELDS {
            let details = json!({ "limit": MAX_FIELDS, "param_name": "fields" });
            return Err(Refusal::new(
                400,
                "LIMIT_EXCEEDED",
                "You have exceeded the maximum limit",
                details,
            ));
        }
        Ok(fields)
    }

    pub(super) fn ids(&self, module: &Module) -> Result<Option<BTreeSet<u64>>, Refusal> {
        let Some(text) = self.call.query("ids") else { return Ok(None) };
        let ids: Vec<&str> = text.split(',').map(str::trim).filter(|id| !id.is_empty()).collect();
        if ids.len() > 100 {
            let details = json!({ "limit": 100, "param_name": "ids" });
            return Err(Refusal::new(
                400,
                "LIMIT_EXCEEDED",
                "You have exceeded the maximum limit",
                details,
            ));
        }
        let mut found = BTreeSet::new();
        for id in ids {
            match self.external(module) {
                Some(field) => {
                    found.extend(module.table.holding(&field, &id.into()).into_iter().flatten());
                }
                None => {
                    found.insert(id.parse().map_err(|_| Refusal::invalid_param("ids"))?);
                }
            }
        }
        Ok(Some(found))
    }

    /// Second from which on a record counts as modified.
    pub(super) fn since(&self, header: &str) -> Result<Option<i64>, Refusal> {
        let Some(text) = self.call.header(header) else { return Ok(None) };
        match times::parse(text) {
            Some(at) => Ok(Some(at.timestamp())),
            None => Err(Refusal::invalid(
                json!({ "header_name": header, "expected_data_type": "datetime" }),
            )),
        }
    }

    pub(super) fn per_page(&self, most: usize) -> Result<usize, Refusal> {
        let Some(text) = self.call.query("per_page") else { return Ok(most) };
        text.parse()
            .ok()
            .filter(|size| (1..=most).contains(size))
            .ok_or_else(|| Refusal::invalid_param("per_page"))
    }

    pub(super) fn page(&self) -> Result<u64, Refusal> {
        let Some(text) = self.call.query("page") else { return Ok(1) };
        text.parse().ok().filter(|page| *page > 0).ok_or_else(|| Refusal::invalid_param("page"))
    }

    /// What a page token is bound to: all parameters but the page, and the headers that filter.
    fn parameters(&self, module: &str) -> String {
        let mut pairs: Vec<String> = self
            .call
            .query
            .iter()
            .filter(|(key, _)| key != "page_token" && key != "page")
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        pairs.sort();
        let since = self.call.header("if-modified-since").unwrap_or_default();
        format!("{module}?{}#{since}#{}", pairs.join("&"), self.call.path)
    }
}
