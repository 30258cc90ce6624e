//! What ran, and what a run wrote.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::{Form, Path, Query, State};
use axum::response::Response;
use axum_extra::extract::CookieJar;
use crmsync_core::model::{OpKind, RouteName};
use serde::Deserialize;

use super::App;
use super::auth::Visitor;
use super::frame::{Frame, Instant, say, show};
use super::problem::Problem;
use crate::report::status::{sides, span};
use crate::service::{Asked, JobName, Review};
use crate::store::{Effect, RunRecord};

/// Runs of a page, and writes of a run that are shown.
const RUNS: u64 = 50;
const WRITES: usize = 500;

#[derive(Template)]
#[template(path = "web/runs.html")]
struct Page {
    frame: Frame,
    runs: Vec<RunRow>,
}

struct RunRow {
    id: String,
    route: String,
    mode: String,
    started_at: Instant,
    took: String,
    outcome: String,
    is_fine: bool,
    wrote: u64,
}

#[derive(Template)]
#[template(path = "web/run.html")]
struct RunPage {
    frame: Frame,
    run: RunRow,
    error: Option<String>,
    plan_hash: Option<String>,
    counts: Vec<(String, u64)>,
    writes: Vec<Write>,
    hidden: usize,
    /// It was taken back, and a person has not chosen what comes of it.
    paused: bool,
    undoable: bool,
}

struct Write {
    entity: String,
    side: String,
    record: String,
    what: &'static str,
    why: String,
    fields: Vec<Change>,
}

struct Change {
    name: String,
    before: String,
    after: String,
}

#[derive(Deserialize)]
pub(super) struct Filter {
    #[serde(default)]
    route: String,
}

pub(super) async fn page(
    State(app): State<Arc<App>>,
    Extension(visitor): Extension<Visitor>,
    Query(filter): Query<Filter>,
    jar: CookieJar,
) -> Result<Response, Problem> {
    let route = (!filter.route.is_empty()).then(|| RouteName::new(&filter.route));
    let runs = app.store().runs(route.as_ref(), RUNS).await?;
    let frame = Frame::new("Runs", "/runs", &visitor, &jar);
    show(&Page { frame, runs: runs.iter().map(row).collect() }, jar)
}

pub(super) async fn one(
    State(app): State<Arc<App>>,
    Extension(visitor): Extension<Visitor>,
    Path(id): Path<String>,
    jar: CookieJar,
) -> Result<Response, Problem> {
    let history = app.history();
    let run = history.run(&id).await?.ok_or_else(|| Problem::not_found(&format!("run {id}")))?;
    let effects = history.effects(&run.route, &id).await?;
    let names = sides(&app.config(), &run.route);
    let paused = history.meta(&run.route).await?.paused;
    let shown = effects.iter().take(WRITES).filter_map(|effect| {
        let side = effect.op.writes()?;
        Some(write(effect, &names[side]))
    });
    let page = RunPage {
        frame: Frame::new("Run", "/runs", &visitor, &jar),
        error: run.error.clone(),
        plan_hash: run.plan_hash.clone(),
        counts: run
            .counts
            .iter()
            .map(|(name, count)| (name.replace(['_', '.'], " "), *count))
            .collect(),
        writes: shown.collect(),
        hidden: effects.len().saturating_sub(WRITES),
        paused: paused.as_ref() == Some(&run.id),
        undoable: paused.is_none() && run.finished_at.is_some() && !effects.is_empty(),
        run: row(&run),
    };
    show(&page, jar)
}

#[derive(Deserialize)]
pub(super) struct ReviewForm {
    /// `undo`, `redo` or `accept`.
    choice: String,
}

pub(super) async fn review(
    State(app): State<Arc<App>>,
    Extension(visitor): Extension<Visitor>,
    Path(id): Path<String>,
    jar: CookieJar,
    Form(form): Form<ReviewForm>,
) -> Result<Response, Problem> {
    let run = app.history().run(&id).await?;
    let run = run.ok_or_else(|| Problem::not_found(&format!("run {id}")))?;
    let (review, said) = match form.choice.as_str() {
        "undo" => (Review::Undo(id.clone()), "is being taken back; the route pauses"),
        "redo" => (Review::Redo(id.clone()), "is done again by the next run"),
        "accept" => (Review::Accept(id.clone()), "stays taken back"),
        other => return Err(Problem::refused(format!("`{other}` is no choice"))),
    };
    app.note(&visitor.name, &form.choice, format!("{} {id}", run.route)).await?;
    let asked = Asked { review: Some(review), ..Asked::default() };
    app.scheduler.ask(&JobName::Route(run.route), asked);
    Ok(say(jar, &format!("The run {said}."), &format!("/runs/{id}")))
}

fn row(run: &RunRecord) -> RunRow {
    let wrote = run.counts.iter().filter(|(name, _)| {
        ["created", "updated", "deleted"].iter().any(|what| name.ends_with(what))
    });
    let took = run.finished_at.map(|at| span((at - run.started_at).num_seconds()));
    let (outcome, is_fine) = match run.exit {
        None => (format!("not finished: {}", run.phase), true),
        Some(0) => ("clean".to_owned(), true),
        Some(1) => ("something waits".to_owned(), true),
        Some(2) => ("configuration".to_owned(), false),
        Some(3) => ("waits for consent".to_owned(), false),
        Some(4) => ("a side was out of reach".to_owned(), false),
        Some(5) => ("budget used up".to_owned(), false),
        Some(6) => ("another process held it".to_owned(), false),
        Some(_) => ("the store needs a person".to_owned(), false),
    };
    RunRow {
        id: run.id.clone(),
        route: run.route.to_string(),
        mode: run.mode.clone(),
        started_at: Instant(run.started_at),
        took: took.unwrap_or_else(|| "–".to_owned()),
        outcome,
        is_fine,
        wrote: wrote.map(|(_, count)| count).sum(),
    }
}

fn write(effect: &Effect, name: &str) -> Write {
    let what = match &effect.op.kind {
        OpKind::Create { .. } => "created",
        OpKind::Update { .. } => "updated",
        OpKind::Delete { .. } => "deleted",
        OpKind::Archive { .. } => "archived",
        OpKind::Link { .. } => "linked",
        OpKind::Agree { .. } => "agreed",
        OpKind::Relate { .. } => "related",
        OpKind::Revive { .. } => "revived",
    };
    let change =
        |(field, after): (&crmsync_core::model::FieldName, &crmsync_core::model::Value)| Change {
            name: field.to_string(),
            before: effect.before.get(field).map(ToString::to_string).unwrap_or_default(),
            after: after.to_string(),
        };
    Write {
        entity: effect.op.entity.to_string(),
        side: name.to_owned(),
        record: effect.record.as_ref().map(ToString::to_string).unwrap_or_default(),
        what,
        why: effect.op.code.to_string(),
        fields: effect.after.iter().map(change).collect(),
    }
}
