//! What people and other systems wait for: pages over a full store, and a change's way from one CRM to the other by
//! webhooks. Both simulators and the service in one process, over loopback.
//!
//! `cargo bench --bench serving -- [LINKS [CONFLICTS [SECONDS]]]`: 1,000,000 links, 100,000 conflicts and 30 s of 20
//! changes a second unless told. The figures belong into docs/benchmarks.md with the command and the machine.

#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use crmsync::clock::{Ambient, Clock, Ids, Order, Wire};
use crmsync::config::{Config, Environment};
use crmsync::sandbox::{Ports, Sandbox};
use crmsync::service::people::{digest, new_token};
use crmsync::service::webhooks::Webhooks;
use crmsync::service::{RunOptions, Scheduler, Session, Silent, connect};
use crmsync::store::{ApiToken, Role};
use crmsync::web::{self, App};
use crmsync_simulator::clock::Clock as ServerClock;
use serde_json::json;
use sqlx::{Connection as _, SqliteConnection};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

const KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
const CHANGES_A_SECOND: u32 = 20;
/// A change that takes longer counts as lost.
const PATIENCE: Duration = Duration::from_secs(20);

fn main() {
    rustls::crypto::ring::default_provider().install_default().expect("nothing was installed");
    let mut numbers = std::env::args().skip(1).filter_map(|argument| argument.parse::<u64>().ok());
    let links = numbers.next().unwrap_or(1_000_000);
    let conflicts = numbers.next().unwrap_or(100_000);
    let seconds = numbers.next().unwrap_or(30);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        latency(seconds).await;
        pages(links, conflicts).await;
    });
}

struct Bench {
    sandbox: Sandbox,
    config: Config,
    ambient: Ambient,
    store: std::path::PathBuf,
    _folder: TempDir,
}

/// The service, listening.
struct Served {
    url: String,
    token: String,
    stop: CancellationToken,
}

