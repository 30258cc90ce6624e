//! `status`: each route at a glance: how far behind it is, what waits, what the last day cost.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use crmsync_core::model::Side;

use super::context::Context;
use super::exit::{Exit, Failure};
use super::render::{Output, counted};
use crate::connectors::Cost;
use crate::report::history::History;
use crate::report::status::{self, EntityStatus, Glance, RouteStatus, span};

pub(super) async fn run(context: &Context) -> Result<Exit, Failure> {
    let config = context.config()?;
    let history = History::open(&config, &context.ambient).await?;
    let now = context.ambient.clock.now();
    let mut statuses = Vec::new();
    for route in config.routes.keys() {
        statuses.push(status::load(&history, &config, route, now).await?);
    }
    context.output.result(&statuses, || {
        let shown: Vec<_> =
            statuses.iter().map(|status| show(status, &context.output, now)).collect();
        shown.join("\n")
    })?;
    let open = statuses.iter().any(|status| !status.open.is_empty());
    Ok(if open { Exit::Open } else { Exit::Clean })
}

fn show(status: &RouteStatus, output: &Output, now: DateTime<Utc>) -> String {
    let (open, status) = (&status.open, &status.glance);
    let names = &status.sides;
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
    let open: Vec<_> = open.iter().map(|(kind, count)| counted(*count, kind)).collect();
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

fn state(status: &Glance, now: DateTime<Utc>) -> String {
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
fn day(status: &Glance, side: Side) -> String {
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

#[cfg(test)]
mod tests {
    use crmsync_core::model::{Pair, RouteName};

    use super::*;

    fn status(units: u64, budget: Option<u64>) -> Glance {
        Glance {
            route: RouteName::new("crm"),
            last_run: None,
            entities: Vec::new(),
            sides: Pair::new("zoho".into(), "pipedrive".into()),
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
