//! A world for scenarios: both simulators over real HTTP, a store on disk, and time that only tests move.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use crmsync::clock::{Ambient, Clock, Ids, Order, Wire};
use crmsync::config::{Config, Environment};
use crmsync::sandbox::{Ports, Sandbox};
use crmsync::service::session::PlanOutcome;
use crmsync::service::{RunOptions, RunReport, ServiceError, Session, Silent};
use crmsync::store::RowFilter;
use crmsync_core::model::{OpenRow, RouteName};
use crmsync_simulator::clock::Clock as ServerClock;
use crmsync_simulator::host::Service;
use tempfile::TempDir;

/// Both CRMs, a store, a clock.
pub(crate) struct World {
    pub(crate) sandbox: Sandbox,
    pub(crate) folder: TempDir,
    pub(crate) clock: ServerClock,
    /// Zoho's and Pipedrive's own; the same time as `clock` unless the setup says otherwise.
    pub(crate) servers: [ServerClock; 2],
    config: Config,
    ids: Arc<AtomicU64>,
}

/// How a world differs from the ordinary one.
#[derive(Default)]
pub(crate) struct Setup {
    /// Mapping files by name; none: the shipped ones.
    pub(crate) mappings: Vec<(&'static str, String)>,
    /// More lines of `crmsync.toml`.
    pub(crate) settings: &'static str,
    /// How far Zoho's and Pipedrive's clocks are ahead of ours.
    pub(crate) ahead: [TimeDelta; 2],
}

impl World {
    /// Starts empty CRMs with the shipped mappings for Zoho and Pipedrive.
    pub(crate) async fn start() -> Self {
        Self::with_mappings(shipped_mappings()).await
    }

    /// Starts empty CRMs with the mapping files of `folder`.
    pub(crate) async fn with_mappings(mappings: PathBuf) -> Self {
        Self::build(TempDir::new().unwrap(), mappings, &Setup::default()).await
    }

    /// Starts empty CRMs as `setup` says.
    pub(crate) async fn with(setup: Setup) -> Self {
        let folder = TempDir::new().unwrap();
        let mut mappings = shipped_mappings();
        if !setup.mappings.is_empty() {
            mappings = folder.path().join("mappings");
            std::fs::create_dir(&mappings).unwrap();
            for (name, text) in &setup.mappings {
                std::fs::write(mappings.join(name), text).unwrap();
            }
        }
        Self::build(folder, mappings, &setup).await
    }

    async fn build(folder: TempDir, mappings: PathBuf, setup: &Setup) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let start: DateTime<Utc> = "2026-03-02T09:00:00Z".parse().unwrap();
        let clock = ServerClock::standing(start);
        let servers = setup.ahead.map(|ahead| ServerClock::standing(start + ahead));
        let sandbox = Sandbox::start_with_clocks(&servers[0], &servers[1], 7, Ports::default())
            .await
            .unwrap();
        let store = format!("sqlite://{}", folder.path().join("store.db").display());
        let text = format!("{}{}", sandbox.config(&store, &mappings), setup.settings);
        let file = folder.path().join("crmsync.toml");
        std::fs::write(&file, &text).unwrap();
        let config = Config::parse(&file, &text, &Environment::default()).unwrap();
        Self { sandbox, folder, clock, servers, config, ids: Arc::default() }
    }

    /// Changes the text of `crmsync.toml`.
    pub(crate) fn reconfigure(&mut self, change: impl FnOnce(String) -> String) {
        let file = self.folder.path().join("crmsync.toml");
        let text = change(std::fs::read_to_string(&file).unwrap());
        std::fs::write(&file, &text).unwrap();
        self.config = Config::parse(&file, &text, &Environment::default()).unwrap();
    }

    /// The shipped mappings, with deletions of `entity` spread to the other side.
    pub(crate) fn propagating_deletes(entity: &str) -> TempDir {
        let folder = TempDir::new().unwrap();
        for file in std::fs::read_dir(shipped_mappings()).unwrap() {
            let file = file.unwrap();
            let mut text = std::fs::read_to_string(file.path()).unwrap();
            if file.file_name().to_str() == Some(&format!("{entity}.toml")) {
                text.push_str("\n[deletes]\nto-left = \"propagate\"\nto-right = \"propagate\"\n");
            }
            std::fs::write(folder.path().join(file.file_name()), text).unwrap();
        }
        folder
    }

    /// Opens the route as a fresh process would.
    pub(crate) async fn open(&self) -> Session {
        self.try_open().await.unwrap()
    }

