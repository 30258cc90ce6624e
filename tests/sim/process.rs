//! One run of the program: what it is given from outside, and the moments at which it may die.
//!
//! A process touches the world only through its clock, its IDs and its calls. Each touch is a moment; dying at one is
//! a panic that nobody hears, so that what is under way ends there and then, as with a power cut.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::TimeDelta;
use crmsync::clock::{Ambient, Carrier, Clock, Ids, Lost, Order, Wire};
use crmsync::config::{Config, Environment};
use crmsync::service::run::{Ask, Proposal, Safety};
use crmsync::service::{Mode, RunOptions, RunReport, ServiceError, Session, Silent};
use crmsync::store::Store;
use crmsync_core::model::{RecordId, RouteName, Side};
use crmsync_simulator::host::{Call, Reply};
use futures_util::FutureExt as _;

use crate::crms::{Kind, Who};
use crate::world::{Met, World};

/// Addresses of the servers where nothing listens: Zoho's, Pipedrive's.
pub(crate) const ADDRESSES: [&str; 2] = ["https://zoho.example", "https://pipedrive.example"];

/// Runs are deep stacks of futures, deeper yet without optimization.
pub(crate) const STACK: usize = 64 << 20;

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

pub(crate) type Shared = Arc<Mutex<World>>;

pub(crate) fn lock(world: &Shared) -> MutexGuard<'_, World> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How one run is started.
#[derive(Clone, Debug)]
pub(crate) struct Start {
    /// Moment at which it dies.
    pub(crate) dies_at: Option<u64>,
    /// Whether a person approves what guards withhold.
    pub(crate) attended: bool,
    pub(crate) mode: Mode,
    pub(crate) safety: Safety,
    pub(crate) order: Order,
    /// Ablations of numbers: settle horizon and overlap in seconds.
    pub(crate) settle: Option<i64>,
    pub(crate) overlap: Option<i64>,
    /// Call at which a second process is started, if any, and how long this one is paused before.
    pub(crate) intruder: Option<(u64, i64)>,
    /// Over real sockets; then it dies only at its clock and its IDs.
    pub(crate) over_sockets: bool,
}

impl Start {
    pub(crate) fn told(&self) -> String {
        let attended = if self.attended { "attended" } else { "unattended" };
        let mut text = format!("{attended}, {:?}, {:?}", self.mode, self.order);
        if let Some(moment) = self.dies_at {
            text = format!("{text}, to be killed at moment {moment}");
        }
        if let Some((call, _)) = self.intruder {
            text = format!("{text}, another process from call {call} on");
        }
        text
    }
}

/// How a run ended.
#[derive(Debug)]
pub(crate) enum End {
    Done(Box<RunReport>),
    Failed(ServiceError),
    Died,
}

/// Marks a death among panics.
struct Death;

struct Moments {
    passed: AtomicU64,
    dies_at: Option<u64>,
    under_way: Mutex<Option<(Side, Call)>>,
}

impl Moments {
    fn pass(&self) {
        let moment = self.passed.fetch_add(1, Ordering::Relaxed) + 1;
        if Some(moment) == self.dies_at {
            resume_unwind(Box::new(Death));
        }
    }
}

/// The wire of one process.
struct Line {
    world: Shared,
    moments: Arc<Moments>,
    config: Arc<Config>,
    start: Start,
    calls: AtomicU64,
}

#[async_trait]
impl Carrier for Line {
    async fn carry(&self, call: http::Request<Bytes>) -> Result<http::Response<Bytes>, Lost> {
        self.moments.pass();
        self.meet_the_other_process(&call);
        let (side, call) = lock(&self.world).taken_apart(call);
        *self.moments.under_way.lock().unwrap() = Some((side, call.clone()));
        let met = lock(&self.world).serve(side, call);
        self.moments.pass();
        *self.moments.under_way.lock().unwrap() = None;
        match met {
            Met::Unsent => Err(Lost::Unsent("cannot connect".into())),
            Met::Lost => Err(Lost::Unanswered("the connection failed".into())),
            Met::Answered(reply) => Ok(response(reply)),
        }
    }
}

/// A wire for looking, not for acting: no faults, no people, no time.
pub(crate) struct Quiet(pub(crate) Shared);

#[async_trait]
impl Carrier for Quiet {
    async fn carry(&self, call: http::Request<Bytes>) -> Result<http::Response<Bytes>, Lost> {
        let (side, call) = lock(&self.0).taken_apart(call);
        let service = Arc::clone(&lock(&self.0).crms.services()[side]);
        Ok(response(service.answer(&call)))
    }
}

fn response(reply: Reply) -> http::Response<Bytes> {
    let mut response = http::Response::builder().status(reply.status);
    for (name, value) in &reply.headers {
        response = response.header(name, value);
    }
    response.body(reply.body).unwrap()
}

