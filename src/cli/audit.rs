//! `audit`: compares both sides whole and says how much is in sync.

use crmsync_core::model::{EntityName, FieldName, Pair, RouteName, Side};
use serde::Serialize;

use super::args;
use super::context::Context;
use super::exit::{Exit, Failure};
use super::operations::{self, RunOptions};
use super::plan::{choose, names};
use super::plan_view;
use super::progress::progress;
use super::render::{Output, counted, joined};
use crate::report::plain_name;
use crate::service::audit::{AuditReport, Difference, EntityAudit, percent};

/// Differences shown without `--all`.
const SHOWN: usize = 10;

#[derive(Serialize)]
struct Audited {
    route: RouteName,
    percent: f64,
    #[serde(flatten)]
    report: AuditReport,
}

pub(super) async fn run(context: &Context, args: &args::Audit) -> Result<Exit, Failure> {
    let config = context.config()?;
    let mut audited = Vec::new();
    for (route, entities) in choose(&config, &args.targets)? {
        let options =
            RunOptions { entities, cancel: context.cancel.clone(), ..RunOptions::default() };
        let progress = progress(&context.output);
        let report =
            operations::audit(context, &config, &route, &options, progress.as_ref()).await?;
        audited.push(Audited { route, percent: report.percent(), report });
    }
    let shown = if args.all { usize::MAX } else { SHOWN };
    context.output.result(&audited, || {
        let show = |one: &Audited| show(one, &names(&config, &one.route), shown, &context.output);
        audited.iter().map(show).collect()
    })?;
    let whole = audited.iter().all(|one| one.report.is_in_sync());
    Ok(if whole { Exit::Clean } else { Exit::Open })
}

fn show(one: &Audited, names: &Pair<String>, shown: usize, output: &Output) -> String {
    let (in_sync, compared) = one
        .report
        .entities
        .values()
        .fold((0, 0), |(same, all), entity| (same + entity.in_sync, all + entity.compared()));
    let head =
        format!("route {}: {:.2} % in sync, {in_sync} of {compared}\n\n", one.route, one.percent);
    let missing =
        Pair::new(Side::Left, Side::Right).map(|side| format!("missing in {}", names[side]));
    let header = [
        "entity",
        "in sync",
        "%",
        "differ",
        &missing.left,
        &missing.right,
        "one record lost",
        "accepted",
    ];
    let table = output.table(&header, one.report.entities.iter().map(row));
    let fields = differing_fields(&one.report);
    let first = joined(one.report.entities.iter().map(|(name, entity)| {
        joined(entity.examples.iter().take(shown).map(|it| example(name, it, names)))
    }));
    let first = if first.is_empty() { first } else { format!("\nfor instance\n{first}") };
    let cost = plan_view::cost("reading cost", &one.report.spent, names);
    format!("{head}{table}{fields}{first}\n{cost}")
}

fn row((name, entity): (&EntityName, &EntityAudit)) -> Vec<String> {
    let share = percent(entity.in_sync, entity.compared());
    vec![
        name.to_string(),
        entity.in_sync.to_string(),
        format!("{share:.2}"),
        entity.differing.to_string(),
        entity.alone.right.to_string(),
        entity.alone.left.to_string(),
        entity.incomplete.to_string(),
        entity.accepted.to_string(),
    ]
}

/// Fields by how many pairs differ in them, the worst first.
fn differing_fields(report: &AuditReport) -> String {
    let mut fields: Vec<(u64, &EntityName, &FieldName)> = Vec::new();
    for (name, entity) in &report.entities {
        fields.extend(entity.fields.iter().map(|(field, count)| (*count, name, field)));
    }
    fields.sort_by_key(|(count, name, field)| (std::cmp::Reverse(*count), *name, *field));
    let line = |(count, name, field): (u64, &EntityName, &FieldName)| {
        format!("  {name} {}: differs in {}\n", plain_name(field), counted(count, "pair"))
    };
    let lines = joined(fields.into_iter().map(line));
    if lines.is_empty() { lines } else { format!("\n{lines}") }
}

fn example(entity: &EntityName, difference: &Difference, names: &Pair<String>) -> String {
    let record = |side: Side| match &difference.records[side] {
        Some(id) => format!("{} {id}", names[side]),
        None => format!("{} has none", names[side]),
    };
    let fields: Vec<_> = difference.fields.iter().map(plain_name).collect();
    let fields = if fields.is_empty() { String::new() } else { format!(": {}", fields.join(", ")) };
    format!("  {entity} {}, {}{fields}\n", record(Side::Left), record(Side::Right))
}
