//! Runs routes and replications by their schedules, or when asked: each one at a time, all of them beside each other.
//!
//! A job is a task that waits for its time, a wake-up or the end, makes one run, and waits again. When a run is due is
//! the engine's decision; the configuration and the mapping files are read anew for each run.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use crmsync_core::engine::schedule::{Ending, Past, Schedule, next_run};
use crmsync_core::model::RouteName;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::error::{Exit, ServiceError};
use super::replicate::{Replica, ReplicaOptions};
use super::run::{Mode, Progress, RunOptions};
use super::session::Session;
use crate::clock::Ambient;
use crate::config::Config;
use crate::store::Store;

/// Where the store keeps a replication's last run.
const LAST_RUN: &str = "last-run";
/// Runs that are looked through for the last one that read the lists.
const RUNS_BACK: u64 = 50;
/// The longest that a job sleeps without looking at the time: clocks jump, machines sleep.
const LONGEST_NAP: Duration = Duration::from_secs(30);

/// What runs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum JobName {
    Route(RouteName),
    Replication(String),
}

impl fmt::Display for JobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Route(name) => write!(f, "{name}"),
            Self::Replication(name) => write!(f, "replication/{name}"),
        }
    }
}

/// What a run is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    pub mode: Mode,
    /// Hash of a plan that a person approved.
    pub approve: Option<String>,
    /// What a person decided about an earlier run, instead of a run of its own.
    pub review: Option<Review>,
}

/// What becomes of an earlier run, by its ID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Review {
    /// Taken back; the route is paused afterwards.
    Undo(String),
    /// After an undo: the next run does it again.
    Redo(String),
    /// After an undo: the present stays.
    Accept(String),
}

/// A job at a glance.
#[derive(Clone, Debug, Default, Serialize)]
pub struct JobState {
    /// The run under way.
    pub running: Option<Running>,
    /// When the next one is due; `None`: only when asked.
    pub next_at: Option<DateTime<Utc>>,
    pub last: Option<Ended>,
    /// Failures in a row.
    pub failures: u32,
    /// Runs that this process made.
    pub runs: u64,
}

/// How far a run has come.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Running {
    pub since: DateTime<Utc>,
    pub phase: String,
    pub done: u64,
    pub total: Option<u64>,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    pub started_at: DateTime<Utc>,
    pub ended_at: DateTime<Utc>,
    pub exit: u8,
    pub error: Option<String>,
}

/// All jobs of a configuration.
pub struct Scheduler {
    config: Mutex<Arc<Config>>,
    store: Store,
    ambient: Ambient,
    jobs: Mutex<BTreeMap<JobName, Arc<Job>>>,
    /// Told when a configuration replaces another.
    replaced: Notify,
    started_at: DateTime<Utc>,
}

struct Job {
    name: JobName,
    state: Mutex<JobState>,
    asked: Mutex<Option<Asked>>,
    wake: Notify,
}

impl Scheduler {
    pub fn new(config: Config, store: Store, ambient: &Ambient) -> Arc<Self> {
        let started_at = ambient.clock.now();
        let scheduler = Self {
            config: Mutex::new(Arc::new(config)),
            store,
            ambient: ambient.clone(),
            jobs: Mutex::default(),
            replaced: Notify::new(),
            started_at,
        };
        scheduler.name_jobs();
        Arc::new(scheduler)
    }