impl Line {
    /// Two processes at once: while this one waits (or sleeps past its lease), another one runs.
    fn meet_the_other_process(&self, call: &http::Request<Bytes>) {
        let Some((at, pause)) = self.start.intruder else { return };
        // Past its lease only between writes: an effect later than `T_late` is assumed away (A1).
        let reads = call.method() == http::Method::GET;
        if self.calls.fetch_add(1, Ordering::Relaxed) != at || !reads {
            return;
        }
        lock(&self.world).note(|| format!("a second process starts after {pause} s"));
        lock(&self.world).pass(TimeDelta::seconds(pause));
        let start = Start { intruder: None, dies_at: None, ..self.start.clone() };
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().stack_size(STACK);
            let other = || runtime().block_on(run(&self.world, &self.config, start));
            thread.spawn_scoped(scope, other).unwrap().join().unwrap();
        });
        lock(&self.world).note(|| "the second process ends".to_owned());
    }
}

pub(crate) fn route() -> RouteName {
    RouteName::new("crm")
}

pub(crate) fn config(folder: &Path, text: &str) -> Config {
    let key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let environment = Environment::new([("CRMSYNC_KEY".to_owned(), key.to_owned())]);
    Config::parse(&folder.join("crmsync.toml"), text, &environment).unwrap()
}

/// Runs the program once, from its start to its end or its death.
pub(crate) async fn run(world: &Shared, config: &Arc<Config>, start: Start) -> End {
    let moments = Arc::new(Moments {
        passed: AtomicU64::new(0),
        dies_at: start.dies_at,
        under_way: Mutex::default(),
    });
    let ambient = ambient(world, config, &moments, &start);
    // What outlives a death: its connections to the store, which end with the process.
    let left_behind = Mutex::new(None);
    let living = async {
        let mut session = Box::pin(Session::open(config, &route(), &ambient)).await?;
        *left_behind.lock().unwrap() = Some(session.store.clone());
        session.settings.safety = start.safety;
        session.settings.settle = start.settle.map_or(session.settings.settle, TimeDelta::seconds);
        session.settings.overlap_seconds =
            start.overlap.unwrap_or(session.settings.overlap_seconds);
        let ask: Ask = Arc::new(|_: &Proposal| true);
        let options = RunOptions {
            ask: start.attended.then_some(ask),
            mode: start.mode,
            ..RunOptions::default()
        };
        Box::pin(session.sync(&options, &Silent)).await
    };
    let outcome = AssertUnwindSafe(living).catch_unwind().await;
    let store = left_behind.lock().unwrap().take();
    if let Some(store) = store {
        let pairs = pairs_of(&store, world).await;
        let intents = store.route(&route()).open_intents().await.unwrap();
        {
            let mut world = lock(world);
            world.ledger.linked(&pairs);
            if outcome.is_err() {
                world.ledger.reopen(None);
            }
            if intents.is_empty() && matches!(outcome, Ok(Ok(_))) {
                world.ledger.nothing_in_doubt();
            }
        }
        store.close().await.unwrap();
    }
    lock(world).moments = moments.passed.load(Ordering::Relaxed);
    match outcome {
        Ok(Ok(report)) => End::Done(Box::new(report)),
        Ok(Err(error)) => End::Failed(error),
        Err(panic) if panic.is::<Death>() => {
            if let Some((side, call)) = moments.under_way.lock().unwrap().take() {
                lock(world).died_in(side, &call);
            }
            End::Died
        }
        Err(panic) => resume_unwind(panic),
    }
}

/// The live links as the store has them, from either end.
async fn pairs_of(store: &Store, world: &Shared) -> BTreeMap<Who, Who> {
    let mut pairs = BTreeMap::new();
    for kind in Kind::ALL {
        let known = lock(world).ledger.known(Side::Left, kind);
        let ids = known.iter().map(|who| RecordId::new(&who.id)).collect();
        let reader = store.route(&route());
        let found = reader.counterparts(&kind.entity(), Side::Left, &ids).await.unwrap();
        for (id, (_, other)) in found {
            let Some(other) = other else { continue };
            let left = Who { side: Side::Left, kind, id: id.to_string() };
            let right = Who { side: Side::Right, kind, id: other.to_string() };
            pairs.insert(left.clone(), right.clone());
            pairs.insert(right, left);
        }
    }
    pairs
}

fn ambient(world: &Shared, config: &Arc<Config>, moments: &Arc<Moments>, start: &Start) -> Ambient {
    let now = {
        let (world, moments) = (Arc::clone(world), Arc::clone(moments));
        move || {
            moments.pass();
            lock(&world).clocks.ours()
        }
    };
    let sleep = {
        let world = Arc::clone(world);
        move |pause| {
            lock(&world).pass(TimeDelta::from_std(pause).unwrap());
            std::future::ready(()).boxed()
        }
    };
    let ids = {
        let (world, moments) = (Arc::clone(world), Arc::clone(moments));
        move || {
            moments.pass();
            let mut world = lock(&world);
            world.ids += 1;
            format!("id-{:08}", world.ids)
        }
    };
    let line = Line {
        world: Arc::clone(world),
        moments: Arc::clone(moments),
        config: Arc::clone(config),
        start: start.clone(),
        calls: AtomicU64::new(0),
    };
    Ambient {
        clock: Clock::new(now).sleeping(sleep),
        ids: Ids::new(ids),
        holder: "simulated".into(),
        is_gone: |_| false,
        wire: if start.over_sockets { Wire::Sockets } else { Wire::Carried(Arc::new(line)) },
        order: start.order,
    }
}