    pub(crate) async fn try_open(&self) -> Result<Session, ServiceError> {
        Session::open(&self.config, &RouteName::new("crm"), &self.ambient()).await
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    pub(crate) const fn config(&self) -> &Config {
        &self.config
    }

    /// What a process of this world is given.
    pub(crate) fn ambient(&self) -> Ambient {
        let (clock, ids) = (self.clock.clone(), Arc::clone(&self.ids));
        Ambient {
            clock: Clock::new(move || clock.now()),
            ids: Ids::new(move || format!("id-{:06}", ids.fetch_add(1, Ordering::Relaxed))),
            holder: "test".into(),
            is_gone: |_| false,
            wire: Wire::Sockets,
            order: Order::Together,
        }
    }

    /// One run, with every guard approved; a minute passes first, as between two real runs.
    pub(crate) async fn sync(&self) -> RunReport {
        self.try_sync().await.unwrap()
    }

    pub(crate) async fn try_sync(&self) -> Result<RunReport, ServiceError> {
        self.advance(60);
        let options = RunOptions { ask: Some(Arc::new(|_| true)), ..RunOptions::default() };
        self.try_open().await?.sync(&options, &Silent).await
    }

    /// One run in which nobody approves anything.
    pub(crate) async fn sync_unattended(&self) -> RunReport {
        self.advance(60);
        self.open().await.sync(&RunOptions::default(), &Silent).await.unwrap()
    }

    pub(crate) async fn plan(&self) -> PlanOutcome {
        let session = self.open().await;
        let outcome = session.plan(&RunOptions::default(), &Silent).await.unwrap();
        session.close().await.unwrap();
        outcome
    }

    /// Runs until nothing is written any more; answers how many runs wrote.
    pub(crate) async fn settle(&self) -> usize {
        for runs in 0..6 {
            if self.sync().await.tally.written() == 0 {
                return runs;
            }
        }
        panic!("still writing after six runs");
    }

    pub(crate) fn advance(&self, seconds: i64) {
        for clock in self.servers.iter().chain([&self.clock]) {
            clock.advance(TimeDelta::seconds(seconds));
        }
    }

    /// What waits for a person, for evidence or for time.
    pub(crate) async fn open_rows(&self) -> Vec<OpenRow> {
        let session = self.open().await;
        let filter = RowFilter { open_only: true, ..RowFilter::default() };
        let rows = session.store.route(&RouteName::new("crm")).rows(&filter).await.unwrap();
        rows.into_iter().map(|stored| stored.row).collect()
    }

    /// Writes that both servers counted since the last call.
    pub(crate) fn writes(&self) -> u64 {
        let mut total = 0;
        for (_, traffic) in self.sandbox.traffic() {
            total += traffic.written();
            traffic.reset();
        }
        total
    }

    /// Calls per route of both servers since the last reset.
    pub(crate) fn calls(&self) -> BTreeMap<String, u64> {
        let mut calls = BTreeMap::new();
        for (name, traffic) in self.sandbox.traffic() {
            for (route, count) in traffic.by_route() {
                calls.insert(format!("{name} {route}"), count);
            }
        }
        calls
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let unused =
                self.sandbox.zoho.faults().unused() + self.sandbox.pipedrive.faults().unused();
            assert_eq!(unused, 0, "a scripted fault was not met");
        }
    }
}

/// Shipped mapping files, to be changed or left out.
pub(crate) fn shipped(names: &[&'static str]) -> Vec<(&'static str, String)> {
    let read = |name: &&'static str| {
        (*name, std::fs::read_to_string(shipped_mappings().join(name)).unwrap())
    };
    names.iter().map(read).collect()
}

/// Accounts and contacts as shipped, but deletions of contacts spread to the other side.
pub(crate) fn propagating() -> Vec<(&'static str, String)> {
    let mut files = shipped(&["account.toml", "contact.toml"]);
    files[1].1.push_str("\n[deletes]\nto-right = \"propagate\"\nto-left = \"propagate\"\n");
    files
}

/// Runs each case in a thread and runtime of its own, as most of a case is waiting; answers the ones that panicked.
pub(crate) fn each_on_its_own<C, F>(
    cases: Vec<C>,
    check: impl Fn(C) -> F + Copy + Send + 'static,
) -> Vec<String>
where
    C: Send + std::fmt::Debug + 'static,
    F: Future<Output = ()>,
{
    let start = |case: C| {
        let name = format!("{case:?}");
        let thread = std::thread::Builder::new().name(name.clone()).spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(check(case));
        });
        (name, thread.unwrap())
    };
    let started: Vec<_> = cases.into_iter().map(start).collect();
    let ended =
        started.into_iter().filter_map(|(name, thread)| thread.join().is_err().then_some(name));
    ended.collect()
}

pub(crate) fn shipped_mappings() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("mappings/zoho-pipedrive")
}
