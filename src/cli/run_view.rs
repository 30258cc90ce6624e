//! What a run did, for people: by side what was written and what it cost, then what is left to do.

use std::fmt::Write as _;

use crmsync_core::model::{Pair, Side};

use super::exit::Exit;
use super::operations::RunReport;
use super::render::counted;
use crate::store::RunRecord;

/// A run with its outcome and the next step.
pub(super) fn show(report: &RunReport, names: &Pair<String>) -> String {
    let (route, run) = (&report.run.route, &report.run.id);
    let mut text = format!("route {route}, run {run}\n{}", counts(&report.run, names));
    for side in Side::BOTH {
        if let Some(reason) = &report.tally.paused[side] {
            let _ = writeln!(text, "{} was left alone: {reason}", names[side]);
        }
    }
    if report.open_rows > 0 {
        let rows = counted(report.open_rows, "question");
        let _ =
            writeln!(text, "{rows} for a person: crmsync conflicts list, crmsync failures list");
    }
    if report.exit == Exit::Guard {
        let hash = &report.plan.hash;
        let held: usize = report.plan.guards.iter().map(|trip| trip.withheld.len()).sum();
        let held = counted(held as u64, "step");
        let _ = writeln!(
            text,
            "{held} held back until a person approves: crmsync plan {route} shows them, then\n  \
             crmsync sync {route} --approve {hash}"
        );
    }
    if let Some(error) = &report.run.error {
        let _ = writeln!(text, "{error}");
    }
    text
}

/// Writes and cost by side, and whatever else happened.
pub(super) fn counts(run: &RunRecord, names: &Pair<String>) -> String {
    const OTHERS: [(&str, &str); 10] = [
        ("linked", "pairs linked"),
        ("noted", "agreements noted"),
        ("stale", "left for the next run: the record changed meanwhile"),
        ("failed", "refused: crmsync failures list"),
        ("in_doubt", "without an answer: settled by a later run"),
        ("skipped", "left alone: their side went out of reach"),
        ("unguarded_writes", "written without a check against edits in that moment"),
        ("longest_window_ms", "ms the longest such moment"),
        ("overwritten", "edits overwritten in that moment: crmsync conflicts list --all"),
        ("unstamped", "changed without a new modified time: only a full run sees such changes"),
    ];
    let count = |name: &str| run.counts.get(name).copied().unwrap_or_default();
    let width = names.left.chars().count().max(names.right.chars().count());
    let mut text = String::new();
    for side in Side::BOTH {
        let of = |what: &str| count(&format!("{side}.{what}"));
        let units = of("units");
        let unit = if units == 1 { "unit" } else { "units" };
        let _ = writeln!(
            text,
            "  {:<width$}  created {}, updated {}, deleted {}; {} ({units} {unit})",
            names[side],
            of("created"),
            of("updated"),
            of("deleted"),
            counted(of("calls"), "call"),
        );
    }
    for (name, what) in OTHERS {
        if count(name) > 0 {
            let _ = writeln!(text, "  {:<width$}  {} {what}", "", count(name));
        }
    }
    text
}
