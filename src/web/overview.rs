//! The overview: every route and replication at a glance, and running one now.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Form, Path, State};
use axum::response::Response;
use axum::{Extension, http::StatusCode};
use axum_extra::extract::CookieJar;
use crmsync_core::model::{Pair, RouteName, Side};
use serde::Deserialize;

use super::App;
use super::auth::Visitor;
use super::frame::{Frame, Instant, say, show};
use super::problem::Problem;
use crate::connectors::Cost;
use crate::report::history::History;
use crate::report::status::{self, span};
use crate::service::run::Mode;
use crate::service::{Asked, JobName, JobState};
use crate::store::{RunRecord, StoreError};

#[derive(Template)]
#[template(path = "web/overview.html")]
struct Page {
    frame: Frame,
    routes: Vec<RouteCard>,
    replications: Vec<ReplicationCard>,
}

struct RouteCard {
    name: String,
    sides: Pair<String>,
    /// What it does, in a sentence.
    state: String,
    is_fine: bool,
    running: bool,
    next_at: Option<Instant>,
    entities: Vec<EntityRow>,
    /// Hash of a plan that waits for consent.
    waits: Option<String>,
    last_run: Option<String>,
    budgets: Vec<Budget>,
}

struct EntityRow {
    name: String,
    records: Pair<u64>,
    linked: u64,
    open: u64,
    lag: String,
}

struct Budget {
    connection: String,
    cost: Cost,
    limit: Option<u64>,
}

struct ReplicationCard {
    name: String,
    state: String,
    is_fine: bool,
    running: bool,
    next_at: Option<Instant>,
}

impl Budget {
    /// The longest bar, so that one that is overdrawn is full.
    fn most(&self) -> u64 {
        self.limit.unwrap_or(0).max(1)
    }
}

pub(super) async fn page(
    State(app): State<Arc<App>>,
    Extension(visitor): Extension<Visitor>,
    jar: CookieJar,
) -> Result<Response, Problem> {
    let history = app.history();
    let (mut routes, mut replications) = (Vec::new(), Vec::new());
    for (name, state) in app.scheduler.jobs() {
        match name {
            JobName::Route(route) => routes.push(card(&app, &history, &route, state).await?),
            JobName::Replication(name) => replications.push(replication(&app, name, &state)),
        }
    }
    let mut frame = Frame::new("Overview", "/", &visitor, &jar);
    let running = routes.iter().any(|route| route.running);
    frame.refresh = Some(if running { 2 } else { 30 });
    show(&Page { frame, routes, replications }, jar)
}

async fn card(
    app: &Arc<App>,
    history: &History,
    route: &RouteName,
    job: JobState,
) -> Result<RouteCard, StoreError> {
    let (config, now) = (app.config(), app.now());
    let counts = app.counts(route).await;
    let status = status::glance(history, &config, route, counts, now).await?;
    let budgets = Side::BOTH.map(|side| Budget {
        connection: status.sides[side].clone(),
        cost: status.spent[side],
        limit: status.budget[side],
    });
    let entities = status.entities.into_iter().map(|entity| {
        let lag = Side::BOTH.map(|side| entity.lag_seconds[side]);
        let lag = match lag {
            [Some(left), Some(right)] => span(left.max(right)),
            [_, None] | [None, _] => "never read".to_owned(),
        };
        EntityRow {
            name: entity.entity.to_string(),
            records: entity.records,
            linked: entity.linked,
            open: entity.open_rows,
            lag,
        }
    });
    let entities = entities.collect();
    let last = status.last_run.as_ref();
    let paused = status.paused.as_ref();
    let waits = last.filter(|run| run.exit == Some(3)).and_then(|run| run.plan_hash.clone());
    let (state, is_fine) = sentence(&job, last, paused, now);
    Ok(RouteCard {
        name: route.to_string(),
        sides: status.sides,
        state,
        is_fine,
        running: job.running.is_some(),
        next_at: job.next_at.map(Instant),
        entities,
        waits: waits.filter(|_| job.running.is_none()),
        last_run: last.map(|run| run.id.clone()),
        budgets: budgets.into(),
    })
}

