//! The command line: parse, call the service, render. A file a command.
//!
//! What lives here: words, tables, exit codes. What may not: deciding what a sync does. Read `args.rs` (the commands),
//! this file (who answers each), then `operations.rs` (the door to the service). Results go to stdout through
//! `render.rs` alone; notes, questions and logs go to stderr.

pub mod args;
mod audit;
mod check;
mod completions;
mod conflicts;
mod conflicts_view;
mod connect;
pub mod context;
mod demo;
mod describe;
pub mod exit;
mod failures;
mod format;
mod init;
mod interrupt;
mod links;
mod mapping;
pub mod operations;
mod people;
mod plan;
mod plan_view;
pub mod progress;
mod redirect;
pub mod render;
mod replicate;
mod rotate_key;
mod rows_view;
mod run_view;
mod runs;
mod sandbox;
mod serve;
mod status;
mod transfer;
mod why;

use std::io::IsTerminal as _;

use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use args::{Cli, Command};
use context::{Context, Machine};
use exit::{Exit, Failure};
use render::Output;

/// Runs one command line to its exit code. Failures are told on stderr.
pub async fn run(cli: Cli, machine: Machine) -> Exit {
    let output = Output::new(cli.global.json, cli.global.quiet, &machine.environment);
    match prepare(&cli, machine, output) {
        Ok(context) => match dispatch(&context, &cli.command).await {
            Ok(exit) => exit,
            Err(failure) => tell(&failure, &output),
        },
        Err(failure) => tell(&failure, &output),
    }
}

fn tell(failure: &Failure, output: &Output) -> Exit {
    render::note(failure.show(output.paint, output.width).trim_end());
    failure.exit
}

fn prepare(cli: &Cli, machine: Machine, output: Output) -> Result<Context, Failure> {
    start_log(cli, &machine, &output);
    let environment = read_dotenv(&machine)?;
    let cancel = CancellationToken::new();
    interrupt::watch(cancel.clone());
    Ok(Context {
        ambient: machine.ambient,
        entropy: machine.entropy,
        environment,
        config_file: machine.folder.join(&cli.global.config),
        folder: machine.folder,
        output,
        cancel,
    })
}

/// Logs go to stderr: warnings, and with each `-v` more.
fn start_log(cli: &Cli, machine: &Machine, output: &Output) {
    // A service has nobody at its terminal: what it did stands in its log.
    let steps = u8::from(matches!(cli.command, Command::Serve(_) | Command::Worker));
    let level = match (cli.global.quiet, cli.global.verbose.saturating_add(steps)) {
        (true, _) => "error",
        (false, 0) => "warn",
        (false, 1) => "crmsync=info,warn",
        (false, 2) => "crmsync=debug,info",
        (false, _) => "trace",
    };
    let filter = match machine.environment.var("CRMSYNC_LOG") {
        Some(filter) => EnvFilter::builder().parse_lossy(filter),
        None => EnvFilter::builder().parse_lossy(level),
    };
    let colored = output.paint == crate::config::Paint::Color && std::io::stderr().is_terminal();
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colored);
    // A second start in one process (tests) keeps the first log.
    let _ = match machine.environment.var("CRMSYNC_LOG_FORMAT") {
        Some("json") => log.json().flatten_event(true).try_init(),
        Some(_) | None => log.try_init(),
    };
}

fn read_dotenv(machine: &Machine) -> Result<crate::config::Environment, Failure> {
    let path = machine.folder.join(".env");
    match std::fs::read_to_string(&path) {
        Ok(text) => machine
            .environment
            .clone()
            .with_dotenv(&text)
            .map_err(|error| Failure::config(error.to_string())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Ok(machine.environment.clone())
        }
        Err(error) => Err(Failure::config(format!("cannot read {}: {error}", path.display()))),
    }
}

async fn dispatch(context: &Context, command: &Command) -> Result<Exit, Failure> {
    match command {
        Command::Init(args) => init::run(context, args),
        Command::Connect(args) => connect::run(context, args).await,
        Command::Check => check::run(context).await,
        Command::Describe(args) => describe::run(context, args).await,
        Command::Mapping(args) => mapping::run(context, args).await,
        Command::Plan(args) => plan::plan(context, args).await,
        Command::Apply(args) => plan::apply(context, args).await,
        Command::Sync(args) => plan::sync(context, args).await,
        Command::Conflicts(args) => conflicts::run(context, args).await,
        Command::Failures(args) => failures::run(context, args).await,
        Command::Runs(args) => runs::run(context, args).await,
        Command::Why(args) => why::run(context, args).await,
        Command::Link(args) => links::link(context, args).await,
        Command::Unlink(args) => links::unlink(context, args).await,
        Command::Status => status::run(context).await,
        Command::Audit(args) => audit::run(context, args).await,
        Command::RotateKey => rotate_key::run(context).await,
        Command::Import(args) => transfer::run_import(context, args).await,
        Command::Export(args) => transfer::run_export(context, args).await,
        Command::Replicate(args) => replicate::run(context, args).await,
        Command::Serve(args) => serve::run(context, args).await,
        Command::Worker => serve::worker(context).await,
        Command::People(args) => people::people(context, args).await,
        Command::Tokens(args) => people::tokens(context, args).await,
        Command::Demo(args) => demo::demo(context, args.once).await,
        Command::Sandbox(args) => sandbox::sandbox(context, args).await,
        Command::Completions(args) => completions::completions(context, args),
        Command::Man(args) => completions::man(context, args),
    }
}
