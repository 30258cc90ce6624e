//! `status`: each route at a glance: how far behind it is, what waits, what the last day cost.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use crmsync_core::model::{EntityName, Pair, RouteName, Side};
use serde::Serialize;

use super::context::Context;
use super::exit::{Exit, Failure};
use super::history::History;
use super::plan::names;
use super::render::{Output, counted};
use super::report::kind_name;
use crate::config::{Config, Connection};
use crate::connectors::Cost;
use crate::store::{RowFilter, RunRecord};

#[derive(Serialize)]
struct RouteStatus {
    route: RouteName,
    last_run: Option<RunRecord>,
    entities: Vec<EntityStatus>,
    /// Open rows by kind.
    open: BTreeMap<&'static str, u64>,
    /// The run that was taken back, while a person has not chosen.
    paused: Option<String>,
    last_full: Option<DateTime<Utc>>,
    /// What its connections cost in the last 24 hours.
    spent: Pair<Cost>,
    /// Units that crmsync may use in a day, where that is configured.
    budget: Pair<Option<u64>>,
}

/// What the store holds of one entity.
#[derive(Serialize)]
struct EntityStatus {
    entity: EntityName,
    /// Alive records by side, and how many of them are pairs.
    records: Pair<u64>,
    linked: u64,
    open_rows: u64,
    /// Records that the next run looks at again.
    attention: u64,
    /// Seconds since the side was read up to, by side; `None` before the first listing.
    lag_seconds: Pair<Option<i64>>,
}

pub(super) async fn run(context: &Context) -> Result<Exit, Failure> {
    let config = context.config()?;
    let history = History::open(context, &config).await?;
    let now = context.ambient.clock.now();
    let mut statuses = Vec::new();
    for route in config.routes.keys() {
        statuses.push(load(&history, &config, route, now).await?);
    }
    context.output.result(&statuses, || {
        let shown: Vec<_> =
            statuses.iter().map(|status| show(status, &config, &context.output, now)).collect();
        shown.join("\n")
    })?;
    let open = statuses.iter().any(|status| !status.open.is_empty());
    Ok(if open { Exit::Open } else { Exit::Clean })
}

async fn load(
    history: &History,
    config: &Config,
    route: &RouteName,
    now: DateTime<Utc>,
) -> Result<RouteStatus, Failure> {
    let runs = history.runs(route, 1).await?;
    let filter = RowFilter { open_only: true, ..RowFilter::default() };
    let mut open: BTreeMap<&'static str, u64> = BTreeMap::new();
    for stored in history.rows(route, &filter).await? {
        *open.entry(kind_name(stored.row.kind)).or_default() += 1;
    }
    let mut entities = Vec::new();
    for (entity, counts) in history.counts(route).await? {
        let mut lag_seconds = Pair::new(None, None);
        for side in Side::BOTH {
            let read_to = history.watermark(route, &entity, side).await?;
            lag_seconds[side] = read_to.map(|at| (now - at).num_seconds().max(0));
        }
        let records = Pair::new(counts.left, counts.right);
        let (linked, open_rows, attention) = (counts.links, counts.open_rows, counts.attention);
        entities.push(EntityStatus { entity, records, linked, open_rows, attention, lag_seconds });
    }
    let meta = history.meta(route).await?;
    Ok(RouteStatus {
        route: route.clone(),
        entities,
        open,
        paused: meta.paused,
        last_full: meta.last_full,
        spent: spent(history, config, route, now).await?,
        budget: budget(config, route),
        last_run: runs.into_iter().next(),
    })
}

/// What both connections cost in the last 24 hours, whoever used them.
async fn spent(
    history: &History,
    config: &Config,
    route: &RouteName,
    now: DateTime<Utc>,
) -> Result<Pair<Cost>, Failure> {
    let names = names(config, route);
    let mut spent = Pair::default();
    for side in Side::BOTH {
        spent[side] = history.spent(&names[side], now).await?;
    }
    Ok(spent)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a checked share of a day's units, which are far below 2^52"
)]
fn budget(config: &Config, route: &RouteName) -> Pair<Option<u64>> {
    let of = |side: Side| {
        let name = &config.routes.get(route)?.sides[side];
        let shared = match config.connections.get(name)? {
            Connection::Zoho(zoho) => &zoho.shared,
            Connection::Pipedrive(pipedrive) => &pipedrive.shared,
            Connection::Sql(_) => return None,
        };
        shared.budget.daily.map(|daily| (daily as f64 * shared.budget.share) as u64)
    };
    Pair::new(of(Side::Left), of(Side::Right))
}