/// What a route does, and whether nobody need do anything about it.
fn sentence(
    job: &JobState,
    last: Option<&RunRecord>,
    paused: Option<&String>,
    now: chrono::DateTime<chrono::Utc>,
) -> (String, bool) {
    if let Some(running) = &job.running {
        let total = running.total.map(|total| format!(" of {total}")).unwrap_or_default();
        let done =
            if running.done > 0 { format!(", {}{total}", running.done) } else { String::new() };
        return (
            format!(
                "Running for {}: {}{done}",
                span((now - running.since).num_seconds()),
                running.phase
            ),
            true,
        );
    }
    if let Some(run) = paused {
        return (format!("Paused after the undo of run {run}: redo or accept it"), false);
    }
    if let Some(error) = job.last.as_ref().and_then(|last| last.error.as_ref()) {
        return (format!("The last run failed: {error}"), false);
    }
    let Some(run) = last else { return ("Never ran".to_owned(), true) };
    let ago = span((now - run.started_at).num_seconds());
    match (run.exit, &run.error) {
        (_, Some(error)) => (format!("The last run, {ago} ago, failed: {error}"), false),
        (Some(0), None) => (format!("In sync; last run {ago} ago"), true),
        (Some(1), None) => (format!("Last run {ago} ago; something waits for a person"), true),
        (Some(3), None) => (format!("Last run {ago} ago; its plan waits for consent"), false),
        (Some(4), None) => (format!("Last run {ago} ago; a side was out of reach"), false),
        (Some(5), None) => (format!("Last run {ago} ago; the day's budget is used up"), false),
        (Some(exit), None) => (format!("Last run {ago} ago; exit {exit}"), false),
        (None, None) => (format!("A run of another process, {ago} ago: {}", run.phase), true),
    }
}

fn replication(app: &App, name: String, state: &JobState) -> ReplicationCard {
    let now = app.now();
    let (sentence, is_fine) = match (&state.running, &state.last) {
        (Some(running), _) => (
            format!("Running for {}: {}", span((now - running.since).num_seconds()), running.phase),
            true,
        ),
        (None, Some(last)) => {
            let ago = span((now - last.ended_at).num_seconds());
            match &last.error {
                Some(error) => (format!("Failed {ago} ago: {error}"), false),
                None => (format!("Copied {ago} ago"), last.exit == 0),
            }
        }
        (None, None) => ("No run since the service started".to_owned(), true),
    };
    ReplicationCard {
        name,
        state: sentence,
        is_fine,
        running: state.running.is_some(),
        next_at: state.next_at.map(Instant),
    }
}

#[derive(Deserialize)]
pub(super) struct RunForm {
    /// Hash of a plan that is approved with it.
    approve: Option<String>,
    /// `full`: reads every listing whole.
    mode: Option<String>,
}

pub(super) async fn run_now(
    State(app): State<Arc<App>>,
    Extension(visitor): Extension<Visitor>,
    Path(route): Path<String>,
    jar: CookieJar,
    Form(form): Form<RunForm>,
) -> Result<Response, Problem> {
    let full = form.mode.as_deref() == Some("full");
    start(&app, &visitor, &route, full, form.approve).await?;
    Ok(say(jar, &format!("{route}: a run begins as soon as none is under way."), "/"))
}

/// Asks for a run of a route or `replication:NAME`, and writes down who did.
pub(super) async fn start(
    app: &App,
    visitor: &Visitor,
    name: &str,
    full: bool,
    approve: Option<String>,
) -> Result<(), Problem> {
    let job = match name.strip_prefix("replication:") {
        Some(name) => JobName::Replication(name.to_owned()),
        None => JobName::Route(RouteName::new(name)),
    };
    let action = if approve.is_some() { "approve" } else { "run" };
    let subject = approve.as_ref().map_or_else(|| name.to_owned(), |hash| format!("{name} {hash}"));
    let mode = if full { Mode::Full } else { Mode::Sync };
    if !app.scheduler.jobs().iter().any(|(known, _)| *known == job) {
        return Err(Problem::new(StatusCode::NOT_FOUND, format!("there is no route `{name}`")));
    }
    app.note(&visitor.name, action, subject).await?;
    app.scheduler.ask(&job, Asked { mode, approve, ..Asked::default() });
    Ok(())
}