impl Bench {
    async fn start() -> Self {
        let folder = TempDir::new().expect("a folder");
        let clock = ServerClock::running(TimeDelta::zero());
        let sandbox = Sandbox::start(&clock, 7, Ports::default()).await.expect("free ports");
        let store = folder.path().join("store.db");
        let mappings =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("mappings/zoho-pipedrive");
        let text = sandbox.config(&format!("sqlite://{}", store.display()), &mappings);
        let text = text.replace("{ env = \"CRMSYNC_KEY\" }", &format!("\"{KEY}\""))
            + "webhooks = true\nconflicts = \"queue\"\n";
        let file = folder.path().join("crmsync.toml");
        let config = Config::parse(&file, &text, &Environment::default()).expect("it parses");
        let count = std::sync::atomic::AtomicU64::new(0);
        let ids = Ids::new(move || {
            format!("id-{:06}", count.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
        });
        let ambient = Ambient {
            clock: Clock::new(move || clock.now()),
            ids,
            holder: "bench".into(),
            is_gone: |_| false,
            wire: Wire::Sockets,
            order: Order::Together,
        };
        Self { sandbox, config, ambient, store, _folder: folder }
    }

    async fn sync(&self) {
        let session =
            Session::open(&self.config, &"crm".into(), &self.ambient).await.expect("open");
        let options = RunOptions { ask: Some(Arc::new(|_| true)), ..RunOptions::default() };
        session.sync(&options, &Silent).await.expect("a run");
        session.close().await.expect("closed");
    }

    async fn serve(&self) -> Served {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let mut config = self.config.clone();
        config.serve.public_url = Some(url.clone());
        let store = connect::open_store(&config).await.expect("a store");
        let token = new_token(&[7; 32]);
        let kept = ApiToken {
            name: "bench".into(),
            role: Role::Operator,
            digest: digest(&token),
            created_at: self.ambient.clock.now(),
        };
        store.save_api_token(&kept).await.expect("kept");
        let scheduler = Scheduler::new(config, store, &self.ambient);
        let stop = CancellationToken::new();
        let webhooks = Webhooks::new(Arc::clone(&scheduler), || [9; 32]);
        let app = App::new(Arc::clone(&scheduler), Arc::clone(&webhooks), || [9; 32], stop.clone());
        tokio::spawn(scheduler.run(stop.clone()));
        tokio::spawn(webhooks.keep(stop.clone()));
        tokio::spawn(web::serve(app, listener));
        Served { url, token, stop }
    }
}

/// How long a change takes from one CRM to the other.
async fn latency(seconds: u64) {
    const CONTACTS: usize = 1_000;
    let mut bench = Bench::start().await;
    for at in 0..CONTACTS {
        let contact =
            json!({ "Last_Name": format!("Byron {at}"), "Email": format!("a{at}@example.com") });
        bench.sandbox.zoho.add("Contacts", contact);
    }
    bench.sync().await;
    bench.sandbox.deliver();
    let served = bench.serve().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let contacts: Vec<u64> = bench
        .sandbox
        .zoho
        .all("Contacts")
        .iter()
        .map(|row| row["id"].as_str().and_then(|id| id.parse().ok()).expect("an ID"))
        .collect();
    let persons: BTreeMap<String, i64> = bench
        .sandbox
        .pipedrive
        .all("persons")
        .iter()
        .map(|row| {
            let name = row["last_name"].as_str().unwrap_or_default().to_owned();
            (name, row["id"].as_i64().expect("an ID"))
        })
        .collect();
    for (_, traffic) in bench.sandbox.traffic() {
        traffic.reset();
    }
    let mut tick = tokio::time::interval(Duration::from_secs(1) / CHANGES_A_SECOND);
    let mut waiting: Vec<(Instant, usize, u64, i64, String)> = Vec::new();
    let mut took = Vec::new();
    let total = usize::try_from(seconds).unwrap_or(30) * CHANGES_A_SECOND as usize;
    let mut made = 0;
    let mut last = Instant::now();
    while made < total || (!waiting.is_empty() && last.elapsed() < PATIENCE) {
        tick.tick().await;
        if made < total {
            let contact = contacts[made % CONTACTS];
            let row = bench.sandbox.zoho.get("Contacts", contact).expect("it is there");
            let person = persons[row["Last_Name"].as_str().unwrap_or_default()];
            let first = format!("F{made}");
            if made % 2 == 0 {
                bench.sandbox.zoho.edit("Contacts", contact, json!({ "First_Name": first }));
            } else {
                bench.sandbox.pipedrive.edit("persons", person, json!({ "first_name": first }));
            }
            last = Instant::now();
            waiting.push((last, made, contact, person, first));
            made += 1;
        }
        waiting.retain(|(since, made, contact, person, first)| {
            let arrived = if made % 2 == 0 {
                bench
                    .sandbox
                    .pipedrive
                    .get("persons", *person)
                    .is_some_and(|row| row["first_name"] == **first)
            } else {
                bench
                    .sandbox
                    .zoho
                    .get("Contacts", *contact)
                    .is_some_and(|row| row["First_Name"] == **first)
            };
            if arrived {
                took.push(since.elapsed());
            }
            !arrived
        });
    }
    served.stop.cancel();
    took.sort();
    let at = |share: usize| took.get((took.len() * share / 100).min(took.len().saturating_sub(1)));
    let shown = |time: Option<&Duration>| time.map_or(0.0, Duration::as_secs_f64);
    println!(
        "| webhooks | {made} changes, {CHANGES_A_SECOND}/s | median {:.2} s | 99th percentile {:.2} s | longest {:.2} s | did not arrive {} |",
        shown(at(50)),
        shown(at(99)),
        shown(took.last()),
        waiting.len()
    );
    for (name, traffic) in bench.sandbox.traffic() {
        let mut calls: Vec<_> = traffic.by_route().into_iter().collect();
        calls.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        println!("| {name} | {:?} |", calls.iter().take(5).collect::<Vec<_>>());
    }
}

/// How long pages take over a full store.
async fn pages(links: u64, conflicts: u64) {
    let bench = Bench::start().await;
    bench.sandbox.zoho.add("Contacts", json!({ "Last_Name": "Byron", "Email": "ada@example.com" }));
    bench.sync().await;
    let contact = &bench.sandbox.zoho.all("Contacts")[0];
    let id = contact["id"].as_str().expect("an ID").to_owned();
    bench.sandbox.zoho.edit(
        "Contacts",
        id.parse().expect("a number"),
        json!({ "Email": "l@example.com" }),
    );
    let person = bench.sandbox.pipedrive.all("persons")[0]["id"].as_i64().expect("an ID");
    let email = json!([{ "value": "r@example.com", "primary": true, "label": "work" }]);
    bench.sandbox.pipedrive.edit("persons", person, json!({ "emails": email }));
    bench.sync().await;
    let since = Instant::now();
    multiply(&bench.store, links, conflicts).await;
    println!(
        "| store | {links} links, {conflicts} conflicts | made in {:.0} s |",
        since.elapsed().as_secs_f64()
    );
    let served = bench.serve().await;
    let client = reqwest::Client::new();
    let paths = [
        "/".to_owned(),
        "/conflicts".to_owned(),
        "/conflicts?status=mine&entity=contact".to_owned(),
        format!("/conflicts?after={:016x}", conflicts / 2),
        "/conflicts?status=all".to_owned(),
        "/failures".to_owned(),
        "/runs".to_owned(),
        format!("/records?route=crm&entity=contact&id={id}"),
        "/connections".to_owned(),
        "/trail".to_owned(),
        "/metrics".to_owned(),
        "/api/v1/routes".to_owned(),
        "/api/v1/routes/crm/conflicts?limit=50".to_owned(),
    ];
    for path in paths {
        let mut times = Vec::new();
        for _ in 0..7 {
            let since = Instant::now();
            let request = client.get(format!("{}{path}", served.url)).bearer_auth(&served.token);
            let answer = request.send().await.expect("an answer");
            assert!(answer.status().is_success(), "{path}: {}", answer.status());
            answer.bytes().await.expect("a body");
            times.push(since.elapsed());
        }
        let first = times[0];
        times.sort();
        println!(
            "| {path} | first {:.0} ms | median {:.0} ms |",
            first.as_secs_f64() * 1e3,
            times[3].as_secs_f64() * 1e3
        );
    }
    served.stop.cancel();
}

/// Copies the one link and its conflict many times, in the store itself.
async fn multiply(store: &std::path::Path, links: u64, conflicts: u64) {
    let mut db = SqliteConnection::connect(&format!("sqlite://{}", store.display()))
        .await
        .expect("the store");
    let numbers = |most: u64| {
        format!(
            "WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < {most}) "
        )
    };
    let record = "printf('9%018d', n)";
    let statements = [
        format!(
            "INSERT INTO observation {numbers}SELECT scope, side, {record}, module, presence, in_scope, external, modified_at, corrected_at, hash, epoch, match_keys, unreturned, fields FROM observation, number WHERE scope = (SELECT id FROM scope WHERE entity = 'contact')",
            numbers = numbers(links)
        ),
        format!(
            "INSERT INTO link {numbers}SELECT scope, printf('9%023d', n), {record}, {record}, state, left_stamp, right_stamp, baseline FROM link, number WHERE scope = (SELECT id FROM scope WHERE entity = 'contact')",
            numbers = numbers(links)
        ),
        format!(
            "INSERT INTO link_end {numbers}SELECT scope, side, {record}, printf('9%023d', n) FROM link_end, number WHERE scope = (SELECT id FROM scope WHERE entity = 'contact')",
            numbers = numbers(links)
        ),
        format!(
            "INSERT INTO open_row {numbers}SELECT scope, printf('%016x', n), subject || n, code, link, run, first_seen, last_seen, closed_at, closed_by, replace(body, id, printf('%016x', n)) FROM open_row, number",
            numbers = numbers(conflicts)
        ),
    ];
    for statement in statements {
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut db).await.expect("rows");
    }
    db.close().await.expect("closed");
}
