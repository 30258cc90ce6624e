//! `why`: where a record's values come from, and what keeps them from flowing.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crmsync_core::mapping::diagnostic::did_you_mean;
use crmsync_core::model::{EntityName, FieldName, Link, Observation, Pair, RecordId, Side, Value};
use serde::Serialize;

use super::args::Why;
use super::context::Context;
use super::exit::{Exit, Failure};
use super::history::History;
use super::plan;
use super::plan_view::one_line_text;
use super::render::{Output, printable};
use crate::config::Config;
use crate::service::Labels;
use crate::store::{Effect, RowFilter, StoredRow};

/// Everything the store knows of one record.
#[derive(Serialize)]
struct Explanation {
    link: Option<Link>,
    observations: Pair<Option<Observation>>,
    rows: Vec<StoredRow>,
    effects: Vec<Effect>,
    #[serde(skip)]
    entity: EntityName,
    /// Names of the connections.
    #[serde(skip)]
    names: Pair<String>,
    #[serde(skip)]
    labels: Labels,
}

impl Explanation {
    fn value(&self, field: &FieldName, side: Side, value: &Value) -> String {
        one_line_text(&self.labels.value(&self.entity, field, side, value))
    }
}

pub(super) async fn run(context: &Context, args: &Why) -> Result<Exit, Failure> {
    let config = context.config()?;
    plan::known(&config, &args.target.route)?;
    let history = History::open(context, &config).await?;
    let explanation = explain(&history, &config, args).await?;
    let field = args.field.as_deref().map(FieldName::new);
    if let Some(field) = &field {
        known_field(&explanation, field)?;
    }
    context.output.result(&explanation, || show(&explanation, field.as_ref(), &context.output))?;
    Ok(if explanation.rows.is_empty() { Exit::Clean } else { Exit::Open })
}

async fn explain(history: &History, config: &Config, args: &Why) -> Result<Explanation, Failure> {
    let route = &args.target.route;
    let entity = args.target.entity.clone().ok_or_else(|| {
        Failure::config("which entity?").help(format!("write {route}/contact, for example"))
    })?;
    plan::known_entity(config, route, &entity)?;
    let id = RecordId::new(&args.id);
    let subject = history.subject(route, &entity, &id).await?.ok_or_else(|| {
        Failure::config(format!("{entity} {id} is not known to route {route}"))
            .help("crmsync sync reads it, if the mapping's filter lets it in")
    })?;
    let (link, observations) = (subject.link, subject.observations);
    let filter =
        RowFilter { entity: Some(entity.clone()), open_only: true, ..RowFilter::default() };
    let about = |stored: &StoredRow| {
        let records = &stored.row.records;
        let named = Side::BOTH.iter().any(|side| records[*side].as_ref() == Some(&id));
        named || link.as_ref().is_some_and(|link| stored.row.link.as_ref() == Some(&link.id))
    };
    let rows: Vec<_> = history.rows(route, &filter).await?.into_iter().filter(about).collect();
    let labels = history.labels(route, rows.iter().map(|stored| &stored.row)).await?;
    let effects = match &link {
        Some(link) => history.effects_of(route, &link.id).await?,
        None => Vec::new(),
    };
    let names = plan::names(config, route);
    Ok(Explanation { link, observations, rows, effects, entity, names, labels })
}

fn show(explanation: &Explanation, only: Option<&FieldName>, output: &Output) -> String {
    let mut text = match &explanation.link {
        Some(link) => {
            let end = |side: Side| {
                link.ends[side].as_ref().map_or_else(|| "(none)".to_owned(), |id| format!("#{id}"))
            };
            let names = &explanation.names;
            let (left, right) = (end(Side::Left), end(Side::Right));
            format!("linked: {} {left} ⇄ {} {right}\n", names.left, names.right)
        }
        None => "not linked to a record on the other side\n".to_owned(),
    };
    for side in Side::BOTH {
        if let Some(observation) = &explanation.observations[side] {
            let at =
                observation.modified_at.map(|at| at.format("%Y-%m-%d %H:%M:%S UTC").to_string());
            let scope = if observation.in_scope { "" } else { ", outside the mapping's filter" };
            let at = at.unwrap_or_else(|| "at an unknown time".to_owned());
            let (name, id) = (&explanation.names[side], &observation.key.id);
            let _ = writeln!(text, "{name}: #{id}, modified {at}{scope}");
        }
    }
    text.push('\n');
    text.push_str(&fields(explanation, only, output));
    for stored in &explanation.rows {
        let field = stored.row.field.as_ref();
        if only.is_none() || field.is_none() || field == only {
            let message = printable(&stored.row.message);
            let _ = writeln!(text, "\nwaiting: {} {message}", stored.row.code);
            let _ = writeln!(text, "         crmsync conflicts show {}", stored.row.id.0);
        }
    }
    text.push_str(&writes(explanation, only));
    text
}

fn fields(explanation: &Explanation, only: Option<&FieldName>, output: &Output) -> String {
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
                let shown = |side: Side| explanation.value(name, side, &it.values[side]);
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
                        &explanation.names,
                        left.is_some_and(|it2| *it2 != it.values.left),
                        right.is_some_and(|it2| *it2 != it.values.right),
                    )
                },
            );
            let cell = |side, value: Option<&Value>| {
                value.map(|it| explanation.value(name, side, it)).unwrap_or_default()
            };
            vec![
                name.to_string(),
                cell(Side::Left, left),
                cell(Side::Right, right),
                agreed,
                changed,
            ]
        });
    let names = &explanation.names;
    output.table(&["field", &names.left, &names.right, "last agreed", "since then"], rows)
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
fn writes(explanation: &Explanation, only: Option<&FieldName>) -> String {
    let mut text = String::new();
    for effect in &explanation.effects {
        let Some(side) = effect.op.writes() else { continue };
        let touched = effect.after.iter();
        let mut touched =
            touched.filter(|(field, _)| only.is_none_or(|only| only == *field)).peekable();
        if touched.peek().is_some() {
            let at = effect.at.format("%Y-%m-%d %H:%M:%S UTC");
            let (name, run, code) = (&explanation.names[side], &effect.run, effect.op.code);
            let _ = writeln!(text, "\nwritten to {name} {at}, run {run}, {code}");
        }
        for (field, after) in touched {
            let before = effect.before.get(field).map(|it| explanation.value(field, side, it));
            let (before, after) =
                (before.unwrap_or_default(), explanation.value(field, side, after));
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
