//! What breaks between us and a database: lost connections, missing tables, dropped columns, deadlocks, locks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crmsync::connectors::sql::Sql;
use crmsync::connectors::{
    Connector, ErrorKind, ListRequest, Order, Recovery, RowResult, UpdateRow,
};
use crmsync_core::model::{ModuleName, RecordId, RemoteField, Value};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::{connect, connect_to};
use crate::databases::{Database, Server};

const PEOPLE: &str = "CREATE TABLE people (id integer PRIMARY KEY, name varchar(10) NOT NULL, boss integer REFERENCES people (id))";

/// A wire to a server that breaks when certain bytes pass.
struct Wire {
    port: u16,
    armed: Arc<AtomicBool>,
}

/// What becomes of the request at which the wire breaks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Break {
    /// It never arrives.
    Before,
    /// It arrives, and the answer does not.
    After,
}

impl Wire {
    async fn lay(server: Server, at: &'static [u8], how: Break) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let armed = Arc::new(AtomicBool::new(false));
        let trap = Arc::clone(&armed);
        let to = if server == Server::Postgres { 5432 } else { 3306 };
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
                tokio::spawn(carry(near, far, at, how, Arc::clone(&trap)));
            }
        });
        Self { port, armed }
    }

    fn arm(&self) {
        self.armed.store(true, Ordering::SeqCst);
    }

    fn url(&self, database: &Database) -> String {
        // What is encrypted cannot be met on the way.
        let (own, plain) = match database.server {
            Server::Postgres => (":5432", "sslmode=disable"),
            Server::Sqlite | Server::MariaDb => (":3306", "ssl-mode=disabled"),
        };
        format!("{}?{plain}", database.url.replace(own, &format!(":{}", self.port)))
    }
}

async fn carry(
    mut near: TcpStream,
    mut far: TcpStream,
    at: &'static [u8],
    how: Break,
    armed: Arc<AtomicBool>,
) {
    let (mut up, mut down) = (vec![0; 65_536], vec![0; 65_536]);
    loop {
        tokio::select! {
            read = near.read(&mut up) => {
                let Ok(count @ 1..) = read else { return };
                let met = up[..count].windows(at.len()).any(|part| part == at);
                if met && armed.swap(false, Ordering::SeqCst) {
                    if how == Break::After {
                        far.write_all(&up[..count]).await.unwrap();
                        // The server's word that it is done, which nobody hears.
                        let _ = far.read(&mut down).await;
                    }
                    return;
                }
                if far.write_all(&up[..count]).await.is_err() { return }
            }
            read = far.read(&mut down) => {
                let Ok(count @ 1..) = read else { return };
                if near.write_all(&down[..count]).await.is_err() { return }
            }
        }
    }
}

fn people() -> ModuleName {
    "people".into()
}

fn person(id: i64, name: &str) -> BTreeMap<RemoteField, Value> {
    BTreeMap::from([("id".into(), Value::number(id.into())), ("name".into(), Value::text(name))])
}

async fn ada(side: &Sql) -> RowResult {
    side.create(&people(), &[person(1, "Ada")]).await.remove(0)
}

async fn names(side: &Sql) -> Result<Vec<String>, ErrorKind> {
    let (module, fields) = (people(), ["name".into()]);
    let request =
        ListRequest { module: &module, fields: &fields, since: None, order: Order::Id, page: None };
    let page = side.list(&request).await.map_err(|error| error.kind)?;
    Ok(page.records.iter().map(|record| record.fields[&fields[0]].to_string()).collect())
}

fn with_people(server: Server) -> Option<Database> {
    let database = Database::create(server)?;
    database.run(PEOPLE);
    Some(database)
}

#[tokio::test]
async fn given_a_commit_without_an_answer_when_created_then_it_is_in_doubt_and_there() {
    for server in [Server::Postgres, Server::MariaDb] {
        let Some(database) = with_people(server) else { continue };
        let wire = Wire::lay(server, b"COMMIT", Break::After).await;
        let side = connect_to(wire.url(&database), |_| {});
        names(&side).await.unwrap();

        wire.arm();
        let outcome = ada(&side).await;

        assert_eq!(outcome.unwrap_err().recovery(), Recovery::Reread, "{server:?}");
        assert_eq!(database.one("SELECT name FROM people"), "Ada", "{server:?}");
    }
}

#[tokio::test]
async fn given_a_wire_that_breaks_before_the_commit_when_created_then_nothing_happened_and_it_says_so()
 {
    for server in [Server::Postgres, Server::MariaDb] {
        let Some(database) = with_people(server) else { continue };
        let wire = Wire::lay(server, b"INSERT", Break::After).await;
        let side = connect_to(wire.url(&database), |_| {});
        names(&side).await.unwrap();

        wire.arm();
        let outcome = ada(&side).await;

        assert_eq!(outcome.unwrap_err().recovery(), Recovery::Backoff, "{server:?}");
        assert_eq!(database.one("SELECT COUNT(*) FROM people"), "0", "{server:?}");
        assert!(ada(&side).await.is_ok(), "{server:?}");
    }
}

#[tokio::test]
async fn given_a_wire_that_breaks_when_listed_then_it_is_listed_all_the_same() {
    for server in [Server::Postgres, Server::MariaDb] {
        let Some(database) = with_people(server) else { continue };
        database.run("INSERT INTO people (id, name) VALUES (1, 'Ada')");
        let wire = Wire::lay(server, b"LIMIT", Break::Before).await;
        let side = connect_to(wire.url(&database), |_| {});

        wire.arm();

        assert_eq!(names(&side).await.unwrap(), ["Ada"], "{server:?}");
    }
}

