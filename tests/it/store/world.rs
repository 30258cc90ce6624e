//! A store of its own for each test, and short words for what is put into it.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use crmsync::store::{
    Accepted, Commit, Cursor, Ending, Intent, IntentState, Observed, PageCommit, RouteStore, Store,
};
use crmsync_core::model::link::{DeleteEvidence, TombstoneCause};
use crmsync_core::model::state::{MatchKey, Subject, SubjectKey};
use crmsync_core::model::{
    Code, EntityName, FieldName, LinkId, LinkState, ModuleName, Observation, Op, OpKind, Pair,
    Presence, RecordId, RecordKey, RouteName, Side, Tombstone, Value,
};
use sea_orm::{ConnectionTrait, Database};

pub(crate) const TTL: Duration = Duration::from_mins(1);

static NEXT: AtomicU32 = AtomicU32::new(0);

/// One store and its route, held by us.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) url: String,
    pub(crate) store: Store,
}

pub(crate) async fn on_sqlite<F: Future<Output = ()> + Send + 'static>(law: fn(World) -> F) {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("store.db").display());
    run(url, law).await;
}

pub(crate) async fn on_postgres<F: Future<Output = ()> + Send + 'static>(law: fn(World) -> F) {
    let url = address("CRMSYNC_TEST_POSTGRES", "postgres://postgres@127.0.0.1:5432/test");
    on_server("PostgreSQL", &url, law).await;
}

pub(crate) async fn on_mysql<F: Future<Output = ()> + Send + 'static>(law: fn(World) -> F) {
    let url = address("CRMSYNC_TEST_MYSQL", "mysql://root@127.0.0.1:3306/test");
    on_server("MariaDB", &url, law).await;
}

fn address(variable: &str, default: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| default.to_owned())
}

/// Runs a law in a database that exists only for it.
async fn on_server<F: Future<Output = ()> + Send + 'static>(
    kind: &str,
    url: &str,
    law: fn(World) -> F,
) {
    let Ok(admin) = Database::connect(url).await else {
        let is_required = std::env::var("CRMSYNC_REQUIRE_SERVICES").is_ok_and(|flag| flag == "1");
        assert!(!is_required, "no {kind} at {url}");
        eprintln!("skipped: no {kind} at {url}");
        return;
    };
    let count = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("crmsync_{}_{count}", std::process::id());
    admin.execute_unprepared(&format!("CREATE DATABASE {name}")).await.unwrap();
    let (base, _) = url.rsplit_once('/').unwrap();
    let own = format!("{base}/{name}");
    let outcome = tokio::spawn(async move { run(own, law).await }).await;
    let force = if kind == "PostgreSQL" { " WITH (FORCE)" } else { "" };
    admin.execute_unprepared(&format!("DROP DATABASE {name}{force}")).await.unwrap();
    if let Err(failed) = outcome {
        std::panic::resume_unwind(failed.into_panic());
    }
}

async fn run<F: Future<Output = ()> + Send + 'static>(url: String, law: fn(World) -> F) {
    let store = Store::open(&url).await.unwrap();
    law(World { url, store: store.clone() }).await;
    store.close().await.unwrap();
}

impl World {
    pub(crate) async fn lock(&self) -> RouteStore {
        self.store.lock(&route(), "test", at(0), TTL).await.unwrap()
    }

    /// Runs a statement beside the store.
    pub(crate) async fn sql(&self, statement: &str) {
        let db = Database::connect(self.url.as_str()).await.unwrap();
        db.execute_unprepared(statement).await.unwrap();
        db.close().await.unwrap();
    }
}

pub(crate) fn route() -> RouteName {
    RouteName::new("sales")
}

pub(crate) fn contact() -> EntityName {
    EntityName::new("contact")
}

pub(crate) fn module() -> ModuleName {
    ModuleName::new("Contacts")
}

/// `seconds` after the beginning of these tests.
pub(crate) fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_790_000_000, 0).unwrap() + TimeDelta::seconds(seconds)
}

pub(crate) fn key(side: Side, id: &str) -> RecordKey {
    RecordKey { entity: contact(), side, id: RecordId::new(id) }
}

pub(crate) fn link(name: &str) -> LinkId {
    LinkId(name.to_owned())
}

pub(crate) fn of_link(name: &str) -> SubjectKey {
    SubjectKey::Link(link(name))
}

pub(crate) fn of_record(side: Side, id: &str) -> SubjectKey {
    SubjectKey::Record(key(side, id))
}

pub(crate) fn fields(pairs: &[(&str, &str)]) -> BTreeMap<FieldName, Value> {
    pairs.iter().map(|(name, text)| (FieldName::new(*name), Value::text(text))).collect()
}

pub(crate) fn both(pairs: &[(&str, &str)]) -> BTreeMap<FieldName, Pair<Value>> {
    let same = |(name, text): &(&str, &str)| {
        (FieldName::new(*name), Pair::new(Value::text(text), Value::text(text)))
    };
    pairs.iter().map(same).collect()
}

/// An alive, in-scope record named `name`, modified at `modified` seconds, keyed by its name.
pub(crate) fn seen(side: Side, id: &str, name: &str, modified: i64) -> Observed {
    Observed {
        observation: Observation {
            key: key(side, id),
            module: module(),
            presence: Presence::Alive,
            fields: fields(&[("name", name)]),
            unreturned: BTreeSet::new(),
            in_scope: true,
            external_id: None,
            modified_at: Some(at(modified)),
            corrected_at: Some(at(modified)),
        },
        keys: vec![MatchKey(format!("0:{name}"))],
    }
}

