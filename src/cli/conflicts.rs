//! `conflicts` and the listing half of `failures`: what waits, shown, exported, decided.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crmsync_core::model::RouteName;
use crmsync_core::model::row::Resolution;
use serde::Serialize;

use super::args::{self, Format};
use super::context::Context;
use super::exit::{Exit, Failure};
use super::render::{counted, note};
use super::{conflicts_view, plan};
use crate::config::Config;
use crate::report::decision::{self, Typed};
use crate::report::history::History;
use crate::report::listing::{self, Topic};
use crate::report::{self, ConflictReport, Status, sides};
use crate::store::{RowFilter, StoredRow};

pub(super) async fn run(context: &Context, args: &args::Conflicts) -> Result<Exit, Failure> {
    match args {
        args::Conflicts::List(args) => list(context, args, Topic::Conflicts).await,
        args::Conflicts::Show(args) => show(context, args).await,
        args::Conflicts::Resolve(args) => resolve(context, args).await,
        args::Conflicts::Export(args) => export(context, args, Topic::Conflicts).await,
    }
}

/// A row with the route it belongs to.
pub(super) type Row = (RouteName, StoredRow);

/// Loads the rows of a topic.
async fn load(
    history: &History,
    config: &Config,
    target: Option<&args::Target>,
    topic: Topic,
    all: bool,
) -> Result<Vec<Row>, Failure> {
    let targets: Vec<_> = target.cloned().into_iter().collect();
    let mut rows = Vec::new();
    for route in plan::choose(config, &targets)?.into_keys() {
        let entity = target.and_then(|target| target.entity.clone());
        let filter = RowFilter { entity, open_only: !all, ..RowFilter::default() };
        let found = history.rows(&route, &filter).await?;
        let covered = found.into_iter().filter(|stored| topic.covers(stored.row.kind));
        rows.extend(covered.map(|stored| (route.clone(), stored)));
    }
    Ok(rows)
}

/// Lays out rows; with `online`, links and zones are asked for.
async fn lay_out(
    context: &Context,
    config: &Config,
    history: &History,
    rows: &[Row],
    online: bool,
) -> Result<ConflictReport, Failure> {
    let mut conflicts = Vec::new();
    for (name, route) in &config.routes {
        let of_route: Vec<_> = rows.iter().filter(|(route, _)| route == name).collect();
        if of_route.is_empty() {
            continue;
        }
        let facts = if online {
            sides::online(config, history.store(), &context.ambient, route).await
        } else {
            sides::offline(route)
        };
        let of_route: Vec<_> = of_route.into_iter().map(|(_, stored)| stored.clone()).collect();
        conflicts.extend(listing::lay_out(history, name, &of_route, &facts).await?);
    }
    Ok(ConflictReport { generated_at: context.ambient.clock.now(), conflicts })
}

fn exit_of(report: &ConflictReport) -> Exit {
    let open = report.conflicts.iter().any(|conflict| conflict.status == Status::Open);
    if open { Exit::Open } else { Exit::Clean }
}

pub(super) async fn list(
    context: &Context,
    args: &args::ListRows,
    topic: Topic,
) -> Result<Exit, Failure> {
    let config = context.config()?;
    let history = History::open(&config, &context.ambient).await?;
    let rows = load(&history, &config, args.target.as_ref(), topic, args.all).await?;
    let report = lay_out(context, &config, &history, &rows, false).await?;
    context.output.result(&report, || conflicts_view::list(&report, &context.output))?;
    Ok(exit_of(&report))
}

async fn show(context: &Context, args: &args::OneRow) -> Result<Exit, Failure> {
    let config = context.config()?;
    let history = History::open(&config, &context.ambient).await?;
    let mut rows = load(&history, &config, None, Topic::Conflicts, true).await?;
    rows.extend(load(&history, &config, None, Topic::Failures, true).await?);
    let row = find(&rows, &args.id)?.clone();
    let report = lay_out(context, &config, &history, &[row], true).await?;
    context.output.result(&report.conflicts, || {
        report.conflicts.iter().map(conflicts_view::detail).collect()
    })?;
    Ok(exit_of(&report))
}

/// The one row whose ID begins with `id`.
fn find<'r>(rows: &'r [Row], id: &str) -> Result<&'r Row, Failure> {
    let fits: Vec<_> = rows.iter().filter(|(_, stored)| stored.row.id.0.starts_with(id)).collect();
    match fits.as_slice() {
        [row] => Ok(row),
        [] => Err(Failure::config(format!("no row has an ID that begins with `{id}`"))
            .help("crmsync conflicts list shows the IDs; --all also those already closed")),
        several => {
            let message = format!("{} rows have an ID that begins with `{id}`", several.len());
            Err(Failure::config(message).help("write more of it"))
        }
    }
}

