//! Conflicts and questions of a plan or a run, as readable blocks.

use crmsync_core::engine::report::sentence;
use crmsync_core::model::row::Evidence;
use crmsync_core::model::{OpenRow, Policy, Side, Value};

use super::plan_view::{View, one_line_text};
use super::render::counted;
use crate::report::plain_name;

/// What was decided by policy, then what a person is asked.
pub(super) fn show(rows: &[OpenRow], view: &View<'_>) -> String {
    let decided: Vec<_> = rows.iter().filter(|row| !row.is_open()).collect();
    let open: Vec<_> = rows.iter().filter(|row| row.is_open()).collect();
    let count = decided.len() as u64;
    let heading = format!("{} decided by policy", counted(count, "conflict"));
    let asked = format!("{} for a person", counted(open.len() as u64, "question"));
    section(&heading, &decided, view) + &section(&asked, &open, view)
}

fn section(heading: &str, rows: &[&OpenRow], view: &View<'_>) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let shown = view.detail.rows(rows.len());
    let blocks: String = rows[..shown].iter().map(|row| block(row, view)).collect();
    let more = match rows.len() - shown {
        0 => String::new(),
        hidden => format!("  … and {hidden} more; --all shows them\n"),
    };
    format!("\n{heading}:\n{blocks}{more}")
}

/// Which record and field, both values with the one before, and why it is here.
fn block(row: &OpenRow, view: &View<'_>) -> String {
    let sign = if row.is_open() { '?' } else { '=' };
    let field = row.field.as_ref().map(|field| format!(", {}", plain_name(field)));
    let verdict = match row.winner {
        Some(winner) => {
            let rule = row.policy.map(Policy::as_str).unwrap_or_default();
            format!(": {} wins by {rule}", view.names[winner])
        }
        None => String::new(),
    };
    let head = format!(
        "  {sign} {} {}{}{verdict}\n",
        row.entity,
        who(row, view),
        field.unwrap_or_default()
    );
    format!("{head}{}      {}\n", values(row, view), why(row))
}

/// The record by its name, or by the IDs that it has.
fn who(row: &OpenRow, view: &View<'_>) -> String {
    let name = Side::BOTH.into_iter().find_map(|side| {
        let id = row.records[side].as_ref()?;
        view.labels.record(&row.entity, side, id).map(one_line_text)
    });
    let ids = Side::BOTH.into_iter().filter_map(|side| {
        row.records[side].as_ref().map(|id| format!("{} #{id}", view.names[side]))
    });
    name.unwrap_or_else(|| ids.collect::<Vec<_>>().join(", "))
}

/// One line a side, the value before beneath.
fn values(row: &OpenRow, view: &View<'_>) -> String {
    let Some(field) = &row.field else { return String::new() };
    let width = view.names.left.chars().count().max(view.names.right.chars().count()).max(6);
    let line =
        |name: &str, value: String| format!("      {name:<width$}  {}\n", one_line_text(&value));
    let value = |side: Side, value: &Value| view.labels.value(&row.entity, field, side, value);
    let own = |side: Side| match side {
        Side::Left => row.left.as_ref(),
        Side::Right => row.right.as_ref(),
    };
    let mut text = String::new();
    if let Some(base) = &row.base {
        let (left, right) = (value(Side::Left, &base.left), value(Side::Right, &base.right));
        let both = if left == right { left } else { format!("{left} | {right}") };
        text.push_str(&line("before", both));
    }
    for side in Side::BOTH {
        if let Some(it) = own(side) {
            text.push_str(&line(&view.names[side], value(side, it)));
        }
    }
    text
}

/// The code's sentence, and what the decision rests on; who won is told by name already.
fn why(row: &OpenRow) -> String {
    let evidence = match row.evidence {
        Some(Evidence::RecordTime) if row.winner.is_some() => {
            "\n      decided by the record's last change; this field itself may be older"
        }
        Some(Evidence::RecordTime) => {
            "\n      the records' last changes are too close to tell which is newer"
        }
        Some(Evidence::None) => "\n      nothing shows which side changed last",
        Some(Evidence::FieldHistory) => "\n      decided by the field's own history",
        None => "",
    };
    format!("{}  {}{evidence}", sentence(row.code), row.code)
}
