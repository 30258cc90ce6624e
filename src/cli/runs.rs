//! `runs`: history, and taking a run back.

use std::collections::BTreeMap;

use crmsync_core::model::{Pair, RouteName, Side};
use serde::Serialize;

use super::args;
use super::context::Context;
use super::exit::{Exit, Failure};
use super::operations::{self, RunOptions, RunReport};
use super::plan;
use super::plan_view::one_line;
use super::progress::progress;
use super::render::counted;
use super::run_view;
use crate::report::history::History;
use crate::store::{Effect, RunRecord};

pub(super) async fn run(context: &Context, args: &args::Runs) -> Result<Exit, Failure> {
    match args {
        args::Runs::List(args) => list(context, args).await,
        args::Runs::Show(args) => show(context, &args.id).await,
        args::Runs::Undo(args) => undo(context, args).await,
        args::Runs::Redo(args) => after_undo(context, &args.id, AfterUndo::Redo).await,
        args::Runs::Accept(args) => after_undo(context, &args.id, AfterUndo::Accept).await,
    }
}

async fn list(context: &Context, args: &args::RunsList) -> Result<Exit, Failure> {
    let config = context.config()?;
    let history = History::open(&config, &context.ambient).await?;
    let routes = match &args.route {
        Some(name) => {
            let route = RouteName::new(name);
            plan::known(&config, &route)?;
            vec![route]
        }
        None => config.routes.keys().cloned().collect(),
    };
    let mut runs = Vec::new();
    for route in routes {
        runs.extend(history.runs(&route, args.limit).await?);
    }
    runs.sort_by(|left, right| right.started_at.cmp(&left.started_at).then(left.id.cmp(&right.id)));
    runs.truncate(usize::try_from(args.limit).unwrap_or(usize::MAX));
    context.output.result(&runs, || {
        let header = ["run", "route", "mode", "started (UTC)", "took", "exit", "wrote"];
        context
            .output
            .table(&header, runs.iter().map(|run| row(run, &plan::names(&config, &run.route))))
    })?;
    Ok(Exit::Clean)
}

fn row(run: &RunRecord, names: &Pair<String>) -> Vec<String> {
    vec![
        run.id.clone(),
        run.route.to_string(),
        run.mode.clone(),
        run.started_at.format("%Y-%m-%d %H:%M:%S").to_string(),
        took(run),
        run.exit.map_or_else(|| format!("({})", run.phase), |exit| exit.to_string()),
        wrote(run, names),
    ]
}

/// The run `id` of whichever route has it.
async fn known(history: &History, id: &str) -> Result<RunRecord, Failure> {
    history.run(id).await?.ok_or_else(|| {
        Failure::config(format!("no run has the ID `{id}`")).help("crmsync runs list shows the IDs")
    })
}

pub(super) fn took(run: &RunRecord) -> String {
    let seconds = run.finished_at.map(|at| (at - run.started_at).num_seconds());
    seconds.map_or_else(|| "not finished".to_owned(), |seconds| format!("{seconds} s"))
}

/// `+3 ~2 -1` by side, from the run's counts.
fn wrote(run: &RunRecord, names: &Pair<String>) -> String {
    let count =
        |side: Side, what: &str| run.counts.get(&format!("{side}.{what}")).copied().unwrap_or(0);
    let side = |side: Side| {
        format!(
            "{} +{} ~{} -{}",
            names[side],
            count(side, "created"),
            count(side, "updated"),
            count(side, "deleted")
        )
    };
    format!("{}, {}", side(Side::Left), side(Side::Right))
}

#[derive(Serialize)]
struct Shown<'a> {
    run: &'a RunRecord,
    effects: &'a [Effect],
}

async fn show(context: &Context, id: &str) -> Result<Exit, Failure> {
    let config = context.config()?;
    let history = History::open(&config, &context.ambient).await?;
    let run = known(&history, id).await?;
    let effects = history.effects(&run.route, &run.id).await?;
    let shown = Shown { run: &run, effects: &effects };
    let names = plan::names(&config, &run.route);
    context.output.result(&shown, || show_run(&run, &effects, &names))?;
    Ok(Exit::Clean)
}

