//! `plan`, `apply`, `sync`: what would happen, exactly that, or both in one go.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, IsTerminal as _};
use std::path::Path;
use std::sync::Arc;

use crmsync_core::mapping::diagnostic::did_you_mean;
use crmsync_core::model::{EntityName, Pair, Plan, RouteName};

use super::args;
use super::context::Context;
use super::exit::{Exit, Failure};
use super::operations::{self, Ask, Mode, PlanOutcome, RunOptions, RunReport};
use super::plan_view::{self, Detail, View};
use super::progress::progress;
use super::render::note;
use super::run_view;
use crate::config::Config;
use crate::report::sides;
pub(super) use crate::report::status::sides as names;

pub(super) async fn plan(context: &Context, args: &args::Plan) -> Result<Exit, Failure> {
    let config = context.config()?;
    let chosen = choose(&config, &args.targets)?;
    if args.output.is_some() && chosen.len() > 1 {
        let message = "a saved plan is of one route";
        return Err(
            Failure::config(message).help("name the route: crmsync plan ROUTE -o plan.json")
        );
    }
    let (mut outcomes, mut exit) = (Vec::new(), Exit::Clean);
    for (route, entities) in chosen {
        let options = options(context, &args.scope, entities, None);
        let progress = progress(&context.output);
        let outcome =
            operations::plan(context, &config, &route, &options, progress.as_ref()).await?;
        exit = exit.max(exit_of(&outcome.plan));
        outcomes.push(outcome);
    }
    if let (Some(path), Some(outcome)) = (&args.output, outcomes.first()) {
        save(path, &outcome.plan)?;
    }
    let saved = args.output.as_deref();
    let detail = if args.all { Detail::All } else { Detail::First };
    context.output.result(&outcomes, || {
        outcomes
            .iter()
            .map(|outcome| show_outcome(context, &config, outcome, detail, saved))
            .collect()
    })?;
    Ok(exit)
}

fn show_outcome(
    context: &Context,
    config: &Config,
    outcome: &PlanOutcome,
    detail: Detail,
    saved: Option<&Path>,
) -> String {
    let plan = &outcome.plan;
    let names = names(config, &plan.route);
    let view = View { names: &names, labels: &outcome.labels, detail, output: &context.output };
    let (route, hash) = (&plan.route, &plan.hash);
    let waits = plan.guards.iter().any(|trip| !trip.withheld.is_empty());
    let next = match (saved.map(Path::display), waits) {
        (Some(file), true) => format!(
            "plan {hash}, saved; to approve exactly it: crmsync apply {file} --approve {hash}\n"
        ),
        (Some(file), false) => format!("plan {hash}, saved; crmsync apply {file} carries it out\n"),
        (None, true) => {
            format!("plan {hash}; to approve it: crmsync sync {route} --approve {hash}\n")
        }
        (None, false) => format!("plan {hash}; crmsync sync {route} carries it out\n"),
    };
    let cost = plan_view::cost("writing it will cost", &outcome.forecast, &names);
    format!("{}\n{cost}{next}", plan_view::show(plan, &view))
}

/// Exit code of a plan: a guard that holds something back, else open rows.
fn exit_of(plan: &Plan) -> Exit {
    if !plan.guards.is_empty() {
        Exit::Guard
    } else if plan.rows.iter().any(crmsync_core::model::OpenRow::is_open) {
        Exit::Open
    } else {
        Exit::Clean
    }
}

fn save(path: &Path, plan: &Plan) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(plan)
        .map_err(|error| Failure::config(format!("cannot write the plan: {error}")))?;
    fs::write(path, text + "\n")
        .map_err(|error| Failure::config(format!("cannot write {}: {error}", path.display())))
}

pub(super) async fn apply(context: &Context, args: &args::Apply) -> Result<Exit, Failure> {
    let config = context.config()?;
    let plan = load(&args.plan)?;
    let route = plan.route.clone();
    known(&config, &route)?;
    // Handing over the file is consent to what it shows; guards ask for more than that.
    let approve = args.approve.clone();
    if let Some(hash) = &approve
        && *hash != plan.hash
    {
        let message = format!("{} has the hash {}, not {hash}", args.plan.display(), plan.hash);
        return Err(Failure::config(message).help("approve the plan that you read"));
    }
    let options = RunOptions {
        approve,
        only: Some(plan.clone()),
        cancel: context.cancel.clone(),
        ..RunOptions::default()
    };
    let progress = progress(&context.output);
    let report = operations::sync(context, &config, &route, &options, progress.as_ref()).await?;
    drop(progress);
    if report.plan.hash != plan.hash {
        note(&format!(
            "records changed since {} was saved: steps that no longer fit were left out; plan again for the rest",
            args.plan.display()
        ));
    }
    report_runs(context, &config, &[report])
}

/// Reads a saved plan; one that was edited no longer has its hash.
fn load(path: &Path) -> Result<Plan, Failure> {
    let text = fs::read_to_string(path)
        .map_err(|error| Failure::config(format!("cannot read {}: {error}", path.display())))?;
    let plan: Plan = serde_json::from_str(&text).map_err(|error| {
        let message = format!("{}: not a saved plan: {error}", path.display());
        Failure::config(message).help("crmsync plan -o plan.json writes one")
    })?;
    if plan.compute_hash() == plan.hash {
        return Ok(plan);
    }
    let message = format!("{} was changed after it was saved", path.display());
    Err(Failure::config(message).help("plan again; to leave something out, decide its rows first"))
}