pub(super) async fn export(
    context: &Context,
    args: &args::Export,
    topic: Topic,
) -> Result<Exit, Failure> {
    let config = context.config()?;
    let history = History::open(&config, &context.ambient).await?;
    let rows = load(&history, &config, args.target.as_ref(), topic, args.all).await?;
    let report = lay_out(context, &config, &history, &rows, true).await?;
    let text = match format(context, args)? {
        Format::Csv => report::csv::write(&report),
        Format::Html => report::html::write(&report)
            .map_err(|error| Failure::config(format!("cannot write the report: {error}")))?,
        Format::Json => serde_json::to_string_pretty(&report)
            .map(|text| text + "\n")
            .map_err(|error| Failure::config(format!("cannot write the report: {error}")))?,
    };
    let Some(path) = &args.output else {
        context.output.raw(&text)?;
        return Ok(exit_of(&report));
    };
    fs::write(path, text)
        .map_err(|error| Failure::config(format!("cannot write {}: {error}", path.display())))?;
    let rows = u64::try_from(report.conflicts.len()).unwrap_or(u64::MAX);
    note(&format!("wrote {} to {}", counted(rows, "row"), path.display()));
    Ok(exit_of(&report))
}

fn format(context: &Context, args: &args::Export) -> Result<Format, Failure> {
    if let Some(format) = args.format {
        return Ok(format);
    }
    let ending =
        args.output.as_ref().and_then(|path| path.extension()).map(|it| it.to_string_lossy());
    match ending.as_deref() {
        None if context.output.json => Ok(Format::Json),
        None | Some("csv") => Ok(Format::Csv),
        Some("json") => Ok(Format::Json),
        Some("html" | "htm") => Ok(Format::Html),
        Some(other) => Err(Failure::config(format!("no report is written as `.{other}`"))
            .help("end the file's name in .csv, .json or .html, or say --format")),
    }
}

/// What became of a batch of decisions.
#[derive(Serialize)]
struct Decided {
    decided: Vec<String>,
    refused: Vec<report::csv::BadRow>,
}

async fn resolve(context: &Context, args: &args::Resolve) -> Result<Exit, Failure> {
    let config = context.config()?;
    let history = History::open(&config, &context.ambient).await?;
    let mut rows = load(&history, &config, None, Topic::Conflicts, true).await?;
    rows.extend(load(&history, &config, None, Topic::Failures, true).await?);
    let outcome = match (&args.from, &args.id) {
        (Some(path), _) => decide_many(context, &history, &rows, path).await?,
        (None, Some(id)) => decide_one(context, &history, &rows, id, args).await?,
        (None, None) => return Err(Failure::config("name a row, or a file with --from")),
    };
    context.output.result(&outcome, || {
        let decided = u64::try_from(outcome.decided.len()).unwrap_or(u64::MAX);
        format!("decided {}; the next crmsync sync carries it out\n", counted(decided, "row"))
    })?;
    Ok(if outcome.refused.is_empty() { Exit::Clean } else { Exit::Config })
}

async fn decide_one(
    context: &Context,
    history: &History,
    rows: &[Row],
    id: &str,
    args: &args::Resolve,
) -> Result<Decided, Failure> {
    let (route, stored) = find(rows, id)?;
    let choice = args.choice.as_deref().unwrap_or_default();
    let resolution =
        resolution(context, stored, &Typed { choice, value: args.value.as_deref(), shown: None })
            .map_err(Failure::config)?;
    history.decide(route, std::slice::from_ref(&resolution)).await?;
    Ok(Decided { decided: vec![resolution.row.0], refused: Vec::new() })
}

async fn decide_many(
    context: &Context,
    history: &History,
    rows: &[Row],
    path: &Path,
) -> Result<Decided, Failure> {
    let text = fs::read_to_string(path)
        .map_err(|error| Failure::config(format!("cannot read {}: {error}", path.display())))?;
    let located = |row: &report::csv::BadRow| located(path, row);
    let (decisions, mut refused) =
        report::csv::read(&text).map_err(|row| Failure::config(located(&row)))?;
    let mut by_route: BTreeMap<RouteName, Vec<Resolution>> = BTreeMap::new();
    for decision in decisions {
        let value = (!decision.value.is_empty()).then_some(decision.value.as_str());
        let found = rows.iter().find(|(_, stored)| stored.row.id.0 == decision.row_id);
        let decided = match found {
            None => Err(format!("no row has the ID `{}`", decision.row_id)),
            Some((route, stored)) => {
                let shown = Some(decision.fingerprint.as_str());
                let typed = Typed { choice: &decision.choice, value, shown };
                resolution(context, stored, &typed).map(|it| (route, it))
            }
        };
        match decided {
            Ok((route, resolution)) => by_route.entry(route.clone()).or_default().push(resolution),
            Err(message) => {
                refused.push(report::csv::BadRow { line: decision.line, column: 3, message });
            }
        }
    }
    refused.sort_by_key(|row| row.line);
    for row in &refused {
        note(&located(row));
    }
    let mut decided = Vec::new();
    for (route, resolutions) in by_route {
        history.decide(&route, &resolutions).await?;
        decided.extend(resolutions.into_iter().map(|resolution| resolution.row.0));
    }
    Ok(Decided { decided, refused })
}

fn located(path: &Path, row: &report::csv::BadRow) -> String {
    let path: PathBuf = path.into();
    match row.column {
        0 => format!("{}:{}: {}", path.display(), row.line, row.message),
        column => format!("{}:{}:{column}: {}", path.display(), row.line, row.message),
    }
}

fn resolution(
    context: &Context,
    stored: &StoredRow,
    typed: &Typed<'_>,
) -> Result<Resolution, String> {
    let by = context.environment.var("USER").unwrap_or("command line");
    decision::resolution(stored, typed, by, context.ambient.clock.now())
}
