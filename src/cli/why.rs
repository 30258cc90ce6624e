//! `why`: where a record's values come from, and what keeps them from flowing.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crmsync_core::mapping::diagnostic::did_you_mean;
use crmsync_core::model::{FieldName, Pair, RecordId, Side, Value};

use super::args::Why;
use super::context::Context;
use super::exit::{Exit, Failure};
use super::plan;
use super::plan_view::one_line_text;
use super::render::{Output, printable};
use crate::config::Config;
use crate::report::explanation::{Explanation, explain};
use crate::report::history::History;

pub(super) async fn run(context: &Context, args: &Why) -> Result<Exit, Failure> {
    let config = context.config()?;
    plan::known(&config, &args.target.route)?;
    let history = History::open(&config, &context.ambient).await?;
    let explanation = explained(&history, &config, args).await?;
    let sides = plan::names(&config, &args.target.route);
    let field = args.field.as_deref().map(FieldName::new);
    if let Some(field) = &field {
        known_field(&explanation, field)?;
    }
    context
        .output
        .result(&explanation, || show(&explanation, &sides, field.as_ref(), &context.output))?;
    Ok(if explanation.rows.is_empty() { Exit::Clean } else { Exit::Open })
}

async fn explained(history: &History, config: &Config, args: &Why) -> Result<Explanation, Failure> {
    let route = &args.target.route;
    let entity = args.target.entity.clone().ok_or_else(|| {
        Failure::config("which entity?").help(format!("write {route}/contact, for example"))
    })?;
    plan::known_entity(config, route, &entity)?;
    let id = RecordId::new(&args.id);
    explain(history, route, &entity, &id).await?.ok_or_else(|| {
        Failure::config(format!("{entity} {id} is not known to route {route}"))
            .help("crmsync sync reads it, if the mapping's filter lets it in")
    })
}

/// A value short enough for a line.
fn value_of(explanation: &Explanation, field: &FieldName, side: Side, value: &Value) -> String {
    one_line_text(&explanation.value(field, side, value))
}

fn show(
    explanation: &Explanation,
    sides: &Pair<String>,
    only: Option<&FieldName>,
    output: &Output,
) -> String {
    let mut text = match &explanation.link {
        Some(link) => {
            let end = |side: Side| {
                link.ends[side].as_ref().map_or_else(|| "(none)".to_owned(), |id| format!("#{id}"))
            };

            let (left, right) = (end(Side::Left), end(Side::Right));
            format!("linked: {} {left} ⇄ {} {right}\n", sides.left, sides.right)
        }
        None => "not linked to a record on the other side\n".to_owned(),
    };
    for side in Side::BOTH {
        if let Some(observation) = &explanation.observations[side] {
            let at =
                observation.modified_at.map(|at| at.format("%Y-%m-%d %H:%M:%S UTC").to_string());
            let scope = if observation.in_scope { "" } else { ", outside the mapping's filter" };
            let at = at.unwrap_or_else(|| "at an unknown time".to_owned());
            let (name, id) = (&sides[side], &observation.key.id);
            let _ = writeln!(text, "{name}: #{id}, modified {at}{scope}");
        }
    }
    text.push('\n');
    text.push_str(&fields(explanation, sides, only, output));
    for stored in &explanation.rows {
        let field = stored.row.field.as_ref();
        if only.is_none() || field.is_none() || field == only {
            let message = printable(&stored.row.message);
            let _ = writeln!(text, "\nwaiting: {} {message}", stored.row.code);
            let _ = writeln!(text, "         crmsync conflicts show {}", stored.row.id.0);
        }
    }
    text.push_str(&writes(explanation, sides, only));
    text
}

fn fields(
    explanation: &Explanation,
    sides: &Pair<String>,
    only: Option<&FieldName>,
    output: &Output,
) -> String {
    let observed = |side: Side| explanation.observations[side].as_ref();
    let baseline = explanation.link.as_ref().map(|link| &link.baseline);
    let rows = names(explanation)
        .into_iter()
        .filter(|name| only.is_none_or(|only| only == *name))
        .map(|name| {
            let value = |side: Side| observed(side).and_then(|it| it.fields.get(name));
            let agreement = baseline.and_then(|baseline| baseline.get(name));
            let agreed = agreement.map_or_else(String::new, |it| {
                let pin = if it.pinned { " (kept different)" } else { "" };
                let shown = |side: Side| value_of(explanation, name, side, &it.values[side]);
                let (left, right) = (shown(Side::Left), shown(Side::Right));
                if left == right {
                    format!("{left}{pin}")
                } else {
                    format!("{left} | {right}{pin}")
                }
            });
            let (left, right) = (value(Side::Left), value(Side::Right));
            let changed = agreement.map_or_else(
                || "never agreed".to_owned(),
                |it| {
                    state(
                        sides,
                        left.is_some_and(|it2| *it2 != it.values.left),
                        right.is_some_and(|it2| *it2 != it.values.right),
                    )
                },
            );
            let cell = |side, value: Option<&Value>| {
                value.map(|it| value_of(explanation, name, side, it)).unwrap_or_default()
            };
            vec![
                name.to_string(),
                cell(Side::Left, left),
                cell(Side::Right, right),
                agreed,
                changed,
            ]
        });

    output.table(&["field", &sides.left, &sides.right, "last agreed", "since then"], rows)
}

fn state(names: &Pair<String>, left: bool, right: bool) -> String {
    match (left, right) {
        (false, false) => "unchanged".to_owned(),
        (true, false) => format!("{} changed", names.left),
        (false, true) => format!("{} changed", names.right),
        (true, true) => "both changed".to_owned(),
    }
}

/// Our own writes, newest last.
fn writes(explanation: &Explanation, sides: &Pair<String>, only: Option<&FieldName>) -> String {
    let mut text = String::new();
    for effect in &explanation.effects {
        let Some(side) = effect.op.writes() else { continue };
        let touched = effect.after.iter();
        let mut touched =
            touched.filter(|(field, _)| only.is_none_or(|only| only == *field)).peekable();
        if touched.peek().is_some() {
            let at = effect.at.format("%Y-%m-%d %H:%M:%S UTC");
            let (name, run, code) = (&sides[side], &effect.run, effect.op.code);
            let _ = writeln!(text, "\nwritten to {name} {at}, run {run}, {code}");
        }
        for (field, after) in touched {
            let before = effect.before.get(field).map(|it| value_of(explanation, field, side, it));
            let (before, after) =
                (before.unwrap_or_default(), value_of(explanation, field, side, after));
            let _ = writeln!(text, "    {field}: {before} → {after}");
        }
    }
    text
}

/// Refuses a field that neither side nor the baseline has.
fn known_field(explanation: &Explanation, field: &FieldName) -> Result<(), Failure> {
    let names = names(explanation);
    if names.contains(field) {
        return Ok(());
    }
    let known: Vec<_> = names.iter().map(|name| name.as_str()).collect();
    let nearest = did_you_mean(field.as_str(), known.iter().copied());
    Err(Failure::config(format!("{} has no field `{field}`", explanation.entity))
        .help(nearest.unwrap_or_else(|| format!("fields: {}", known.join(", ")))))
}

/// Every field that a side or the baseline has.
fn names(explanation: &Explanation) -> BTreeSet<&FieldName> {
    let observed =
        Side::BOTH.into_iter().filter_map(|side| explanation.observations[side].as_ref());
    let agreed = explanation.link.iter().flat_map(|link| link.baseline.keys());
    observed.flat_map(|observation| observation.fields.keys()).chain(agreed).collect()
}
