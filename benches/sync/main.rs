//! Speed, calls, credits and memory of whole runs: the real program as a child process, both simulators with
//! limits off in this one.
//!
//! `cargo bench --bench sync -- [CONTACTS [ACCOUNTS]]`, 100,000 and 20,000 unless told. Prints a table; the
//! figures belong into docs/benchmarks.md with the command and the machine.

#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crmsync::sandbox::companies::{Size, seed_large};
use crmsync::sandbox::{Ports, Sandbox};
use crmsync_simulator::clock::Clock;
use crmsync_simulator::traffic::Entry;
use serde_json::{Value, json};
use tempfile::TempDir;

mod planner;

const OVERLAP_PERCENT: usize = 80;
/// Thirty-two zeros: with a key the access token is kept from one process to the next.
const STORE_KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(at) = arguments.iter().position(|argument| argument == "--planner") {
        let folder = arguments.get(at + 1).expect("--planner takes a folder");
        return planner::child(Path::new(folder));
    }
    let mut sizes = std::env::args().skip(1).filter_map(|argument| argument.parse().ok());
    let contacts = sizes.next().unwrap_or(100_000);
    let accounts = sizes.next().unwrap_or(contacts / 5);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(run(Size { accounts, contacts, overlap_percent: OVERLAP_PERCENT }));
}

struct Bench {
    sandbox: Sandbox,
    folder: TempDir,
    clock: Clock,
}

/// What one run of the program came to.
struct Measured {
    wall: Duration,
    server: Duration,
    peak_kb: u64,
    calls: u64,
    /// Calls that the writes made, with the reads before and after them, could not do without.
    least_for_writes: usize,
    cost: [u64; 2],
    exit: i32,
}

/// Sign-in and metadata of a first run: token, modules, fields of two modules, users in two pages, organization;
/// users, the token's user and the fields of two modules on the other side.
const SETUP: usize = 11;

async fn run(size: Size) {
    let clock = Clock::running(chrono::TimeDelta::zero());
    let sandbox = Sandbox::start(&clock, 7, Ports::default()).await.expect("two free ports");
    let folder = TempDir::new().expect("a temporary folder");
    seed_large(&sandbox.zoho, &sandbox.pipedrive, size);
    write_config(&sandbox, folder.path());
    let bench = Bench { sandbox, folder, clock };
    // Nobody starts with companies that were typed in within the last five minutes.
    bench.pass_overlap();

    println!(
        "{} contacts and {} accounts a side, {OVERLAP_PERCENT} % of them on both",
        size.contacts, size.accounts
    );
    println!(
        "{:<34} {:>8} {:>8} {:>10} {:>9} {:>7} {:>7} {:>6} {:>9} {:>9} {:>4}",
        "run",
        "wall s",
        "server s",
        "records/s",
        "peak MB",
        "calls",
        "least",
        "ratio",
        "credits",
        "tokens",
        "exit"
    );
    let records = 2 * (size.contacts + size.accounts);
    let modules = 2;

    // Every listing whole, and what changed meanwhile once a module and side.
    let whole = size.accounts.div_ceil(200)
        + size.contacts.div_ceil(200)
        + size.accounts.div_ceil(500)
        + size.contacts.div_ceil(500);
    let first = bench.sync();
    print("first sync", &first, records, whole + 2 * modules + SETUP);
    bench.pass_overlap();
    bench.sync();
    bench.pass_overlap();
    print("idle run", &bench.sync(), records, 4 * modules);
    for (name, changes, conflicts) in
        [("1,000 changes", 1_000, 0), ("13,200 changes, 200 of them conflicts", 13_200, 200)]
    {
        let changes = changes.min(size.contacts / 3);
        let a_side = bench.edit(changes, conflicts.min(changes / 10));
        // One list a module and side, of as many pages as rows changed, and a deleted feed each.
        let lists = 2 + a_side.div_ceil(200) + a_side.div_ceil(500) + 2 * modules;
        print(name, &bench.sync(), changes, lists);
        bench.pass_overlap();
        bench.sync();
        bench.pass_overlap();
        bench.sync();
    }
    planner::measure(10 * size.contacts).await;
}