fn show_run(run: &RunRecord, effects: &[Effect], names: &Pair<String>) -> String {
    let exit =
        run.exit.map_or_else(|| format!("not finished, {}", run.phase), |exit| exit.to_string());
    let head = format!(
        "run      {}\nroute    {}\nmode     {}\nstarted  {}\ntook     {}\nexit     {exit}\n",
        run.id,
        run.route,
        run.mode,
        run.started_at.format("%Y-%m-%d %H:%M:%S UTC"),
        took(run),
    );
    let plan = run.plan_hash.as_ref().map(|hash| format!("plan     {hash}\n")).unwrap_or_default();
    let error = run.error.as_ref().map(|error| format!("error    {error}\n")).unwrap_or_default();
    let counts = run_view::counts(run, names);
    let effects: String = effects.iter().map(|effect| show_effect(effect, names)).collect();
    format!("{head}{plan}{error}{counts}{effects}")
}

/// What one write changed.
fn show_effect(effect: &Effect, names: &Pair<String>) -> String {
    let side = effect.op.writes().map(|side| format!(" in {}", names[side])).unwrap_or_default();
    let record = effect.record.as_ref().map(|id| format!(" #{id}")).unwrap_or_default();
    let head = format!("\n{} {}{side}{record}\n", effect.op.code, effect.op.entity);
    let changed: BTreeMap<_, _> = effect.after.iter().collect();
    let line = |(field, after): (&crmsync_core::model::FieldName, &crmsync_core::model::Value)| {
        let before = effect.before.get(field).map(one_line).unwrap_or_default();
        format!("    {field}: {before} → {}\n", one_line(after))
    };
    let lines: String = changed.into_iter().map(line).collect();
    head + &lines
}

async fn undo(context: &Context, args: &args::RunsUndo) -> Result<Exit, Failure> {
    let config = context.config()?;
    let history = History::open(&config, &context.ambient).await?;
    let run = known(&history, &args.id).await?;
    let options = RunOptions {
        approve: args.approve.clone(),
        ask: plan::consent(context, args.approve.as_deref(), plan::names(&config, &run.route)),
        wait_for_settling: true,
        cancel: context.cancel.clone(),
        ..RunOptions::default()
    };
    let progress = progress(&context.output);
    let report =
        operations::undo(context, &config, &run.route, &run.id, &options, progress.as_ref())
            .await?;
    drop(progress);
    context.output.result(&report, || undone(&run, &report))?;
    Ok(report.exit)
}

fn undone(run: &RunRecord, report: &RunReport) -> String {
    let (id, route) = (&run.id, &run.route);
    if report.exit == Exit::Guard {
        let hash = &report.plan.hash;
        return format!(
            "nothing was taken back: more records would be deleted than a run may\ncrmsync runs undo {id} --approve {hash} does it all the same\n"
        );
    }
    let skipped = counted(report.rows.len() as u64, "value");
    format!(
        "took back run {id}; {skipped} edited since and left alone\nroute {route} is paused: crmsync runs redo {id}, or crmsync runs accept {id}\n"
    )
}

/// What a person chooses once a run is taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AfterUndo {
    Redo,
    /// Pins the present state.
    Accept,
}

async fn after_undo(context: &Context, id: &str, choice: AfterUndo) -> Result<Exit, Failure> {
    let config = context.config()?;
    let history = History::open(&config, &context.ambient).await?;
    let run = known(&history, id).await?;
    operations::after_undo(context, &config, &run.route, &run.id, choice).await?;
    let said = match choice {
        AfterUndo::Redo => "runs again; the next crmsync sync repeats what was taken back",
        AfterUndo::Accept => "runs again; the present values stay",
    };
    context.output.result(&serde_json::json!({ "route": run.route, "paused": false }), || {
        format!("route {} {said}\n", run.route)
    })?;
    Ok(Exit::Clean)
}
