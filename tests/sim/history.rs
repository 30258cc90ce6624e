//! One history: a company at work in every weather, then calm, then all laws.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use chrono::TimeDelta;
use crmsync::clock::Order;
use crmsync::config::Config;
use crmsync::service::run::Safety;
use crmsync::service::{Mode, ServiceError};
use crmsync::store::StoreError;
use crmsync_core::invariants::Violation;
use crmsync_core::model::Side;
use crmsync_simulator::host::Host;
use tempfile::TempDir;

use crate::clouds;
use crate::crms::Kind;
use crate::dice::Dice;
use crate::laws::{self, Seen};
use crate::people;
use crate::premises::{config_text, listen, template, workplace, write_mappings};
use crate::process::{End, Shared, Start, config, lock, run};
use crate::weather::Families;
use crate::world::World;

const ROUNDS: usize = 8;
/// Least human edits of a history.
const EDITS: usize = 100;
/// Seconds before each run once it is calm: past the settle horizon, past all retries of a day, and once more.
const CALM: [i64; 7] = [300, 300, 7_200, 93_600, 93_600, 300, 300];

/// What a history is made under.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub(crate) families: Families,
    pub(crate) ablation: Ablation,
    pub(crate) keeps_trace: bool,
    /// Over real sockets, as a check of the wire that stands in for them.
    pub(crate) over_sockets: bool,
}

impl Setting {
    /// The whole program under these faults.
    pub(crate) fn of(families: Families) -> Self {
        Self { families, ablation: Ablation::default(), keeps_trace: false, over_sockets: false }
    }
}

/// What is switched off.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ablation {
    pub(crate) safety: Safety,
    pub(crate) settle: Option<i64>,
    pub(crate) overlap: Option<i64>,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) seed: u64,
    pub(crate) hash: String,
    pub(crate) violations: Vec<Violation>,
    pub(crate) edits: usize,
    pub(crate) in_window: usize,
    pub(crate) calls: u64,
    pub(crate) runs: usize,
    pub(crate) deaths: usize,
    pub(crate) trace: Vec<String>,
}

pub(crate) struct History {
    _hosts: Vec<Host>,
    pub(crate) world: Shared,
    pub(crate) folder: TempDir,
    pub(crate) config: Arc<Config>,
    dice: Dice,
    setting: Setting,
    runs: usize,
    deaths: usize,
    /// Length of a whole run in moments, as far as known.
    length: u64,
}

/// Lives one history through.
pub(crate) async fn live(seed: u64, setting: &Setting) -> Verdict {
    let mut history = History::start(seed, setting).await;
    history.open_for_business().await;
    for round in 0.. {
        let made = lock(&history.world).ledger.edits_made;
        if round >= ROUNDS && made >= EDITS || history.is_broken() {
            break;
        }
        history.round().await;
    }
    if !history.is_broken() {
        history.calm_down().await;
    }
    let mut world = lock(&history.world);
    Verdict {
        seed,
        hash: world.trace.hash(),
        violations: std::mem::take(&mut world.ledger.violations),
        edits: world.ledger.edits_made,
        in_window: world.ledger.in_window,
        calls: world.calls,
        runs: history.runs,
        deaths: history.deaths,
        trace: world.trace.take(),
    }
}

impl History {
    async fn start(seed: u64, setting: &Setting) -> Self {
        let world = World::new(seed, setting.families.clone(), setting.keeps_trace);
        let mut dice = Dice::new(seed, "history");
        let folder = workplace();
        let mappings = folder.path().join("mappings");
        std::fs::create_dir(&mappings).unwrap();
        write_mappings(&mappings, &mut dice, &world.families);
        std::fs::copy(template().await, folder.path().join("store.db")).unwrap();
        let world = Arc::new(Mutex::new(world));
        let setting = setting.clone();
        let hosts = if setting.over_sockets { listen(&world).await } else { Vec::new() };
        let text = config_text(&lock(&world), folder.path(), "store.db");
        let config = Arc::new(config(folder.path(), &text));
        Self {
            _hosts: hosts,
            world,
            folder,
            config,
            dice,
            setting,
            runs: 0,
            deaths: 0,
            length: 400,
        }
    }

