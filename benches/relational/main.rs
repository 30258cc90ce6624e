//! Speed and memory of what has to do with databases: the real program as a child process, a server of canned pages
//! in this one.
//!
//! `cargo bench --bench relational -- [DEALS]`, 1,000,000 unless told. PostgreSQL at `CRMSYNC_TEST_POSTGRES`, else on
//! this machine; left out where there is none. Prints a table; the figures belong into docs/benchmarks.md with the
//! command and the machine.

#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crmsync::sandbox::{Ports, Sandbox};
use crmsync_simulator::clock::Clock;
use crmsync_simulator::fault::Faults;
use crmsync_simulator::host::{Call, Host, Reply, Service};
use crmsync_simulator::pipedrive::Pipedrive;
use crmsync_simulator::traffic::Traffic;
use sea_orm::ConnectionTrait as _;
use tempfile::TempDir;

const PAGE: i64 = 500;

fn main() {
    let deals = std::env::args().skip(1).find_map(|argument| argument.parse().ok());
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(run(deals.unwrap_or(1_000_000)));
}

/// A company with as many deals as wished; everything else is the simulator's.
struct Canned {
    inner: Arc<Pipedrive>,
    deals: i64,
    /// Deals from here on count as changed just now.
    changed_from: AtomicI64,
    calls: AtomicU64,
    busy: AtomicU64,
}

impl Service for Canned {
    fn answer(&self, call: &Call) -> Reply {
        if call.method != "GET" || !call.path.starts_with("/api/v2/deals") || call.path.len() > 22 {
            return self.inner.answer(call);
        }
        let start = Instant::now();
        let reply = self.page(call);
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.busy
            .fetch_add(u64::try_from(start.elapsed().as_micros()).unwrap_or(0), Ordering::Relaxed);
        reply
    }

    fn now(&self) -> chrono::DateTime<chrono::Utc> {
        self.inner.now()
    }

    fn faults(&self) -> &Faults {
        self.inner.faults()
    }

    fn traffic(&self) -> &Traffic {
        self.inner.traffic()
    }
}

impl Canned {
    fn page(&self, call: &Call) -> Reply {
        if call.path.ends_with("/archived") || call.query("status") == Some("deleted") {
            return json(
                "{\"success\":true,\"data\":[],\"additional_data\":{\"next_cursor\":null}}".into(),
            );
        }
        let first = match call.query("updated_since") {
            Some(_) => self.changed_from.load(Ordering::Relaxed),
            None => 1,
        };
        let from = call.query("cursor").and_then(|cursor| cursor.parse().ok()).unwrap_or(first);
        let to = (from + PAGE).min(self.deals + 1);
        let mut body = String::with_capacity(600_000);
        body.push_str("{\"success\":true,\"data\":[");
        for id in from..to {
            if id > from {
                body.push(',');
            }
            push_deal(&mut body, id);
        }
        let next = if to > self.deals { "null".to_owned() } else { format!("\"{to}\"") };
        body.push_str("],\"additional_data\":{\"next_cursor\":");
        body.push_str(&next);
        body.push_str("}}");
        json(body)
    }
}

fn json(body: String) -> Reply {
    let mut reply = Reply::json(200, &serde_json::Value::Null);
    reply.body = body.into();
    reply
}

/// A deal as API v2 answers it.
fn push_deal(body: &mut String, id: i64) {
    use std::fmt::Write as _;
    let (owner, person, stage) = (id % 17 + 1, id % 300_000 + 1, id % 5 + 1);
    let (day, cents) = (id % 28 + 1, id % 100);
    let _ = write!(
        body,
        "{{\"id\":{id},\"title\":\"Deal number {id}\",\"creator_user_id\":{owner},\"owner_id\":{owner},\
         \"value\":{id}.{cents:02},\"person_id\":{person},\"org_id\":{person},\"stage_id\":{stage},\"pipeline_id\":1,\
         \"currency\":\"EUR\",\"archive_time\":null,\"add_time\":\"2025-03-{day:02}T09:10:11Z\",\
         \"update_time\":\"2025-10-{day:02}T09:10:11Z\",\"stage_change_time\":\"2025-09-{day:02}T09:10:11Z\",\
         \"status\":\"open\",\"is_archived\":false,\"is_deleted\":false,\"probability\":null,\"lost_reason\":null,\
         \"visible_to\":3,\"close_time\":null,\"won_time\":null,\"lost_time\":null,\
         \"local_won_date\":null,\"local_lost_date\":null,\"local_close_date\":null,\
         \"expected_close_date\":\"2026-01-{day:02}\",\"label_ids\":[],\"origin\":\"ManuallyCreated\",\"origin_id\":null,\
         \"channel\":null,\"channel_id\":null,\"acv\":null,\"arr\":null,\"mrr\":null,\"custom_fields\":{{}}}}"
    );
}

