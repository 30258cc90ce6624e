//! `status`: each route at a glance.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use crmsync_core::model::RouteName;
use serde::Serialize;

use super::context::Context;
use super::exit::{Exit, Failure};
use super::history::History;
use super::report::kind_name;
use crate::config::Config;
use crate::store::{RowFilter, RunRecord};

#[derive(Serialize)]
struct RouteStatus {
    route: RouteName,
    last_run: Option<RunRecord>,
    /// Seconds since the last run that finished.
    lag_seconds: Option<i64>,
    /// Open rows by kind.
    open: BTreeMap<&'static str, u64>,
    /// The run that was taken back, while a person has not chosen.
    paused: Option<String>,
    last_full: Option<DateTime<Utc>>,
}

pub(super) async fn run(context: &Context) -> Result<Exit, Failure> {
    let config = context.config()?;
    let history = History::open(context, &config).await?;
    let now = context.ambient.clock.now();
    let statuses = load(&history, &config, now).await?;
    let header = ["route", "last run (UTC)", "exit", "lag", "open", "state"];
    context.output.result(&statuses, || context.output.table(&header, statuses.iter().map(row)))?;
    let open = statuses.iter().any(|status| !status.open.is_empty());
    Ok(if open { Exit::Open } else { Exit::Clean })
}

async fn load(
    history: &History,
    config: &Config,
    now: DateTime<Utc>,
) -> Result<Vec<RouteStatus>, Failure> {
    let mut statuses = Vec::new();
    for route in config.routes.keys() {
        let runs = history.runs(route, 20).await?;
        let filter = RowFilter { open_only: true, ..RowFilter::default() };
        let mut open: BTreeMap<&'static str, u64> = BTreeMap::new();
        for stored in history.rows(route, &filter).await? {
            *open.entry(kind_name(stored.row.kind)).or_default() += 1;
        }
        let meta = history.meta(route).await?;
        let finished = runs.iter().find_map(|run| run.finished_at);
        statuses.push(RouteStatus {
            route: route.clone(),
            lag_seconds: finished.map(|at| (now - at).num_seconds()),
            last_run: runs.into_iter().next(),
            open,
            paused: meta.paused,
            last_full: meta.last_full,
        });
    }
    Ok(statuses)
}

fn row(status: &RouteStatus) -> Vec<String> {
    let run = status.last_run.as_ref();
    let open: Vec<_> = status.open.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    let state = match (&status.paused, run) {
        (Some(run), _) => format!("paused after undo of {run}"),
        (None, None) => "never ran".to_owned(),
        (None, Some(run)) if run.finished_at.is_none() => format!("running: {}", run.phase),
        (None, Some(_)) => "ready".to_owned(),
    };
    vec![
        status.route.to_string(),
        run.map(|run| run.started_at.format("%Y-%m-%d %H:%M:%S").to_string()).unwrap_or_default(),
        run.and_then(|run| run.exit).map(|exit| exit.to_string()).unwrap_or_default(),
        status.lag_seconds.map(|seconds| format!("{seconds} s")).unwrap_or_default(),
        open.join(", "),
        state,
    ]
}
