//! The planner alone: links in a store, one in a hundred changed, planned in a process of its own.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use crmsync::clock::{Ambient, Clock, Ids, Order, Wire};
use crmsync::config::{Config, Environment};
use crmsync::sandbox::{Ports, Sandbox};
use crmsync::service::Session;
use crmsync::store::{Commit, Cursor, Ending, Observed, PageCommit, RouteMeta, RouteStore};
use crmsync_core::engine::normalize::{match_keys, normalize};
use crmsync_core::model::link::LinkId;
use crmsync_core::model::state::{Counterpart, Identities};
use crmsync_core::model::{
    Code, Entity, EntityName, Op, OpKind, Pair, RecordId, RecordKey, RemoteField, RemoteRecord,
    RouteName, Side, Value,
};
use crmsync_simulator::clock::Clock as ServerClock;
use tempfile::TempDir;

const PAGE: usize = 5_000;
const CHANGED: usize = 100;

/// Fills a store with `links` linked contacts, changes one in a hundred on the left, and plans in a child process.
pub(super) async fn measure(links: usize) {
    let folder = TempDir::new().expect("a temporary folder");
    let filled = Instant::now();
    fill(folder.path(), links).await;
    let filled = filled.elapsed();
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args(["--planner", &folder.path().display().to_string()])
        .stdout(Stdio::inherit())
        .spawn()
        .expect("this program starts");
    let mut peak_kb = 0;
    while child.try_wait().expect("a child of ours").is_none() {
        peak_kb = peak_kb.max(super::peak_memory_kb(child.id()));
        std::thread::sleep(Duration::from_millis(2));
    }
    child.wait().expect("a child of ours");
    println!(
        "planner alone: {links} links, {} changed; peak {} MB; filling the store took {:.0} s",
        links / CHANGED,
        peak_kb / 1024,
        filled.as_secs_f64()
    );
}

/// Plans what `fill` left behind, and says how long it took.
pub(super) fn child(folder: &Path) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let (_sandbox, session) = open(folder).await;
        let start = Instant::now();
        let plan = session.plan_from_store().await.expect("a plan");
        println!("planner alone: {} ops in {:.2} s", plan.ops.len(), start.elapsed().as_secs_f64());
    });
}

async fn open(folder: &Path) -> (Sandbox, Session) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let clock = ServerClock::running(chrono::TimeDelta::zero());
    let sandbox = Sandbox::start(&clock, 7, Ports::default()).await.expect("two free ports");
    super::copy_mappings(&folder.join("mappings"));
    let text = sandbox.config(
        &format!("sqlite://{}", folder.join("store.db").display()),
        &folder.join("mappings"),
    );
    let config = Config::parse(&folder.join("crmsync.toml"), &text, &Environment::default());
    let config = config.expect("a valid configuration");
    let now = clock.clone();
    let count = std::sync::atomic::AtomicU64::new(0);
    let ambient = Ambient {
        clock: Clock::new(move || now.now()),
        ids: Ids::new(move || count.fetch_add(1, std::sync::atomic::Ordering::Relaxed).to_string()),
        holder: "bench".into(),
        is_gone: |_| false,
        wire: Wire::Sockets,
        order: Order::Together,
    };
    let session = Session::open(&config, &RouteName::new("crm"), &ambient).await;
    (sandbox, session.expect("a route"))
}

async fn fill(folder: &Path, links: usize) {
    let (_sandbox, session) = open(folder).await;
    let entity = session.route.entities.iter().find(|entity| entity.name.as_str() == "contact");
    let entity = entity.expect("the contact mapping");
    let now = session.ambient.clock.now();
    let store =
        session.store.lock(&session.route.name, "bench", now, Duration::from_hours(24)).await;
    let store = store.expect("a free route");
    for entity in &session.route.entities {
        let prints = entity.fields.iter().map(|rule| (rule.name.clone(), rule.fingerprint.clone()));
        store.agree_under(&entity.name, prints.collect());
    }
    let approved = session.route.entities.iter().map(|entity| entity.name.clone()).collect();
    store
        .save_meta(&RouteMeta { approved, ..RouteMeta::default() })
        .await
        .expect("a writable store");
    for start in (0..links).step_by(PAGE) {
        let range = start..(start + PAGE).min(links);
        for side in Side::BOTH {
            observe(&store, entity, side, range.clone(), now, "").await;
        }
        let commits: Vec<_> = range.map(|at| link(entity, at)).collect();
        store.commit("fill", &commits, now).await.expect("a writable store");
    }
    for side in Side::BOTH {
        let cursor = Cursor { watermark: Some(now), complete: true, ..Cursor::default() };
        store.save_cursor(&entity.name, side, &cursor).await.expect("a writable store");
    }
    let changed: Vec<_> = (0..links).step_by(CHANGED).collect();
    for page in changed.chunks(PAGE) {
        let observed =
            page.iter().map(|at| record(entity, Side::Left, *at, " changed", now)).collect();
        commit_page(&store, entity, Side::Left, observed, now).await;
    }
    store.release().await.expect("our lease");
    session.close().await.expect("our store");
}

