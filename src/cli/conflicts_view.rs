//! The conflict report on a terminal.

use crmsync_core::model::{Pair, Policy, Side};

use super::plan_view::one_line_text;
use super::render::{Output, counted, joined, printable};
use crate::report::{Conflict, ConflictReport, Moment, evidence_name, kind_name, plain_name};

/// Columns of a row's ID that tell it from the others.
pub(super) const SHORT_ID: usize = 10;

/// One line a conflict.
pub(super) fn list(report: &ConflictReport, output: &Output) -> String {
    if report.conflicts.is_empty() {
        return "nothing is waiting\n".to_owned();
    }
    let one = &report.conflicts[0].sides;
    let sides = if report.conflicts.iter().all(|conflict| conflict.sides == *one) {
        one.clone()
    } else {
        Pair::new("left".to_owned(), "right".to_owned())
    };
    let header = ["id", "entity", "record", "field", &sides.left, &sides.right, "status", "why"];
    let rows = report.conflicts.iter().map(|conflict| {
        vec![
            conflict.row_id.chars().take(SHORT_ID).collect(),
            format!("{}/{}", conflict.route, conflict.entity),
            record(conflict),
            field(conflict),
            side_cell(conflict, Side::Left),
            side_cell(conflict, Side::Right),
            outcome(conflict),
            conflict.code.to_string(),
        ]
    });
    let table = output.table(&header, rows);
    let total = u64::try_from(report.conflicts.len()).unwrap_or(u64::MAX);
    format!("{table}{}; `crmsync conflicts show ID` tells more\n", counted(total, "row"))
}

/// Everything about one conflict, a line a fact.
pub(super) fn detail(conflict: &Conflict) -> String {
    let text = |text: &str| text.to_owned();
    let mut lines = vec![
        ("row", conflict.row_id.clone()),
        ("entity", format!("{}/{}", conflict.route, conflict.entity)),
        ("record", record(conflict)),
        ("field", field(conflict)),
        ("kind", format!("{} {}", kind_name(conflict.kind), conflict.code)),
        ("status", outcome(conflict)),
        ("message", conflict.message.clone()),
        ("before", conflict.shown_base.as_ref().map(base).unwrap_or_default()),
        (&conflict.sides.left, conflict.shown.left.clone().unwrap_or_default()),
        ("", place(conflict, Side::Left)),
        (&conflict.sides.right, conflict.shown.right.clone().unwrap_or_default()),
        ("", place(conflict, Side::Right)),
        ("rule", conflict.rule.map(Policy::as_str).map(text).unwrap_or_default()),
        ("evidence", conflict.evidence.map(evidence_name).map(text).unwrap_or_default()),
        ("run", conflict.run.clone()),
        ("first seen", conflict.first_seen.format("%Y-%m-%d %H:%M:%S UTC").to_string()),
    ];
    for candidate in &conflict.candidates {
        let url = candidate.url.as_deref().unwrap_or_default();
        let name = candidate.name.as_deref().unwrap_or_default();
        lines.push(("candidate", format!("#{} {name} {url}", candidate.id)));
    }
    let shown = lines.iter().filter(|(_, text)| !text.trim().is_empty());
    joined(shown.map(|(name, text)| format!("{name:<11}{}\n", printable(text.trim_end()))))
}

fn field(conflict: &Conflict) -> String {
    conflict.field.as_ref().map_or_else(|| "(record)".to_owned(), |it| plain_name(it).to_owned())
}

/// What people call the record, on whichever side it has a name.
fn record(conflict: &Conflict) -> String {
    conflict.name().map(one_line_text).unwrap_or_default()
}

fn base(base: &Pair<String>) -> String {
    if base.left == base.right {
        base.left.clone()
    } else {
        format!("{} | {}", base.left, base.right)
    }
}

fn side_cell(conflict: &Conflict, side: Side) -> String {
    let value = conflict.shown[side].as_deref().map(one_line_text);
    let id = conflict.records[side].as_ref().map(|record| format!("#{}", record.id));
    match (value, id) {
        (Some(value), _) => value,
        (None, Some(id)) => id,
        (None, None) => String::new(),
    }
}

fn outcome(conflict: &Conflict) -> String {
    match conflict.winner {
        Some(winner) => format!("{}: {}", conflict.status.as_str(), conflict.sides[winner]),
        None => conflict.status.as_str().to_owned(),
    }
}

fn place(conflict: &Conflict, side: Side) -> String {
    let record = conflict.records[side].as_ref();
    let id = record.map(|record| format!("{} #{}", conflict.sides[side], record.id));
    let id = id.unwrap_or_default();
    let url = record.and_then(|record| record.url.clone()).unwrap_or_default();
    let told = |what: &str, at: Option<&Moment>| at.map(|at| moment(what, at)).unwrap_or_default();
    let at = told("modified", conflict.modified_at[side].as_ref());
    let field = told("this field changed", conflict.changed_at[side].as_ref());
    [id, at, field, url]
        .iter()
        .filter(|part| !part.is_empty())
        .cloned()
        .collect::<Vec<_>>()
        .join("  ")
}

/// `modified 2026-01-10 09:15:00 UTC (2026-01-10 10:15:00 CET)`.
fn moment(what: &str, moment: &Moment) -> String {
    let utc = moment.utc.format("%Y-%m-%d %H:%M:%S UTC");
    match &moment.local {
        Some(local) => format!("{what} {utc} ({local})"),
        None => format!("{what} {utc}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Paint;
    use crate::report::tests::report;

    const PLAIN: Output =
        Output { json: false, quiet: false, terminal: false, paint: Paint::Plain, width: 100 };

    #[test]
    fn given_a_report_when_listed_then_one_line_a_row_says_what_and_why() {
        insta::assert_snapshot!(list(&report(), &PLAIN));
    }

    #[test]
    fn given_a_report_when_shown_whole_then_times_stand_in_utc_and_in_each_accounts_zone() {
        let shown: Vec<_> = report().conflicts.iter().map(detail).collect();

        insta::assert_snapshot!(shown.join("\n"));
    }
}