    /// The configuration in force.
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&held(&self.config))
    }

    pub const fn store(&self) -> &Store {
        &self.store
    }

    pub const fn ambient(&self) -> &Ambient {
        &self.ambient
    }

    /// Puts another configuration in force: runs under way end as they began, the next ones follow it.
    pub fn replace(&self, config: Config) {
        *held(&self.config) = Arc::new(config);
        self.name_jobs();
        self.replaced.notify_one();
    }

    /// Every job with its state, by name.
    pub fn jobs(&self) -> Vec<(JobName, JobState)> {
        let jobs = held(&self.jobs);
        jobs.values().map(|job| (job.name.clone(), held(&job.state).clone())).collect()
    }

    /// Asks for a run as soon as none is under way; answers whether there is such a job. What was asked before and
    /// did not begin is asked for together with it.
    pub fn ask(&self, name: &JobName, asked: Asked) -> bool {
        let job = held(&self.jobs).get(name).cloned();
        let Some(job) = job else { return false };
        {
            let mut waiting = held(&job.asked);
            *waiting = Some(match waiting.take() {
                Some(before) => before.with(asked),
                None => asked,
            });
        }
        job.wake.notify_one();
        true
    }

    /// Keeps all jobs running until `stop`; then every run has ended at a safe point.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let generation = stop.child_token();
            let mut tasks = JoinSet::new();
            let places = Arc::new(Semaphore::new(self.config().serve.runs_at_once));
            let jobs: Vec<_> = held(&self.jobs).values().cloned().collect();
            for job in jobs {
                let (scheduler, generation) = (Arc::clone(&self), generation.clone());
                let (places, stop) = (Arc::clone(&places), stop.clone());
                tasks.spawn(async move { scheduler.keep(&job, &places, &generation, &stop).await });
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.replaced.notified() => {}
            }
            generation.cancel();
            while tasks.join_next().await.is_some() {}
        }
    }

    /// Makes a job of each route and replication; those that were there keep their state.
    fn name_jobs(&self) {
        let config = self.config();
        let routes = config.routes.keys().cloned().map(JobName::Route);
        let names = routes.chain(config.replications.keys().cloned().map(JobName::Replication));
        let mut jobs = held(&self.jobs);
        let mut before = std::mem::take(&mut *jobs);
        *jobs = names
            .map(|name| {
                let job = before.remove(&name).unwrap_or_else(|| Arc::new(Job::new(name.clone())));
                (name, job)
            })
            .collect();
    }

    async fn keep(
        self: &Arc<Self>,
        job: &Arc<Job>,
        places: &Semaphore,
        generation: &CancellationToken,
        stop: &CancellationToken,
    ) {
        let mut past = self.past(&job.name).await;
        loop {
            let schedule = self.schedule(&job.name);
            let zone = self.config().serve.time_zone;
            let next =
                schedule.and_then(|schedule| next_run(&schedule, zone, &past, self.started_at));
            held(&job.state).next_at = next;
            let (asked, was_due) = tokio::select! {
                // Whatever is asked for, nothing begins once the end has come.
                biased;
                () = generation.cancelled() => return,
                () = job.wake.notified() => (held(&job.asked).take(), false),
                () = self.nap(next) => (self.is_due(next).then(Asked::default), true),
            };
            let Some(asked) = asked else { continue };
            let place = tokio::select! {
                biased;
                () = generation.cancelled() => return,
                place = places.acquire() => place,
            };
            if was_due
                && (self.was_made_elsewhere(&job.name, &mut past).await
                    || self.is_made_elsewhere(&job.name, &mut past).await)
            {
                continue;
            }
            let waiting = held(&job.asked).take();
            let asked = waiting.into_iter().fold(asked, Asked::with);
            past = self.run_once(job, asked, past, stop).await;
            drop(place);
        }
    }

    /// Whether another process made the run that was due here; then its past is ours.
    async fn was_made_elsewhere(&self, name: &JobName, past: &mut Past) -> bool {
        let stored = self.past(name).await;
        let is_newer = stored.started_at > past.started_at;
        if is_newer {
            *past = stored;
        }
        is_newer
    }

    /// Whether another process is making the run that is due here; then it is looked for again.
    async fn is_made_elsewhere(&self, name: &JobName, past: &mut Past) -> bool {
        let JobName::Route(route) = name else { return false };
        let now = self.ambient.clock.now();
        let holder = self.store.holder(route, now).await.ok().flatten();
        let is_held = holder.is_some_and(|holder| !(self.ambient.is_gone)(&holder));
        if is_held {
            *past = Past { ended_at: Some(now), ending: Ending::Elsewhere, ..*past };
        }
        is_held
    }

    async fn nap(&self, until: Option<DateTime<Utc>>) {
        let left =
            until.map(|until| (until - self.ambient.clock.now()).to_std().unwrap_or_default());
        self.ambient.clock.sleep(left.unwrap_or(LONGEST_NAP).min(LONGEST_NAP)).await;
    }

    fn is_due(&self, next: Option<DateTime<Utc>>) -> bool {
        next.is_some_and(|next| next <= self.ambient.clock.now())
    }

    fn schedule(&self, name: &JobName) -> Option<Schedule> {
        let config = self.config();
        match name {
            JobName::Route(name) => config.routes.get(name)?.schedule.clone(),
            JobName::Replication(name) => config.replications.get(name)?.schedule.clone(),
        }
    }

    /// What the store remembers of a job's last run, whoever made it.
    async fn past(&self, name: &JobName) -> Past {
        let ended = match name {
            JobName::Route(route) => {
                let runs = self.store.runs(Some(route), RUNS_BACK).await.unwrap_or_default();
                let polled = runs.into_iter().find(|run| run.mode != Mode::Hints.as_str());
                polled.and_then(|run| Some((run.started_at, run.finished_at?)))
            }
            JobName::Replication(name) => {
                let kept = self.store.metadata(&replication_key(name), LAST_RUN).await.ok();
                let ended = kept.flatten().and_then(|(body, _)| serde_json::from_value(body).ok());
                ended.map(|ended: Ended| (ended.started_at, ended.ended_at))
            }
        };
        let (started_at, ended_at) = ended.unzip();
        Past { started_at, ended_at, ..Past::default() }
    }

    async fn run_once(
        self: &Arc<Self>,
        job: &Arc<Job>,
        asked: Asked,
        past: Past,
        stop: &CancellationToken,
    ) -> Past {
        let started_at = self.ambient.clock.now();
        held(&job.state).running =
            Some(Running { since: started_at, phase: "starting".into(), done: 0, total: None });
        let is_hint = asked.mode == Mode::Hints;
        let outcome = self.on_its_own_thread(job, asked, stop).await;
        let ended_at = self.ambient.clock.now();
        let (exit, error) = match outcome {
            Ok(exit) => (exit, None),
            Err(ServiceError::Cancelled) => (Exit::Clean, None),
            Err(error) => (error.exit(), Some(error.to_string())),
        };
        let took = (ended_at - started_at).num_milliseconds();
        match &error {
            None => {
                tracing::info!(job = %job.name, exit = exit.code(), duration_ms = took, "run ended");
            }
            Some(why) if exit == Exit::LeaseHeld => {
                tracing::info!(job = %job.name, "left to another process: {why}");
            }
            Some(why) => {
                tracing::warn!(job = %job.name, exit = exit.code(), duration_ms = took, "run failed: {why}");
            }
        }
        let ended = Ended { started_at, ended_at, exit: exit.code(), error };
        if let JobName::Replication(name) = &job.name
            && let Ok(body) = serde_json::to_value(&ended)
            && let Err(error) =
                self.store.save_metadata(&replication_key(name), LAST_RUN, &body, ended_at).await
        {
            tracing::warn!("the end of a run is not remembered: {error}");
        }
        let ending = ending(exit);
        let after = past.after(started_at, ended_at, ending);
        let mut state = held(&job.state);
        state.running = None;
        state.last = Some(ended);
        state.failures = after.failures;
        state.runs += 1;
        if is_hint && ending == Ending::Done {
            // A run that read no list is no reason to read them later.
            return past;
        }
        after
    }

    /// Runs of several jobs use several cores, and one that panics takes nothing with it.
    async fn on_its_own_thread(
        self: &Arc<Self>,
        job: &Arc<Job>,
        asked: Asked,
        stop: &CancellationToken,
    ) -> Result<Exit, ServiceError> {
        let (scheduler, job, stop) = (Arc::clone(self), Arc::clone(job), stop.clone());
        let span = tracing::info_span!("job", name = %job.name);
        let runtime = Handle::current();
        let run = tokio::task::spawn_blocking(move || {
            let run = async {
                match &job.name {
                    JobName::Route(route) => scheduler.sync(route, &job, asked, &stop).await,
                    JobName::Replication(name) => scheduler.replicate(name, &job, &stop).await,
                }
            };
            runtime.block_on(run.instrument(span))
        });
        let broken = |_| ServiceError::Config("the run broke off; please report it".into());
        run.await.map_err(broken)?
    }

    async fn sync(
        &self,
        route: &RouteName,
        job: &Job,
        asked: Asked,
        stop: &CancellationToken,
    ) -> Result<Exit, ServiceError> {
        let config = self.config();
        let options = RunOptions {
            mode: asked.mode,
            approve: asked.approve.clone(),
            cancel: stop.clone(),
            ..RunOptions::default()
        };
        let session = Box::pin(Session::open(&config, route, &self.ambient)).await?;
        let report = match &asked.review {
            None => Box::pin(session.sync(&options, job)).await,
            Some(Review::Undo(run)) => Box::pin(session.undo(run, &options, job)).await,
            Some(Review::Redo(run)) => Box::pin(session.redo(run, job)).await,
            Some(Review::Accept(run)) => Box::pin(session.accept(run, job)).await,
        };
        session.close().await?;
        Ok(report?.exit)
    }

    async fn replicate(
        &self,
        name: &str,
        job: &Job,
        stop: &CancellationToken,
    ) -> Result<Exit, ServiceError> {
        let config = self.config();
        let options = ReplicaOptions { cancel: stop.clone(), ..ReplicaOptions::default() };
        let replica = Box::pin(Replica::open(&config, name, &options, &self.ambient)).await?;
        let report = Box::pin(replica.run(&config, &options, &self.ambient, job)).await?;
        Ok(report.exit)
    }
}

