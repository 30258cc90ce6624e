//! What a side refused, and letting it try again.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::{Form, Query, State};
use axum::response::Response;
use axum_extra::extract::CookieJar;
use crmsync_core::model::RouteName;
use serde::Deserialize;

use super::App;
use super::auth::Visitor;
use super::frame::{Frame, Instant, escaped, say, show};
use super::problem::Problem;
use crate::store::{Message, Quarantine};

/// Rows of a page.
const ROWS: usize = 100;

#[derive(Template)]
#[template(path = "web/failures.html")]
struct Page {
    frame: Frame,
    route: String,
    routes: Vec<String>,
    total: usize,
    rows: Vec<Row>,
}

struct Row {
    entity: String,
    side: String,
    record: String,
    field: String,
    code: String,
    message: String,
    attempts: u32,
    next_at: Instant,
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
    let (routes, route) = app.choose_route(&filter.route);
    let name = RouteName::new(&route);
    let all = app.store().route(&name).quarantines().await?;
    let sides = app.config().routes.get(&name).map(|route| route.sides.clone());
    let row = |quarantine: &Quarantine| Row {
        entity: quarantine.key.entity.to_string(),
        side: sides.as_ref().map(|sides| sides[quarantine.key.side].clone()).unwrap_or_default(),
        record: quarantine.key.id.to_string(),
        field: quarantine.field.as_ref().map(ToString::to_string).unwrap_or_default(),
        code: quarantine.code.to_string(),
        message: quarantine.message.clone(),
        attempts: quarantine.attempts,
        next_at: Instant(quarantine.next_at),
    };
    let rows = all.iter().take(ROWS).map(row).collect();
    let frame = Frame::new("Failures", "/failures", &visitor, &jar);
    show(&Page { frame, route, routes, total: all.len(), rows }, jar)
}

#[derive(Deserialize)]
pub(super) struct RetryForm {
    route: String,
    /// `None`: all of the route.
    record: Option<String>,
}

pub(super) async fn retry(
    State(app): State<Arc<App>>,
    Extension(visitor): Extension<Visitor>,
    jar: CookieJar,
    Form(form): Form<RetryForm>,
) -> Result<Response, Problem> {
    let released =
        release(&app, &visitor, &RouteName::new(&form.route), form.record.as_deref()).await?;
    let back = format!("/failures?route={}", escaped(&form.route));
    Ok(say(jar, &format!("{released} will try again in the next run."), &back))
}

/// Lets refused records try again in the next run; answers how many.
pub(super) async fn release(
    app: &App,
    visitor: &Visitor,
    route: &RouteName,
    record: Option<&str>,
) -> Result<usize, Problem> {
    let all = app.store().route(route).quarantines().await?;
    let chosen = all.iter().filter(|it| record.is_none_or(|id| it.key.id.as_str() == id));
    let messages: Vec<_> = chosen.map(|it| Message::Retry(it.subject.clone())).collect();
    if !messages.is_empty() {
        app.store().receive(route, &messages, app.now()).await?;
        let subject = format!("{route} {}", record.unwrap_or("all"));
        app.note(&visitor.name, "retry", subject).await?;
    }
    Ok(messages.len())
}
