//! Connections: what they cost, and how to sign in.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use axum_extra::extract::CookieJar;

use super::App;
use super::auth::Visitor;
use super::frame::{Frame, show};
use super::problem::Problem;
use crate::config::Connection;
use crate::report::status::daily_budget;

#[derive(Template)]
#[template(path = "web/connections.html")]
struct Page {
    frame: Frame,
    rows: Vec<Row>,
}

struct Row {
    name: String,
    kind: &'static str,
    calls: u64,
    units: u64,
    limit: Option<u64>,
    used_by: String,
}

impl Row {
    fn most(&self) -> u64 {
        self.limit.unwrap_or(0).max(1)
    }
}

pub(super) async fn page(
    State(app): State<Arc<App>>,
    Extension(visitor): Extension<Visitor>,
    jar: CookieJar,
) -> Result<Response, Problem> {
    let (config, history, now) = (app.config(), app.history(), app.now());
    let mut rows = Vec::new();
    for (name, connection) in &config.connections {
        let cost = history.spent(name, now).await?;
        let routes = config
            .routes
            .values()
            .filter(|route| route.sides.left == *name || route.sides.right == *name);
        let replications = config
            .replications
            .iter()
            .filter(|(_, it)| it.from == *name)
            .map(|(name, _)| format!("replication {name}"));
        let used_by: Vec<_> =
            routes.map(|route| format!("route {}", route.name)).chain(replications).collect();
        rows.push(Row {
            name: name.clone(),
            kind: match connection {
                Connection::Zoho(_) => "Zoho CRM",
                Connection::Pipedrive(_) => "Pipedrive",
                Connection::Sql(_) => "Database",
            },
            calls: cost.calls,
            units: cost.units,
            limit: daily_budget(&config, name),
            used_by: used_by.join(", "),
        });
    }
    let frame = Frame::new("Connections", "/connections", &visitor, &jar);
    show(&Page { frame, rows }, jar)
}
