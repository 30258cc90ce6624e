//! Who did what.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use axum_extra::extract::CookieJar;

use super::App;
use super::auth::Visitor;
use super::frame::{Frame, Instant, show};
use super::problem::Problem;

/// Deeds of a page.
const ROWS: u64 = 200;

#[derive(Template)]
#[template(path = "web/trail.html")]
struct Page {
    frame: Frame,
    rows: Vec<Row>,
}

struct Row {
    at: Instant,
    who: String,
    action: String,
    subject: String,
}

pub(super) async fn page(
    State(app): State<Arc<App>>,
    Extension(visitor): Extension<Visitor>,
    jar: CookieJar,
) -> Result<Response, Problem> {
    let deeds = app.store().deeds(ROWS).await?.into_iter();
    let rows = deeds.map(|deed| Row {
        at: Instant(deed.at),
        who: deed.who,
        action: deed.action,
        subject: deed.subject,
    });
    let frame = Frame::new("Trail", "/trail", &visitor, &jar);
    show(&Page { frame, rows: rows.collect() }, jar)
}