impl Asked {
    /// Both at once: the mode that looks at more, and the newer consent.
    fn with(self, newer: Self) -> Self {
        let breadth = |mode: Mode| match mode {
            Mode::Hints => 0,
            Mode::Sync => 1,
            Mode::Full => 2,
            Mode::Resync => 3,
        };
        let wider = breadth(newer.mode) > breadth(self.mode);
        let mode = if wider { newer.mode } else { self.mode };
        Self { mode, approve: newer.approve.or(self.approve), review: newer.review.or(self.review) }
    }
}

impl Job {
    fn new(name: JobName) -> Self {
        Self { name, state: Mutex::default(), asked: Mutex::default(), wake: Notify::new() }
    }
}

impl Progress for Job {
    fn phase(&self, name: &str, total: Option<u64>) {
        if let Some(running) = &mut held(&self.state).running {
            name.clone_into(&mut running.phase);
            (running.done, running.total) = (0, total);
        }
    }

    fn advance(&self, by: u64) {
        if let Some(running) = &mut held(&self.state).running {
            running.done += by;
        }
    }

    fn note(&self, line: &str) {
        tracing::info!(job = %self.name, "{line}");
    }
}

fn replication_key(name: &str) -> String {
    format!("replication/{name}")
}

/// What an exit says about the next run.
const fn ending(exit: Exit) -> Ending {
    match exit {
        Exit::Clean | Exit::Open | Exit::Guard => Ending::Done,
        Exit::SideUnavailable => Ending::Unreachable,
        Exit::LeaseHeld => Ending::Elsewhere,
        Exit::Config | Exit::Budget | Exit::Store => Ending::Stopped,
    }
}

/// The lock protects whole values: a panic while it was held left none half done.
fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}
