//! Several machines: real worker processes share fifty routes of one store, and one of them is killed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chrono::Utc;
use crmsync::clock::{Ambient, Clock, Ids, Order, Wire};
use crmsync::config::{Config, Environment};
use crmsync::service::{RunOptions, Session, Silent};
use crmsync::store::{RunRecord, Store};
use crmsync_core::model::RouteName;
use sea_orm::{ConnectionTrait as _, DbBackend, Statement};
use tempfile::TempDir;

use crate::databases::{Database, Server};

const ROUTES: usize = 50;
const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
/// A store on PostgreSQL, and fifty pairs of tables.
struct Plant {
    store: Database,
    folder: TempDir,
    config: Config,
}

impl Plant {
    fn build() -> Option<Self> {
        let store = Database::create(Server::Postgres)?;
        let folder = TempDir::new().unwrap();
        let url = format!("sqlite://{}", folder.path().join("tables.db").display());
        let mut text = format!(
            "[store]\nurl = \"{}\"\nkey = {{ env = \"CRMSYNC_KEY\" }}\n[serve]\nruns_at_once = 3\n\
             [connections.left]\ntype = \"sql\"\nurl = \"{url}\"\n\
             [connections.right]\ntype = \"sql\"\nurl = \"{url}\"\n",
            store.url
        );
        for number in 0..ROUTES {
            let mappings = folder.path().join(format!("n{number}"));
            std::fs::create_dir(&mappings).unwrap();
            std::fs::write(mappings.join("person.toml"), mapping(number)).unwrap();
            let _ = write!(
                text,
                "[routes.n{number}]\nleft = \"left\"\nright = \"right\"\nmappings = \"n{number}\"\nevery = \"20s\"\n"
            );
        }
        let file = folder.path().join("crmsync.toml");
        std::fs::write(&file, &text).unwrap();
        let environment = Environment::new([("CRMSYNC_KEY".to_owned(), KEY.to_owned())]);
        let config = Config::parse(&file, &text, &environment).unwrap();
        Some(Self { store, folder, config })
    }

    /// One row on each left side, agreed once: what follows is everyday work.
    async fn settle(&self) {
        let count = AtomicU64::new(0);
        let ambient = Ambient {
            clock: Clock::new(now),
            ids: Ids::new(move || format!("settled-{:06}", count.fetch_add(1, Ordering::Relaxed))),
            holder: "test".into(),
            is_gone: |_| false,
            wire: Wire::Sockets,
            order: Order::Together,
        };
        let columns = "(code varchar(9) PRIMARY KEY, name varchar(40))";
        let tables = (0..ROUTES).map(|number| {
            format!(
                "CREATE TABLE left{number} {columns}; CREATE TABLE right{number} {columns}; \
                 INSERT INTO left{number} VALUES ('a', 'Ada');"
            )
        });
        self.run(&tables.collect::<String>()).await;
        for number in 0..ROUTES {
            let route = RouteName::new(format!("n{number}"));
            let session = Session::open(&self.config, &route, &ambient).await.unwrap();
            let options = RunOptions { ask: Some(Arc::new(|_| true)), ..RunOptions::default() };
            session.sync(&options, &Silent).await.unwrap();
            session.close().await.unwrap();
        }
    }

    async fn tables(&self) -> sea_orm::DatabaseConnection {
        let file = self.folder.path().join("tables.db");
        sea_orm::Database::connect(format!("sqlite://{}?mode=rwc", file.display())).await.unwrap()
    }

    async fn run(&self, sql: &str) {
        let db = self.tables().await;
        db.execute_unprepared(sql).await.unwrap();
        db.close().await.unwrap();
    }

    /// Gives the row on the left side of every route another name.
    async fn rename(&self, name: &str) {
        let updates = (0..ROUTES).map(|number| format!("UPDATE left{number} SET name = '{name}';"));
        self.run(&updates.collect::<String>()).await;
    }

    /// Waits until so many right sides show `name`.
    async fn arrive(&self, name: &str, at_least: i64) {
        let each = (0..ROUTES).map(|number| format!("SELECT name FROM right{number}"));
        let all = each.collect::<Vec<_>>().join(" UNION ALL ");
        let sql = format!("SELECT count(*) FROM ({all}) WHERE name = '{name}'");
        let db = self.tables().await;
        let mut arrived = 0;
        for _ in 0..4_000 {
            let statement = Statement::from_string(DbBackend::Sqlite, sql.clone());
            let row = db.query_one_raw(statement).await.unwrap().unwrap();
            arrived = row.try_get_by_index(0).unwrap();
            if arrived >= at_least {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let log = std::fs::read_to_string(self.folder.path().join("workers.log")).unwrap();
        let failures: Vec<_> = log.lines().filter(|line| line.contains("failed")).collect();
        panic!("{arrived} of {at_least} routes show {name}: {failures:#?}");
    }

    fn worker(&self) -> Worker {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join("workers.log"))
            .unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_crmsync"));
        command.current_dir(self.folder.path()).arg("worker").env("CRMSYNC_KEY", KEY);
        Worker(command.stdout(Stdio::null()).stderr(log).spawn().unwrap())
    }
}

/// Ends with the test, whatever comes.
struct Worker(Child);

impl Worker {
    /// As `kill -9` does.
    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn mapping(number: usize) -> String {
    format!(
        "entity = \"person\"\nleft = {{ module = \"left{number}\" }}\nright = {{ module = \"right{number}\" }}\n\
         [match]\nkeys = [{{ fields = [\"code\"], strength = \"strong\" }}]\n\
         [fields]\ncode = {{ left = \"code\", right = \"code\" }}\nname = {{ left = \"name\", right = \"name\" }}\n"
    )
}

#[expect(clippy::disallowed_methods, reason = "worker processes have no other clock")]
fn now() -> chrono::DateTime<Utc> {
    Utc::now()
}

/// Runs of one route that ended, and that began before an earlier one had ended.
fn overlapping(runs: &[RunRecord]) -> Vec<String> {
    let mut by_route: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for run in runs {
        let span = run.finished_at.map(|end| (run.started_at, end, &run.id));
        by_route.entry(run.route.to_string()).or_default().extend(span);
    }
    let mut found = Vec::new();
    for (route, mut spans) in by_route {
        spans.sort();
        let both = spans.windows(2).filter(|pair| pair[1].0 < pair[0].1);
        found.extend(both.map(|pair| format!("{route}: {} and {}", pair[0].2, pair[1].2)));
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn given_three_workers_and_fifty_routes_when_one_is_killed_then_the_others_take_over_and_no_route_runs_twice()
 {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let Some(plant) = Plant::build() else { return };
    plant.settle().await;
    let [first, second, third] = [plant.worker(), plant.worker(), plant.worker()];

    let all = i64::try_from(ROUTES).unwrap();
    plant.rename("Bea").await;
    plant.arrive("Bea", 5).await;
    first.kill();
    plant.arrive("Bea", all).await;
    plant.rename("Cid").await;
    plant.arrive("Cid", all).await;
    drop([second, third]);

    let store = Store::open(&plant.store.url).await.unwrap();
    let runs = store.runs(None, 100_000).await.unwrap();
    store.close().await.unwrap();
    assert_eq!(overlapping(&runs), Vec::<String>::new());
    let failed: Vec<_> = runs.iter().filter_map(|run| run.error.as_ref()).collect();
    assert!(failed.is_empty(), "{failed:#?}");
}