#[tokio::test]
async fn given_a_server_that_is_not_there_when_asked_then_the_error_says_where_not_who() {
    for url in ["postgres://ada:secret@127.0.0.1:1/x", "mysql://ada:secret@127.0.0.1:1/x"] {
        let side = connect_to(url.to_owned(), |settings| {
            settings.connect_timeout = Duration::from_millis(200);
        });

        let error = side.account().await.unwrap_err();

        assert_eq!(error.recovery(), Recovery::Backoff, "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}

#[tokio::test]
async fn given_a_missing_file_when_asked_then_none_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("none.db");
    let side = connect_to(format!("sqlite://{}", file.display()), |_| {});

    let error = side.account().await.unwrap_err();

    assert!(error.to_string().contains("cannot open the database file"), "{error}");
    assert!(!file.exists());
}

#[tokio::test]
async fn given_tables_that_move_when_read_then_the_name_is_told_and_the_next_look_is_fresh() {
    for server in Server::ALL {
        let Some(database) = with_people(server) else { continue };
        let side = connect(&database, |_| {});
        assert!(names(&side).await.unwrap().is_empty());

        database.run("ALTER TABLE people DROP COLUMN name");
        let dropped = names(&side).await.unwrap_err();
        let again = names(&side).await.unwrap_err();
        database.run("ALTER TABLE people ADD COLUMN name varchar(10)");
        side.forget_metadata();
        let back = names(&side).await;
        database.run("DROP TABLE people");
        let gone = names(&side).await.unwrap_err();

        assert_eq!(dropped, ErrorKind::UnknownName("column".into()), "{server:?}");
        assert_eq!(again, ErrorKind::UnknownName("column `name` of people".into()), "{server:?}");
        assert!(back.unwrap().is_empty());
        assert_eq!(gone, ErrorKind::UnknownName("table".into()), "{server:?}");
    }
}

#[tokio::test]
async fn given_rows_with_mistakes_among_good_ones_when_created_then_each_is_told_its_own() {
    for server in Server::ALL {
        let Some(database) = with_people(server) else { continue };
        let side = connect(&database, |_| {});
        let mut lost = person(4, "Dan");
        lost.insert("boss".into(), Value::Reference(RecordId::new("99")));
        let rows = [
            person(1, "Ada"),
            person(2, "Bartholomew the long"),
            person(1, "Twin"),
            lost,
            person(5, "Eve"),
            person(6, "Fay"),
        ];

        let outcomes = side.create(&people(), &rows).await;

        let told: Vec<_> = outcomes
            .iter()
            .map(|outcome| {
                outcome.as_ref().map_or_else(|error| error.kind.to_string(), |it| it.id.to_string())
            })
            .collect();
        assert_eq!(told[0], "1", "{server:?}");
        assert_eq!(
            told[1],
            "field `name` refused: the text has 20 characters, the column takes 10"
        );
        assert_eq!(told[2], "field `id` is taken by record 1", "{server:?}");
        assert!(told[3].contains("refers to a record that is not there"), "{server:?} {}", told[3]);
        assert_eq!(told[4..], ["5", "6"], "{server:?}");
        assert_eq!(database.one("SELECT COUNT(*) FROM people"), "3");
    }
}

#[tokio::test]
async fn given_a_row_that_others_need_when_deleted_then_only_it_stays() {
    for server in Server::ALL {
        let Some(database) = with_people(server) else { continue };
        database.run("INSERT INTO people (id, name) VALUES (1, 'Ada')");
        database.run("INSERT INTO people (id, name, boss) VALUES (2, 'Bea', 1)");
        database.run("INSERT INTO people (id, name) VALUES (3, 'Cid')");
        let side = connect(&database, |_| {});

        let ids = ["3", "1", "77"].map(RecordId::new);
        let outcomes = side.delete(&people(), &ids).await;

        let done: Vec<_> = outcomes.iter().map(Result::is_ok).collect();
        assert_eq!(done, [true, false, true], "{server:?} {outcomes:?}");
        assert!(
            outcomes[1].as_ref().unwrap_err().to_string().contains("other records refer to it")
        );
        assert_eq!(database.one("SELECT COUNT(*) FROM people"), "2");
    }
}

/// Two writers take two rows in opposite order, again and again: one of them loses, and is told what others wrote.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn given_writers_that_cross_when_updated_then_each_row_is_written_or_stale_and_nothing_else()
{
    for server in Server::ALL {
        let Some(database) = with_people(server) else { continue };
        database.run("INSERT INTO people (id, name) VALUES (1, 'Ada'), (2, 'Bea')");
        let orders = [["1", "2"], ["2", "1"]];
        let tasks = orders.map(|order| {
            let side = connect(&database, |_| {});
            tokio::spawn(async move { rename_again_and_again(&side, order).await })
        });
        let mut written = 0;
        for task in tasks {
            written += task.await.unwrap();
        }

        assert!(written > 0, "{server:?}");
    }
}

/// Answers how many renames were written.
async fn rename_again_and_again(side: &Sql, order: [&str; 2]) -> usize {
    let (ids, fields) = (order.map(RecordId::new), ["name".into()]);
    let mut written = 0;
    for round in 0..8 {
        let page = side.fetch(&people(), &ids, &fields).await.unwrap();
        let read = |id: &RecordId| page.records.iter().find(|record| record.id == *id).cloned();
        let rows = ids.iter().map(|id| UpdateRow {
            id: id.clone(),
            fields: BTreeMap::from([("name".into(), Value::text(&format!("{}{round}", order[0])))]),
            current: read(id).unwrap(),
            unmodified_since: None,
        });
        for outcome in side.update(&people(), &rows.collect::<Vec<_>>()).await {
            match outcome {
                Ok(_) => written += 1,
                Err(error) => assert_eq!(error.kind, ErrorKind::Stale),
            }
        }
    }
    written
}
