//! The REST API: what the pages show and do, for programs. `openapi.rs` describes it from the same table.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Json, extract::rejection::JsonRejection};
use crmsync_core::model::{EntityName, RecordId, RouteName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::auth::Visitor;
use super::problem::{ApiProblem, Problem};
use super::{App, conflicts as pages, failures as failure_pages, overview};
use crate::report::decision::Typed;
use crate::report::explanation::explain;
use crate::report::listing::{self, Topic, Wanted};
use crate::report::status;
use crate::service::JobName;

/// Rows of a page unless asked otherwise, and at most.
const ROWS: usize = 50;
const MOST_ROWS: usize = 500;

type Answer = Result<Response, ApiProblem>;

/// Which part of a list is asked for.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Part {
    /// Only this entity.
    entity: Option<String>,
    /// `open` (default) or `all`.
    status: Option<String>,
    /// The `next` of the page before.
    after: Option<String>,
    /// Rows of a page, 1 to 500; 50 if absent.
    limit: Option<usize>,
}

/// Which runs are asked for.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RunsPart {
    /// Only this route.
    route: Option<String>,
    /// How many, 1 to 500; 50 if absent.
    limit: Option<usize>,
}

/// A run to make.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RunRequest {
    /// Reads every listing whole.
    full: bool,
    /// Hash of a plan that is approved with it.
    approve: Option<String>,
}

/// A decision about one row.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DecisionRequest {
    /// `left`, `right`, `value`, `pin`, `link:ID`, `create` or `ignore`.
    choice: String,
    /// With the choice `value`: what to write, in the left side's form.
    value: Option<String>,
    /// As the row had it when it was shown; a row that changed since is refused.
    fingerprint: Option<String>,
}

/// Refused records that may try again.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RetryRequest {
    /// Only this record; all of the route if absent.
    record: Option<String>,
}

/// A list, or a part of it.
#[derive(Serialize)]
struct List<T> {
    items: Vec<T>,
    /// What `after` of the next page is; null on the last.
    next: Option<String>,
}

pub(super) async fn routes(State(app): State<Arc<App>>) -> Answer {
    let (config, history, now) = (app.config(), app.history(), app.now());
    let mut items = Vec::new();
    for (name, job) in app.scheduler.jobs() {
        let status = match &name {
            JobName::Route(route) => {
                let counts = app.counts(route).await;
                Some(status::glance(&history, &config, route, counts, now).await?)
            }
            JobName::Replication(_) => None,
        };
        items.push(json!({ "name": name.to_string(), "job": job, "status": status }));
    }
    Ok(Json(List { items, next: None }).into_response())
}

pub(super) async fn run_now(
    State(app): State<Arc<App>>,
    Extension(visitor): Extension<Visitor>,
    Path(route): Path<String>,
    body: Result<Json<RunRequest>, JsonRejection>,
) -> Answer {
    let request = read(body)?;
    overview::start(&app, &visitor, &route, request.full, request.approve).await?;
    // A run that waits already is the same run: asking twice is asking once.
    Ok((StatusCode::ACCEPTED, Json(json!({ "route": route, "asked": true }))).into_response())
}

pub(super) async fn runs(State(app): State<Arc<App>>, Query(part): Query<RunsPart>) -> Answer {
    let route = part.route.map(RouteName::new);
    let limit = limit(part.limit)? as u64;
    let items = app.store().runs(route.as_ref(), limit).await?;
    Ok(Json(List { items, next: None }).into_response())
}

pub(super) async fn run(State(app): State<Arc<App>>, Path(id): Path<String>) -> Answer {
    let history = app.history();
    let run = history.run(&id).await?.ok_or_else(|| Problem::not_found(&format!("run `{id}`")))?;
    let effects = history.effects(&run.route, &id).await?;
    Ok(Json(json!({ "run": run, "effects": effects })).into_response())
}

pub(super) async fn conflicts(
    State(app): State<Arc<App>>,
    Path(route): Path<String>,
    Query(part): Query<Part>,
) -> Answer {
    rows(&app, &route, part, Topic::Conflicts).await
}

pub(super) async fn failures(
    State(app): State<Arc<App>>,
    Path(route): Path<String>,
    Query(part): Query<Part>,
) -> Answer {
    rows(&app, &route, part, Topic::Failures).await
}

