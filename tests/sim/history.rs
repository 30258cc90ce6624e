//! One history: a company at work in every weather, then calm, then all laws.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use chrono::TimeDelta;
use crmsync::clock::Order;
use crmsync::config::Config;
use crmsync::sandbox;
use crmsync::service::run::Safety;
use crmsync::service::{Mode, ServiceError};
use crmsync::store::{Store, StoreError};
use crmsync_core::invariants::Violation;
use crmsync_core::model::Side;
use crmsync_simulator::host::Host;
use crmsync_simulator::pipedrive::Loss;
use crmsync_simulator::zoho::{Access, Automation, Limits};
use futures_util::FutureExt as _;
use tempfile::TempDir;

use crate::crms::{Kind, Who};
use crate::dice::Dice;
use crate::laws::{self, Seen};
use crate::ledger::AUTOMATED;
use crate::people;
use crate::process::{End, Shared, Start, config, lock, run};
use crate::weather::Families;
use crate::world::{Met, World};

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
        self.gather_clouds();
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

    fn gather_clouds(&mut self) {
        let dice = &mut self.dice;
        let mut world = lock(&self.world);
        world.storm = if dice.chance(750) { *dice.pick(&[20, 60, 150]) } else { 0 };
        world.bustle = if world.has(9) { *dice.pick(&[0, 20, 60, 150]) } else { 0 };
        world.page = if world.has(5) { *dice.pick(&[2, 3, 5, 500]) } else { 500 };
        if world.has(7) && dice.chance(300) {
            let whose = *dice.pick(&[None, Some(Side::Left), Some(Side::Right)]);
            // Together with late rows still within the overlap, as A2 and A4 promise; and back only once.
            let by = dice.between(-200, 200);
            let by = if world.stepped_back.contains(&whose) { by.abs() } else { by };
            if by < 0 {
                world.stepped_back.push(whose);
            }
            world.clocks.step(whose, TimeDelta::seconds(by));
            world.ledger.forget_doubts();
            world.note(|| format!("the clock of {whose:?} steps by {by} s"));
        }
        if world.has(8) {
            rights_change(&mut world, dice);
        }
        if world.has(10) && !world.automated && dice.chance(80) {
            automate(&mut world, dice);
        }
        if world.has(11) && dice.chance(200) {
            servers_refuse(&mut world, dice);
        }
        if world.has(12) && dice.chance(100) {
            world.note(|| "administrators shorten a field".to_owned());
            world.short_phones = true;
            world.crms.zoho.change_field("Contacts", "Phone", |field| field.length = 8);
        }
        if world.has(13) && dice.chance(100) {
            budgets_shrink(&mut world, dice);
        }
        if world.has(4) && dice.chance(300) {
            let (seed, by) = (dice.below(1_000), dice.between(1, 55));
            world.crms.pipedrive.commit_late(seed as u64, 200, TimeDelta::seconds(by));
        }
    }

    /// Some of what was wrong is put right; the rest stays for the next run.
    fn clear_some(&mut self) {
        let mut world = lock(&self.world);
        world.bustle = 0;
        if self.dice.chance(600) {
            regain(&mut world);
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
            regain(&mut world);
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

/// Lets both servers listen on loopback.
async fn listen(world: &Shared) -> Vec<Host> {
    let mut hosts = Vec::new();
    for side in Side::BOTH {
        let there = Arc::clone(world);
        let answer = move |call| {
            let reply = match lock(&there).serve(side, call) {
                Met::Answered(reply) => Some(reply),
                Met::Lost | Met::Unsent => None,
            };
            std::future::ready(reply).boxed()
        };
        let host = Host::serve(Arc::new(answer), 0).await.unwrap();
        lock(world).addresses[side] = host.url();
        hosts.push(host);
    }
    hosts
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

/// F8: tokens expire, rights go.
fn rights_change(world: &mut World, dice: &mut Dice) {
    if dice.chance(200) {
        world.note(|| "Zoho's access tokens expire".to_owned());
        world.crms.zoho.expire_access_tokens();
    }
    if dice.chance(120) {
        let access = *dice.pick(&[Access::Forbidden, Access::Unseen]);
        world.note(|| format!("Contacts are {access:?}"));
        world.crms.zoho.set_access("Contacts", access);
    }
    if dice.chance(120) {
        let loss = *dice.pick(&[Loss::Rows, Loss::Forbidden]);
        world.note(|| format!("persons lose {loss:?}"));
        world.crms.pipedrive.lose("persons", loss);
    }
}

/// F10: a workflow of Zoho's marks names of accounts, at once or later.
fn automate(world: &mut World, dice: &mut Dice) {
    let delay = *dice.pick(&[0, 0, 40]);
    world.note(|| format!("a workflow rewrites account names {delay} s after each write"));
    world.automated = true;
    world.crms.zoho.delay_automations(TimeDelta::seconds(delay));
    let mark = |value: &serde_json::Value| match value.as_str() {
        Some(text) if !text.ends_with(AUTOMATED) => format!("{text}{AUTOMATED}").into(),
        Some(_) | None => value.clone(),
    };
    let rewrite = Automation::Rewrite(Arc::new(mark));
    world.crms.zoho.automation("Accounts", "Account_Name", rewrite);
}

/// F11: locks, and texts that are cut without a word.
fn servers_refuse(world: &mut World, dice: &mut Dice) {
    let side = *dice.pick(&Side::BOTH);
    if dice.chance(200) {
        world.note(|| "Pipedrive cuts websites".to_owned());
        world.ledger.truncates = true;
        world.crms.pipedrive.truncate_field("organizations", "website", 12);
        return;
    }
    let all = world.ledger.of_kind(side, Kind::Contact);
    if all.is_empty() {
        return;
    }
    let Who { id, .. } = dice.pick(&all).clone();
    world.note(|| format!("{side} {id} is locked"));
    match side {
        Side::Left => world.crms.zoho.lock("Contacts", id.parse().unwrap()),
        Side::Right => world.crms.pipedrive.lock("persons", id.parse().unwrap()),
    }
    world.locked.push((side, id));
}

/// F13: little is left of the day's budget.
fn budgets_shrink(world: &mut World, dice: &mut Dice) {
    let left = dice.below(60) as u64;
    world.note(|| format!("{left} units of budget are left"));
    if dice.chance(500) {
        let used = world.crms.zoho.credits_used();
        world.crms.zoho.set_limits(Limits::Credits(used + left));
    } else {
        world.crms.pipedrive.limit(|limits| limits.on = true);
        world.crms.pipedrive.drain_budget(left);
    }
}

/// Rights, budgets, locks and lengths are as they were.
fn regain(world: &mut World) {
    let crms = world.crms.clone();
    crms.zoho.set_access("Contacts", Access::Full);
    crms.zoho.set_limits(Limits::Off);
    world.short_phones = false;
    crms.zoho.change_field("Contacts", "Phone", |field| field.length = 50);
    crms.pipedrive.limit(|limits| limits.on = false);
    crms.pipedrive.clear_rules();
    for (side, id) in std::mem::take(&mut world.locked) {
        if side == Side::Left {
            crms.zoho.unlock("Contacts", id.parse().unwrap());
        }
    }
}

/// A folder in memory where there is one: every commit of the store waits for its disk.
fn workplace() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { TempDir::new_in(memory).unwrap() } else { TempDir::new().unwrap() }
}

/// An empty store, made once.
async fn template() -> PathBuf {
    static MADE: tokio::sync::OnceCell<(TempDir, PathBuf)> = tokio::sync::OnceCell::const_new();
    let made = MADE.get_or_init(|| async {
        let folder = workplace();
        let path = folder.path().join("empty.db");
        let store = Store::open(&format!("sqlite://{}", path.display())).await.unwrap();
        store.close().await.unwrap();
        (folder, path)
    });
    made.await.1.clone()
}

fn config_text(world: &World, folder: &Path, store: &str) -> String {
    sandbox::config(
        &world.crms.zoho,
        &world.crms.pipedrive,
        [&world.addresses.left, &world.addresses.right],
        &format!("sqlite://{}", folder.join(store).display()),
        &folder.join("mappings"),
    )
}

/// Accounts and contacts as shipped, under policies that differ from history to history.
fn write_mappings(folder: &Path, dice: &mut Dice, families: &Families) {
    let policies = ["newest", "newest", "queue", "prefer-left", "prefer-right"];
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("mappings/zoho-pipedrive");
    for name in ["account.toml", "contact.toml"] {
        let mut text = std::fs::read_to_string(shipped.join(name)).unwrap();
        let policy = dice.pick(&policies);
        let deletes = dice.pick(&["keep", "propagate", "propagate"]);
        let mode = if families.contains(&3) { *dice.pick(&["auto", "batch"]) } else { "auto" };
        text = text.replacen("[match]", &format!("write-mode = \"{mode}\"\n\n[match]"), 1);
        text.push_str(&format!(
            "\n[conflicts]\npolicy = \"{policy}\"\n\n[deletes]\nto-left = \"{deletes}\"\nto-right = \"{deletes}\"\n"
        ));
        std::fs::write(folder.join(name), text).unwrap();
    }
}