    fn is_broken(&self) -> bool {
        !lock(&self.world).ledger.violations.is_empty()
    }

    /// Companies that know some of each other's people, and their first sync.
    async fn open_for_business(&mut self) {
        {
            let mut world = lock(&self.world);
            for side in Side::BOTH {
                for kind in
                    [Kind::Account, Kind::Account, Kind::Contact, Kind::Contact, Kind::Contact]
                {
                    people::create(&mut world, side, kind);
                }
            }
            people::create_on_both(&mut world);
            people::create_on_both(&mut world);
        }
        self.run(true, Mode::Sync).await;
    }

    /// Some hours of work, and a run (or what is left of it).
    async fn round(&mut self) {
        self.people_work();
        clouds::gather(&mut lock(&self.world), &mut self.dice);
        let attended = self.dice.chance(700);
        let backup = self.backup_path();
        if self.has(14) && self.dice.chance(150) {
            std::fs::copy(self.store_path(), &backup).unwrap();
        }
        let mode = if self.has(14) && self.dice.chance(60) && backup.exists() {
            self.restore(&backup)
        } else {
            Mode::Sync
        };
        self.run(attended, mode).await;
        self.clear_some();
    }

    fn has(&self, family: u8) -> bool {
        self.setting.families.contains(&family)
    }

    fn people_work(&mut self) {
        let mut world = lock(&self.world);
        // A mass import: all within one second.
        let import = world.has(5) && self.dice.chance(200);
        for _ in 0..self.dice.between(5, 12) {
            if !import {
                let pause = self.dice.between(1, 90);
                world.pass(TimeDelta::seconds(pause));
            }
            people::act(&mut world);
        }
        let pause = self.dice.between(1, 900);
        world.pass(TimeDelta::seconds(pause));
    }

    /// Some of what was wrong is put right; the rest stays for the next run.
    fn clear_some(&mut self) {
        let mut world = lock(&self.world);
        world.bustle = 0;
        if self.dice.chance(600) {
            clouds::regain(&mut world);
        }
    }

    /// Puts the store back to an earlier copy; a person who knows of it may ask for a resync.
    fn restore(&mut self, backup: &Path) -> Mode {
        for name in ["store.db-wal", "store.db-shm"] {
            let _ = std::fs::remove_file(self.folder.path().join(name));
        }
        std::fs::copy(backup, self.store_path()).unwrap();
        let mut world = lock(&self.world);
        world.ledger.restored();
        world.ledger.overwrites.clear();
        let resync = self.dice.chance(500);
        world.note(|| format!("the store is put back to an earlier copy; resync: {resync}"));
        if resync { Mode::Resync } else { Mode::Sync }
    }

    /// Runs the program; it may die, and be started again.
    async fn run(&mut self, attended: bool, mode: Mode) {
        let crashes = self.runs > 0 && self.has(1);
        let deaths = if crashes && self.dice.chance(400) { self.dice.between(1, 3) } else { 0 };
        for left in (0..=deaths).rev() {
            let last = usize::try_from(self.length.max(20)).unwrap();
            let dies_at = (left > 0).then(|| self.dice.below(last) as u64 + 1);
            let alone = self.setting.over_sockets;
            let intruder = (crashes && !alone && dies_at.is_none() && self.dice.chance(150))
                .then(|| (self.dice.below(25) as u64, *self.dice.pick(&[0, 65])));
            let start = Start { dies_at, attended, mode, intruder, ..self.calm_start() };
            let end = self.run_once(start, false).await;
            if !matches!(end, End::Died) {
                return;
            }
            self.deaths += 1;
            let pause = *self.dice.pick(&[1, 61, 130, 400]);
            lock(&self.world).pass(TimeDelta::seconds(pause));
        }
    }

    fn calm_start(&mut self) -> Start {
        let ablation = self.setting.ablation;
        Start {
            dies_at: None,
            attended: true,
            mode: Mode::Sync,
            safety: ablation.safety,
            order: *self.dice.pick(&[Order::LeftFirst, Order::RightFirst]),
            settle: ablation.settle,
            overlap: ablation.overlap,
            intruder: None,
            over_sockets: self.setting.over_sockets,
        }
    }