async fn rows(app: &App, route: &str, part: Part, topic: Topic) -> Answer {
    let route = known(app, route)?;
    let wanted = Wanted {
        topic,
        entity: part.entity.map(EntityName::new),
        all: match part.status.as_deref() {
            None | Some("open") => false,
            Some("all") => true,
            Some(other) => {
                return Err(
                    Problem::refused(format!("status `{other}` is neither open nor all")).into()
                );
            }
        },
        decidable: false,
        after: part.after,
        limit: limit(part.limit)?,
    };
    let history = app.history();
    let page = listing::page(&history, &route, &wanted).await?;
    let facts = app.facts(&route).await;
    let items = listing::lay_out(&history, &route, &page.rows, &facts).await?;
    let items: Vec<_> = items
        .into_iter()
        .map(|row| {
            let decision = page.decided.get(&row.row_id);
            json!({ "row": row, "decision": decision })
        })
        .collect();
    Ok(Json(List { items, next: page.next }).into_response())
}

pub(super) async fn decide(
    State(app): State<Arc<App>>,
    Extension(visitor): Extension<Visitor>,
    Path((route, row)): Path<(String, String)>,
    body: Result<Json<DecisionRequest>, JsonRejection>,
) -> Answer {
    let route = known(&app, &route)?;
    let request = read(body)?;
    let typed = Typed {
        choice: &request.choice,
        value: request.value.as_deref(),
        shown: request.fingerprint.as_deref(),
    };
    // The same decision again replaces itself.
    match pages::make(&app, &visitor, &route, &row, &typed).await? {
        Ok(()) => {
            Ok((StatusCode::ACCEPTED, Json(json!({ "row": row, "decided": true }))).into_response())
        }
        Err(why) => Err(Problem::refused(why).into()),
    }
}

pub(super) async fn take_back(
    State(app): State<Arc<App>>,
    Extension(visitor): Extension<Visitor>,
    Path((route, row)): Path<(String, String)>,
) -> Answer {
    let route = known(&app, &route)?;
    let taken = pages::take_back(&app, &visitor, &route, &row).await?;
    Ok(Json(json!({ "row": row, "taken_back": taken })).into_response())
}

pub(super) async fn retry(
    State(app): State<Arc<App>>,
    Extension(visitor): Extension<Visitor>,
    Path(route): Path<String>,
    body: Result<Json<RetryRequest>, JsonRejection>,
) -> Answer {
    let route = known(&app, &route)?;
    let request = read(body)?;
    let released =
        failure_pages::release(&app, &visitor, &route, request.record.as_deref()).await?;
    Ok((StatusCode::ACCEPTED, Json(json!({ "released": released }))).into_response())
}

pub(super) async fn record(
    State(app): State<Arc<App>>,
    Path((route, entity, id)): Path<(String, String, String)>,
) -> Answer {
    let route = known(&app, &route)?;
    let (entity, id) = (EntityName::new(entity), RecordId::new(id));
    let found = explain(&app.history(), &route, &entity, &id).await?;
    let found =
        found.ok_or_else(|| Problem::not_found(&format!("{entity} `{id}` in route {route}")))?;
    Ok(Json(found).into_response())
}

pub(super) async fn trail(State(app): State<Arc<App>>) -> Answer {
    let items = app.store().deeds(MOST_ROWS as u64).await?;
    Ok(Json(List { items, next: None }).into_response())
}

pub(super) async fn openapi() -> Json<Value> {
    Json(super::openapi::document())
}

fn known(app: &App, route: &str) -> Result<RouteName, Problem> {
    let name = RouteName::new(route);
    if app.config().routes.contains_key(&name) {
        Ok(name)
    } else {
        Err(Problem::not_found(&format!("route `{route}`")))
    }
}

fn limit(asked: Option<usize>) -> Result<usize, Problem> {
    match asked {
        None => Ok(ROWS),
        Some(rows @ 1..=MOST_ROWS) => Ok(rows),
        Some(rows) => Err(Problem::refused(format!("limit {rows} is not 1 to {MOST_ROWS}"))),
    }
}

/// A body that does not fit is told where; none at all asks for nothing special.
fn read<T>(body: Result<Json<T>, JsonRejection>) -> Result<T, Problem> {
    body.map(|Json(request)| request)
        .map_err(|rejection| Problem::new(rejection.status(), rejection.body_text()))
}