async fn observe(
    store: &RouteStore,
    entity: &Entity,
    side: Side,
    range: std::ops::Range<usize>,
    now: DateTime<Utc>,
    mark: &str,
) {
    let observed = range.map(|at| record(entity, side, at, mark, now)).collect();
    commit_page(store, entity, side, observed, now).await;
}

async fn commit_page(
    store: &RouteStore,
    entity: &Entity,
    side: Side,
    observed: Vec<Observed>,
    now: DateTime<Utc>,
) {
    let page = PageCommit {
        entity: &entity.name,
        side,
        module: &entity.modules[side],
        observed,
        dirty: Vec::new(),
        clean: Vec::new(),
        cursor: None,
        authoritative: true,
        epoch: None,
        now,
    };
    store.commit_page(page).await.expect("a writable store");
}

fn record(entity: &Entity, side: Side, at: usize, mark: &str, now: DateTime<Utc>) -> Observed {
    let record = RemoteRecord {
        id: RecordId::new(at.to_string()),
        modified_at: Some(now),
        fields: values(entity, side, at, mark),
        archived: false,
        raw: None,
    };
    let observation = normalize(entity, side, &record, None);
    let keys = match_keys(entity, &observation, &Nobody);
    Observed { observation, keys }
}

fn values(entity: &Entity, side: Side, at: usize, mark: &str) -> BTreeMap<RemoteField, Value> {
    let mut fields: BTreeMap<_, _> =
        entity.remote_fields(side).into_iter().map(|field| (field, Value::Empty)).collect();
    for (name, text) in [
        ("first_name", format!("First{at}")),
        ("last_name", format!("Last{at}{mark}")),
        ("email", format!("person{at}@example.com")),
    ] {
        let rule = entity.field(&name.into()).expect("a shipped field");
        if let Some(remote) = &rule.remote[side] {
            fields.insert(remote.clone(), Value::text(&text));
        }
    }
    fields
}

fn link(entity: &Entity, at: usize) -> Commit {
    let id = RecordId::new(at.to_string());
    let origin = RecordKey { entity: entity.name.clone(), side: Side::Left, id: id.clone() };
    let side = |side: Side| {
        normalize(
            entity,
            side,
            &RemoteRecord {
                id: id.clone(),
                modified_at: None,
                fields: values(entity, side, at, ""),
                archived: false,
                raw: None,
            },
            None,
        )
        .fields
    };
    let (left, mut right) = (side(Side::Left), side(Side::Right));
    let agreed: BTreeMap<_, _> = left
        .into_iter()
        .filter_map(|(field, left)| Some((field.clone(), Pair::new(left, right.remove(&field)?))))
        .collect();
    let op = Op {
        entity: entity.name.clone(),
        link: LinkId::derive(&origin, 0),
        code: Code::Link,
        kind: OpKind::Link { ends: Pair::new(id.clone(), id), agreed: BTreeMap::new() },
        later: Vec::new(),
    };
    let ending = Ending::Done {
        id: None,
        stamp: None,
        baseline: agreed.into_iter().map(|(field, pair)| (field, (pair, false))).collect(),
        observed: None,
        before: BTreeMap::new(),
        after: BTreeMap::new(),
    };
    Commit { intent: None, op, ending }
}

/// Contacts of the bench refer to nobody.
struct Nobody;

impl Identities for Nobody {
    fn counterpart(&self, _: &EntityName, _: Side, _: &RecordId) -> Counterpart {
        Counterpart::Unresolved
    }
}