struct Measured {
    wall: Duration,
    waited: Duration,
    peak_kb: u64,
    calls: u64,
}

async fn run(deals: i64) {
    let clock = Clock::running(chrono::TimeDelta::zero());
    let sandbox = Sandbox::start(&clock, 7, Ports::default()).await.expect("two free ports");
    let canned = Arc::new(Canned {
        inner: Arc::clone(&sandbox.pipedrive),
        deals,
        changed_from: AtomicI64::new(1),
        calls: AtomicU64::new(0),
        busy: AtomicU64::new(0),
    });
    let host = Host::start(Arc::clone(&canned) as Arc<dyn Service>, 0).await.expect("a free port");
    println!("{deals} Pipedrive deals");
    println!(
        "{:<40} {:>8} {:>10} {:>8} {:>7} {:>9}",
        "run", "wall s", "rows/s", "peak MB", "calls", "server %"
    );
    let folder = TempDir::new().expect("a temporary folder");
    let sqlite = format!("sqlite://{}", folder.path().join("warehouse.db").display());
    replicate(&sandbox, &host, &canned, "SQLite", &sqlite).await;
    if let Some(postgres) = postgres().await {
        replicate(&sandbox, &host, &canned, "PostgreSQL", &postgres).await;
    } else {
        println!("no PostgreSQL");
    }
}

/// A database of its own, made anew.
async fn postgres() -> Option<String> {
    let url = std::env::var("CRMSYNC_TEST_POSTGRES")
        .unwrap_or_else(|_| "postgres://postgres@127.0.0.1:5432/test".into());
    let admin = sea_orm::Database::connect(&url).await.ok()?;
    for sql in
        ["DROP DATABASE IF EXISTS crmsync_bench WITH (FORCE)", "CREATE DATABASE crmsync_bench"]
    {
        admin.execute_unprepared(sql).await.ok()?;
    }
    let (base, _) = url.rsplit_once('/')?;
    Some(format!("{base}/crmsync_bench"))
}

async fn replicate(sandbox: &Sandbox, host: &Host, canned: &Canned, name: &str, warehouse: &str) {
    let folder = TempDir::new().expect("a temporary folder");
    let mappings = Path::new(env!("CARGO_MANIFEST_DIR")).join("mappings/zoho-pipedrive");
    let text = sandbox
        .config("sqlite://store.db", &mappings)
        .replace(&sandbox.pipedrive_url(), &host.url())
        + &format!(
            "[connections.warehouse]\ntype = \"sql\"\nurl = \"{warehouse}\"\n\
             [replications.deals]\nfrom = \"pipedrive\"\nto = \"warehouse\"\nstreams = [\"deals\"]\n"
        );
    std::fs::write(folder.path().join("crmsync.toml"), text).expect("a writable folder");
    canned.changed_from.store(canned.deals + 1, Ordering::Relaxed);
    print(&format!("first load into {name}"), canned.deals, &child(folder.path(), canned));
    canned.changed_from.store(canned.deals - 999, Ordering::Relaxed);
    print(&format!("1,000 changes into {name}"), 1_000, &child(folder.path(), canned));
    canned.changed_from.store(canned.deals + 1, Ordering::Relaxed);
    print(&format!("nothing new for {name}"), 0, &child(folder.path(), canned));
    tokio::task::yield_now().await;
}

fn child(folder: &Path, canned: &Canned) -> Measured {
    let (calls, busy) = (canned.calls.load(Ordering::Relaxed), canned.busy.load(Ordering::Relaxed));
    let start = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_crmsync"))
        .current_dir(folder)
        .args(["replicate", "--quiet"])
        .stdout(Stdio::null())
        .spawn()
        .expect("the program starts");
    let mut peak_kb = 0;
    while child.try_wait().expect("a child of ours").is_none() {
        peak_kb = peak_kb.max(peak_memory_kb(child.id()));
        std::thread::sleep(Duration::from_millis(2));
    }
    let wall = start.elapsed();
    let exit = child.wait().expect("a child of ours").code();
    assert_eq!(exit, Some(0), "the copy ended with {exit:?}");
    Measured {
        wall,
        waited: Duration::from_micros(canned.busy.load(Ordering::Relaxed) - busy),
        peak_kb,
        calls: canned.calls.load(Ordering::Relaxed) - calls,
    }
}

/// High-water mark of a process's resident memory, as Linux counts it; 0 elsewhere.
fn peak_memory_kb(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse().ok()).unwrap_or(0)
}

fn print(name: &str, rows: i64, measured: &Measured) {
    let wall = measured.wall.as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    let rate = rows as f64 / wall;
    let share = 100.0 * measured.waited.as_secs_f64() / wall;
    println!(
        "{name:<40} {wall:>8.2} {rate:>10.0} {:>8} {:>7} {share:>8.0}%",
        measured.peak_kb / 1024,
        measured.calls,
    );
}