fn show(status: &RouteStatus, config: &Config, output: &Output, now: DateTime<Utc>) -> String {
    let names = names(config, &status.route);
    let mut text = format!(
        "route {}: {} ⇄ {}, {}\n",
        status.route,
        names.left,
        names.right,
        state(status, now)
    );
    if !status.entities.is_empty() {
        let header =
            ["entity", &names.left, &names.right, "linked", "open", "to look at", "read up to"];
        text += &output.table(&header, status.entities.iter().map(row));
    }
    let open: Vec<_> = status.open.iter().map(|(kind, count)| counted(*count, kind)).collect();
    if !open.is_empty() {
        let _ = writeln!(
            text,
            "waits for a person: {}; crmsync conflicts list, crmsync failures list",
            open.join(", ")
        );
    }
    let width = names.left.chars().count().max(names.right.chars().count());
    for side in Side::BOTH {
        let _ = writeln!(text, "last 24 h, {:<width$}  {}", names[side], day(status, side));
    }
    text
}

fn state(status: &RouteStatus, now: DateTime<Utc>) -> String {
    let Some(run) = &status.last_run else {
        return "never ran; crmsync plan shows what a first run would do".to_owned();
    };
    let ago = span((now - run.started_at).num_seconds());
    match (&status.paused, run.exit) {
        (Some(undone), _) => {
            format!("paused after undo of {undone}: crmsync runs redo {undone}, or accept")
        }
        (None, None) => format!("running for {ago}: {}", run.phase),
        (None, Some(exit)) => {
            let error = run.error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
            format!("last run {ago} ago, exit {exit}{error}")
        }
    }
}

fn row(status: &EntityStatus) -> Vec<String> {
    let lag = Side::BOTH.map(|side| match status.lag_seconds[side] {
        Some(seconds) => format!("{} ago", span(seconds)),
        None => "never".to_owned(),
    });
    let [left, right] = lag;
    vec![
        status.entity.to_string(),
        status.records.left.to_string(),
        status.records.right.to_string(),
        status.linked.to_string(),
        status.open_rows.to_string(),
        status.attention.to_string(),
        if left == right { left } else { format!("{left} | {right}") },
    ]
}

/// Calls and units of a side, as a bar where its daily budget is known.
fn day(status: &RouteStatus, side: Side) -> String {
    const CELLS: u64 = 30;
    let Cost { calls, units } = status.spent[side];
    let calls = counted(calls, "call");
    let Some(budget) = status.budget[side].filter(|budget| *budget > 0) else {
        return format!("{calls}, {units} units");
    };
    let full = (units.min(budget) * CELLS).div_ceil(budget);
    let bar: String = (0..CELLS).map(|at| if at < full { '█' } else { '░' }).collect();
    format!("{bar} {units} of {budget} units, {calls}")
}

/// A span in its largest unit that is not zero: `45 s`, `3 min`, `5 h`, `2 d`.
fn span(seconds: i64) -> String {
    match seconds {
        ..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(units: u64, budget: Option<u64>) -> RouteStatus {
        RouteStatus {
            route: RouteName::new("crm"),
            last_run: None,
            entities: Vec::new(),
            open: BTreeMap::new(),
            paused: None,
            last_full: None,
            spent: Pair::new(Cost { calls: 3, units }, Cost::default()),
            budget: Pair::new(budget, None),
        }
    }

    #[test]
    fn given_a_daily_budget_when_shown_then_a_bar_tells_how_much_is_used() {
        let cases = [
            ("unknown", 40, None, "3 calls, 40 units".to_owned()),
            ("unused", 0, Some(90), format!("{} 0 of 90 units, 3 calls", "░".repeat(30))),
            (
                "a third",
                30,
                Some(90),
                format!("{}{} 30 of 90 units, 3 calls", "█".repeat(10), "░".repeat(20)),
            ),
            ("overdrawn", 99, Some(90), format!("{} 99 of 90 units, 3 calls", "█".repeat(30))),
        ];
        for (case, units, budget, expected) in cases {
            assert_eq!(day(&status(units, budget), Side::Left), expected, "{case}");
        }
    }

    #[test]
    fn given_seconds_when_spanned_then_the_unit_fits() {
        let cases = [(5, "5 s"), (61, "1 min"), (7_300, "2 h"), (200_000, "2 d")];
        for (seconds, expected) in cases {
            assert_eq!(span(seconds), expected);
        }
    }
}