pub(super) async fn sync(context: &Context, args: &args::Sync) -> Result<Exit, Failure> {
    let config = context.config()?;
    let mut reports = Vec::new();
    for (route, entities) in choose(&config, &args.targets)? {
        let mut options = options(context, &args.scope, entities, args.approve.clone());
        options.ask = consent(context, args.approve.as_deref(), names(&config, &route));
        let progress = progress(&context.output);
        reports
            .push(operations::sync(context, &config, &route, &options, progress.as_ref()).await?);
        if context.cancel.is_cancelled() {
            break;
        }
    }
    report_runs(context, &config, &reports)
}

/// Approves whatever the plan holds: for rehearsals and scripts whose author has thought about it.
const AUTO: &str = "auto";

/// Who answers when guards ask: the command line, or a person.
pub(super) fn consent(
    context: &Context,
    approve: Option<&str>,
    names: Pair<String>,
) -> Option<Ask> {
    match approve {
        Some(AUTO) => Some(Arc::new(|_| true)),
        Some(_) | None => ask(context, names),
    }
}

/// On a terminal a person is shown the plan and asked; elsewhere nobody is there to ask.
fn ask(context: &Context, names: Pair<String>) -> Option<Ask> {
    let attended = io::stdin().is_terminal() && io::stderr().is_terminal() && !context.output.json;
    let output = context.output;
    attended.then(|| -> Ask {
        Arc::new(move |proposal| {
            let (labels, output) = (&proposal.labels, &output);
            let view = View { names: &names, labels, detail: Detail::First, output };
            note(&plan_view::show(&proposal.plan, &view));
            note("Apply this plan? Type yes:");
            let mut answer = String::new();
            io::stdin().read_line(&mut answer).is_ok() && answer.trim() == "yes"
        })
    })
}

fn report_runs(context: &Context, config: &Config, reports: &[RunReport]) -> Result<Exit, Failure> {
    context.output.result(&reports, || {
        let show = |report: &RunReport| run_view::show(report, &names(config, &report.run.route));
        reports.iter().map(show).collect()
    })?;
    Ok(reports.iter().map(|report| report.exit).max().unwrap_or(Exit::Clean))
}

/// Names of a route's connections.
fn options(
    context: &Context,
    scope: &args::Scope,
    entities: Vec<EntityName>,
    approve: Option<String>,
) -> RunOptions {
    let mode = match (scope.full, scope.resync) {
        (_, true) => Mode::Resync,
        (true, false) => Mode::Full,
        (false, false) => Mode::Sync,
    };
    RunOptions {
        entities,
        approve,
        mode,
        record: scope.record.clone(),
        wait_for_settling: true,
        cancel: context.cancel.clone(),
        ..RunOptions::default()
    }
}

/// Routes to run, each with the entities asked for; none means all.
pub(super) fn choose(
    config: &Config,
    targets: &[args::Target],
) -> Result<BTreeMap<RouteName, Vec<EntityName>>, Failure> {
    if config.routes.is_empty() {
        let message = format!("{} has no [routes.…] table", config.file.display());
        return Err(
            Failure::config(message).help("a route joins two connections; see crmsync init")
        );
    }
    if targets.is_empty() {
        return Ok(config.routes.keys().map(|route| (route.clone(), Vec::new())).collect());
    }
    let mut chosen: BTreeMap<RouteName, Vec<_>> = BTreeMap::new();
    for target in targets {
        known(config, &target.route)?;
        if let Some(entity) = &target.entity {
            known_entity(config, &target.route, entity)?;
        }
        chosen.entry(target.route.clone()).or_default().extend(target.entity.clone());
    }
    // `crm crm/contact` asks for all of it.
    for target in targets.iter().filter(|target| target.entity.is_none()) {
        chosen.insert(target.route.clone(), Vec::new());
    }
    Ok(chosen)
}

/// Refuses a route that the configuration does not have.
pub(super) fn known(config: &Config, route: &RouteName) -> Result<(), Failure> {
    if config.routes.contains_key(route) {
        return Ok(());
    }
    let names: Vec<_> = config.routes.keys().map(RouteName::as_str).collect();
    Err(Failure::config(format!("no route is called `{route}`"))
        .help(format!("routes: {}", names.join(", "))))
}

/// Refuses an entity that no mapping file of the route names. Files that do not parse are left to `mapping check`.
pub(super) fn known_entity(
    config: &Config,
    route: &RouteName,
    entity: &EntityName,
) -> Result<(), Failure> {
    let Some(found) = config.routes.get(route) else { return Ok(()) };
    let entities = sides::modules(&found.mappings);
    if entities.is_empty() || entities.contains_key(entity) {
        return Ok(());
    }
    let names: Vec<_> = entities.keys().map(EntityName::as_str).collect();
    let nearest = did_you_mean(entity.as_str(), names.iter().copied());
    Err(Failure::config(format!("route {route} has no entity `{entity}`"))
        .help(nearest.unwrap_or_else(|| format!("entities: {}", names.join(", ")))))
}