impl Bench {
    /// Runs `crmsync sync` to its end.
    fn sync(&self) -> Measured {
        for (_, traffic) in self.sandbox.traffic() {
            traffic.reset();
        }
        let start = Instant::now();
        let mut child = Command::new(env!("CARGO_BIN_EXE_crmsync"))
            .current_dir(self.folder.path())
            .args(["sync", "--quiet", "--approve", "auto"])
            .env("CRMSYNC_KEY", STORE_KEY)
            .stdout(Stdio::null())
            .spawn()
            .expect("the program starts");
        let mut peak_kb = 0;
        while child.try_wait().expect("a child of ours").is_none() {
            peak_kb = peak_kb.max(peak_memory_kb(child.id()));
            std::thread::sleep(Duration::from_millis(2));
        }
        let wall = start.elapsed();
        let exit = child.wait().expect("a child of ours").code().unwrap_or(-1);
        assert!(matches!(exit, 0 | 1), "the run ended with {exit}");
        let [(_, zoho), (_, pipedrive)] = self.sandbox.traffic();
        if std::env::var_os("BENCH_ROUTES").is_some() {
            println!("{:#?}\n{:#?}", zoho.by_route(), pipedrive.by_route());
        }
        Measured {
            wall,
            server: zoho.busy() + pipedrive.busy(),
            peak_kb,
            calls: zoho.calls() + pipedrive.calls(),
            least_for_writes: least_for_writes(&zoho.entries(), &pipedrive.entries()),
            cost: [zoho.cost(), pipedrive.cost()],
            exit,
        }
    }

    /// People edit: half on each side, and `conflicts` contacts on both. Answers how many each side edited.
    fn edit(&self, changes: usize, conflicts: usize) -> usize {
        let contacts = self.sandbox.zoho.all("Contacts");
        let persons = self.sandbox.pipedrive.all("persons");
        let half = (changes - 2 * conflicts) / 2;
        // Seven digits, others each time and for each person.
        let first = self.clock.now().timestamp() % 1_000 * 10_000;
        for (number, contact) in (first..).zip(contacts.iter().take(half + conflicts)) {
            let id = contact["id"].as_str().and_then(|id| id.parse().ok()).expect("a numeric id");
            let phone = format!("+49 30 {number:07}");
            self.sandbox.zoho.edit("Contacts", id, json!({ "Phone": phone }));
        }
        let names: std::collections::BTreeSet<_> = contacts
            .iter()
            .skip(half)
            .take(conflicts)
            .filter_map(|contact| contact["Email"].as_str())
            .collect();
        let email = |person: &Value| {
            person["emails"][0]["value"].as_str().map(str::to_owned).unwrap_or_default()
        };
        let both = persons.iter().filter(|person| names.contains(email(person).as_str()));
        let others = persons
            .iter()
            .rev()
            .filter(|person| !names.contains(email(person).as_str()))
            .take(half);
        for (number, person) in (first..).zip(both.chain(others)) {
            let id = person["id"].as_i64().expect("a numeric id");
            let phone = format!("+49 40 {number:07}");
            let phones = json!([{ "value": phone, "primary": true, "label": "work" }]);
            self.sandbox.pipedrive.edit("persons", id, json!({ "phones": phones }));
        }
        half + conflicts
    }

    /// Lets the read overlap pass, so that the next run meets no row of the last one.
    fn pass_overlap(&self) {
        self.clock.advance(chrono::TimeDelta::seconds(400));
    }
}

/// High-water mark of a process's resident memory, as Linux counts it; 0 elsewhere.
fn peak_memory_kb(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse().ok()).unwrap_or(0)
}

/// Pipedrive writes record by record and answers with the record; Zoho writes, and reads back, a hundred at once.
/// Updates are read again before they are made, a hundred at once on both sides.
fn least_for_writes(zoho: &[Entry], pipedrive: &[Entry]) -> usize {
    let written = |entries: &[Entry], method: &str| -> usize {
        let of_method = entries.iter().filter(|entry| entry.method == method);
        of_method.map(|entry| entry.written).sum()
    };
    let (inserts, updates) = (written(zoho, "POST"), written(zoho, "PUT"));
    let (posts, patches) = (written(pipedrive, "POST"), written(pipedrive, "PATCH"));
    2 * inserts.div_ceil(100) + 3 * updates.div_ceil(100) + posts + patches + patches.div_ceil(100)
}

fn print(name: &str, measured: &Measured, records: usize, least: usize) {
    let wall = measured.wall.as_secs_f64();
    let peak = measured.peak_kb / 1024;
    let least = least + measured.least_for_writes;
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    let (rate, ratio) = (records as f64 / wall, measured.calls as f64 / least.max(1) as f64);
    println!(
        "{name:<34} {wall:>8.2} {:>8.2} {rate:>10.0} {peak:>9} {:>7} {least:>7} {ratio:>6.3} {:>9} {:>9} {:>4}",
        measured.server.as_secs_f64(),
        measured.calls,
        measured.cost[0],
        measured.cost[1],
        measured.exit,
    );
}

fn write_config(sandbox: &Sandbox, folder: &Path) {
    let mappings = folder.join("mappings");
    copy_mappings(&mappings);
    let text = sandbox.config("sqlite://store.db", &mappings);
    std::fs::write(folder.join("crmsync.toml"), text).expect("a writable folder");
}

fn copy_mappings(to: &Path) {
    std::fs::create_dir_all(to).expect("a writable folder");
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("mappings/zoho-pipedrive");
    for name in ["account.toml", "contact.toml"] {
        std::fs::copy(shipped.join(name), to.join(name)).expect("the shipped mapping");
    }
}
