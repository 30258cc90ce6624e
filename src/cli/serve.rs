//! `serve`: schedules, pages, REST API and metrics in one process, until it is told to stop. `worker`: schedules alone.

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::args;
use super::context::Context;
use super::exit::{Exit, Failure};
use super::render::{counted, note};
use crate::config::Config;
use crate::report::alerts;
use crate::service::webhooks::Webhooks;
use crate::service::{Scheduler, connect};
use crate::web::{self, App};

pub(super) async fn run(context: &Context, args: &args::Serve) -> Result<Exit, Failure> {
    let config = context.config()?;
    let scheduler = scheduler(context, config).await?;
    let listen = args.listen.unwrap_or(scheduler.config().serve.listen);
    let listener = TcpListener::bind(listen).await.map_err(|error| {
        Failure::config(format!("cannot listen on {listen}: {error}"))
            .help("another address: [serve] listen, or crmsync serve --listen")
    })?;
    let address = listener.local_addr().unwrap_or(listen);
    note(&format!("serving http://{address}/ until Ctrl-C"));
    if scheduler.store().people().await?.is_empty() {
        note("nobody can sign in yet: crmsync people add NAME --role operator");
    }
    serve(context, scheduler, listener).await?;
    note("stopped");
    Ok(Exit::Clean)
}

/// An extra machine's share of the runs: schedules alone, beside a `serve` or other workers on the same store.
pub(super) async fn worker(context: &Context) -> Result<Exit, Failure> {
    let scheduler = scheduler(context, context.config()?).await?;
    let jobs = scheduler.jobs().len() as u64;
    note(&format!("taking part in {} until Ctrl-C", counted(jobs, "job")));
    let stop = context.cancel.clone();
    let reloads = tokio::spawn(reload(context.reloading(), Arc::clone(&scheduler), stop.clone()));
    scheduler.run(stop).await;
    // It ends with the same signal; one that broke off has told so.
    let _ = reloads.await;
    note("stopped");
    Ok(Exit::Clean)
}

/// Opens the store and names the jobs.
pub(super) async fn scheduler(
    context: &Context,
    config: Config,
) -> Result<Arc<Scheduler>, Failure> {
    let store = connect::open_store(&config).await?;
    Ok(Scheduler::new(config, store, &context.ambient))
}

/// Runs jobs and pages until the command is told to stop; then runs end at a safe point, and requests are finished.
pub(super) async fn serve(
    context: &Context,
    scheduler: Arc<Scheduler>,
    listener: TcpListener,
) -> Result<(), Failure> {
    let stop = context.cancel.clone();
    let entropy = context.entropy.clone();
    let random = move || entropy.bytes();
    let webhooks = Webhooks::new(Arc::clone(&scheduler), random.clone());
    let app = App::new(Arc::clone(&scheduler), Arc::clone(&webhooks), random, stop.clone());
    let jobs = tokio::spawn(Arc::clone(&scheduler).run(stop.clone()));
    let posts = tokio::spawn(webhooks.keep(stop.clone()));
    let alerts = tokio::spawn(alerts::keep(Arc::clone(&scheduler), stop.clone()));
    let reloads = tokio::spawn(reload(context.reloading(), Arc::clone(&scheduler), stop.clone()));
    let served = web::serve(app, listener).await;
    // A listener that breaks ends the jobs too.
    stop.cancel();
    let (_, _, _, _) = tokio::join!(jobs, posts, alerts, reloads);
    served.map_err(|error| Failure::config(format!("serving failed: {error}")))
}

/// Reads the configuration anew at each hang-up signal; one with mistakes is told and left.
async fn reload(
    read: impl Fn() -> Result<Config, Failure>,
    scheduler: Arc<Scheduler>,
    stop: CancellationToken,
) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = super::interrupt::hang_up() => {}
        }
        match read() {
            Ok(config) => {
                scheduler.replace(config);
                note("configuration read again");
            }
            Err(failure) => note(&format!("the configuration in force stays: {failure}")),
        }
    }
}