/// A page to be filled in.
pub(crate) struct PageOf {
    pub(crate) side: Side,
    pub(crate) observed: Vec<Observed>,
    pub(crate) dirty: Vec<(RecordId, String)>,
    pub(crate) clean: Vec<RecordId>,
    pub(crate) cursor: Option<Cursor>,
    pub(crate) authoritative: bool,
    pub(crate) epoch: Option<u64>,
}

impl PageOf {
    pub(crate) fn new(side: Side, observed: Vec<Observed>) -> Self {
        let (dirty, clean) = (Vec::new(), Vec::new());
        Self { side, observed, dirty, clean, cursor: None, authoritative: false, epoch: None }
    }

    pub(crate) fn by_id(side: Side, observed: Vec<Observed>) -> Self {
        Self { authoritative: true, ..Self::new(side, observed) }
    }

    pub(crate) async fn commit(self, store: &RouteStore) -> Accepted {
        let page = PageCommit {
            entity: &contact(),
            side: self.side,
            module: &module(),
            observed: self.observed,
            dirty: self.dirty,
            clean: self.clean,
            cursor: self.cursor,
            authoritative: self.authoritative,
            epoch: self.epoch,
            now: at(100),
        };
        store.commit_page(page).await.unwrap()
    }
}

pub(crate) async fn list(store: &RouteStore, side: Side, observed: Vec<Observed>) -> Accepted {
    PageOf::new(side, observed).commit(store).await
}

pub(crate) async fn read(store: &RouteStore, side: Side, observed: Vec<Observed>) -> Accepted {
    PageOf::by_id(side, observed).commit(store).await
}

pub(crate) fn op(link_name: &str, kind: OpKind) -> Op {
    Op { entity: contact(), link: link(link_name), code: Code::Confirmed, kind, later: Vec::new() }
}

pub(crate) fn done(op: Op) -> Commit {
    let (before, after) = (BTreeMap::new(), BTreeMap::new());
    let baseline = BTreeMap::new();
    let ending = Ending::Done { id: None, stamp: None, baseline, observed: None, before, after };
    Commit { intent: None, op, ending }
}

pub(crate) fn link_op(name: &str, left: &str, right: &str, agreed: &[(&str, &str)]) -> Op {
    let ends = Pair::new(RecordId::new(left), RecordId::new(right));
    op(name, OpKind::Link { ends, agreed: both(agreed) })
}

pub(crate) fn create_op(name: &str, source: &str, values: &[(&str, &str)]) -> Op {
    let (fields, from) = (fields(values), fields(values));
    op(name, OpKind::Create { side: Side::Right, source: RecordId::new(source), fields, from })
}

pub(crate) fn intent(id: &str, op: Op) -> Intent {
    Intent {
        id: id.to_owned(),
        run: "run-1".to_owned(),
        side: op.writes().unwrap(),
        op,
        module: module(),
        armed_at: at(100),
        before: BTreeMap::new(),
        state: IntentState::Armed,
    }
}

/// The created record `id`, as it reads now.
pub(crate) fn created(intent: &Intent, id: &str, name: &str) -> Commit {
    let agreed = both(&[("name", name)]);
    let ending = Ending::Done {
        id: Some(RecordId::new(id)),
        stamp: Some(at(110)),
        baseline: agreed.into_iter().map(|(field, pair)| (field, (pair, false))).collect(),
        observed: Some(Box::new(seen(Side::Right, id, name, 110))),
        before: BTreeMap::new(),
        after: fields(&[("name", name)]),
    };
    Commit { intent: Some(intent.id.clone()), op: intent.op.clone(), ending }
}

/// Left `l1` and right `r1`, both named Ada and linked as `k1`, with nothing left to do.
pub(crate) async fn linked(store: &RouteStore) {
    list(store, Side::Left, vec![seen(Side::Left, "l1", "Ada", 1)]).await;
    list(store, Side::Right, vec![seen(Side::Right, "r1", "Ada", 1)]).await;
    let commit = done(link_op("k1", "l1", "r1", &[("name", "Ada")]));
    store.commit("run-0", &[commit], at(50)).await.unwrap();
}

pub(crate) async fn marked(store: &RouteStore) -> Vec<SubjectKey> {
    let subjects = store.attention(&contact(), None, 100, at(200)).await.unwrap();
    subjects.iter().map(Subject::key).collect()
}

pub(crate) async fn subject(store: &RouteStore, key: SubjectKey) -> Subject {
    store.subjects(&contact(), &[key], at(200)).await.unwrap().remove(0)
}

pub(crate) async fn due(store: &RouteStore, side: Side) -> Vec<String> {
    let due = store.dirty(&contact(), side, at(200), 100).await.unwrap();
    due.into_iter().map(|dirty| format!("{} {}", dirty.id, dirty.reason)).collect()
}

/// Ends a link by a person's word.
pub(crate) async fn unlink(store: &RouteStore, name: &str, left: &str, right: &str) {
    let tombstone = |side: Side, id: &str| Tombstone {
        key: key(side, id),
        cause: TombstoneCause::Unlinked,
        evidence: DeleteEvidence::Person,
        at: at(130),
        successor: None,
        link: Some(link(name)),
    };
    let kind = OpKind::Relate {
        state: LinkState::Closed,
        ends: Pair::new(Some(RecordId::new(left)), Some(RecordId::new(right))),
        tombstones: vec![tombstone(Side::Left, left), tombstone(Side::Right, right)],
        keep_baseline: true,
    };
    store.commit("person", &[done(op(name, kind))], at(130)).await.unwrap();
}