    async fn run_once(&mut self, start: Start, is_calm: bool) -> End {
        let (attended, has_intruder) = (start.attended, start.intruder.is_some());
        self.runs += 1;
        {
            let mut world = lock(&self.world);
            let run = self.runs;
            world.ledger.run_starts();
            world.note(|| format!("run {run}: {}", start.told()));
        }
        let end = run(&self.world, &self.config, start).await;
        let mut world = lock(&self.world);
        let told = told(&end);
        world.note(|| format!("run ends: {told}"));
        match &end {
            End::Done(report) => {
                for row in &report.rows {
                    world.note(|| laws::told(row));
                }
                world.ledger.remembered();
                self.length = world.moments;
            }
            End::Failed(error) => {
                let leased = matches!(
                    error,
                    ServiceError::Store(StoreError::Leased { .. } | StoreError::LeaseLost(_))
                );
                if matches!(error, ServiceError::Store(_)) && !leased {
                    world.ledger.broken("F14", format!("the store fails: {error}"));
                } else if is_calm {
                    world.ledger.broken("I1", format!("a run fails in calm weather: {error}"));
                }
            }
            End::Died => {}
        }
        if !attended && !has_intruder {
            // 5 % of few links: the cap is three.
            let over = world.ledger.deleted_in_run.iter().find(|(_, count)| **count > 3);
            if let Some(((side, kind), count)) = over.map(|(key, count)| (*key, *count)) {
                world.ledger.broken("I8", format!("{count} {kind:?} on {side} went unapproved"));
            }
        }
        end
    }

    /// Nobody works, nothing fails; time passes and the program runs until it has nothing left to do.
    async fn calm_down(&mut self) {
        {
            let mut world = lock(&self.world);
            (world.storm, world.bustle, world.page) = (0, 0, 500);
            clouds::regain(&mut world);
            people::look_again(&mut world, Side::Left, Kind::Account);
            world.crms.zoho.clear_automations();
            world.crms.pipedrive.commit_late(0, 0, TimeDelta::zero());
            world.automated = false;
            world.note(|| "calm".to_owned());
        }
        self.come_to_rest(&CALM, Seen::Changes).await;
        if self.is_broken() {
            return;
        }
        let start = Start { mode: Mode::Full, ..self.calm_start() };
        self.run_once(start, true).await;
        self.come_to_rest(&CALM[3..], Seen::Everything).await;
    }

    /// Runs until nothing is left to do, then looks.
    async fn come_to_rest(&mut self, pauses: &[i64], seen: Seen) {
        let mut quiet = 0;
        for pause in pauses {
            lock(&self.world).pass(TimeDelta::seconds(*pause));
            let before = written(&self.world);
            let start = self.calm_start();
            self.run_once(start, true).await;
            quiet = if written(&self.world) == before { quiet + 1 } else { 0 };
            if self.is_broken() {
                return;
            }
        }
        if quiet < 2 {
            let text = format!("after {} calm runs it still writes", pauses.len());
            lock(&self.world).ledger.broken("I2", text);
        }
        laws::check(self, seen).await;
    }

    pub(crate) fn store_path(&self) -> PathBuf {
        self.folder.path().join("store.db")
    }

    fn backup_path(&self) -> PathBuf {
        self.folder.path().join("backup.db")
    }

    /// The same configuration, but for the store.
    pub(crate) fn config_on(&self, store: &str) -> Arc<Config> {
        let text = config_text(&lock(&self.world), self.folder.path(), store);
        Arc::new(config(self.folder.path(), &text))
    }
}

/// Records that both servers counted as written by calls.
fn written(world: &Shared) -> u64 {
    let world = lock(world);
    let services = world.crms.services();
    Side::BOTH.iter().map(|side| services[*side].traffic().written()).sum()
}

fn told(end: &End) -> String {
    match end {
        End::Done(report) => format!(
            "exit {:?}, {} written, {} failed, {} stale, {} skipped, {} in doubt, {} rows open",
            report.exit,
            report.tally.written(),
            report.tally.failed,
            report.tally.stale,
            report.tally.skipped,
            report.tally.in_doubt,
            report.open_rows
        ),
        End::Failed(error) => error.to_string(),
        End::Died => "killed".into(),
    }
}
