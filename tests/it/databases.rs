//! Databases that live as long as one test, and hands to work in them beside crmsync.

use std::sync::atomic::{AtomicU32, Ordering};

use sea_orm::{ConnectionTrait as _, Database as Connector, DbBackend, Statement};

static NEXT: AtomicU32 = AtomicU32::new(0);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Server {
    Sqlite,
    Postgres,
    MariaDb,
}

impl Server {
    pub(crate) const ALL: [Self; 3] = [Self::Sqlite, Self::Postgres, Self::MariaDb];

    const fn variable(self) -> &'static str {
        match self {
            Self::Sqlite | Self::Postgres => "CRMSYNC_TEST_POSTGRES",
            Self::MariaDb => "CRMSYNC_TEST_MYSQL",
        }
    }

    const fn default(self) -> &'static str {
        match self {
            Self::Sqlite | Self::Postgres => "postgres://postgres@127.0.0.1:5432/test",
            Self::MariaDb => "mysql://root@127.0.0.1:3306/test",
        }
    }

    /// Where tests may make databases.
    pub(crate) fn url(self) -> String {
        std::env::var(self.variable()).unwrap_or_else(|_| self.default().to_owned())
    }

    pub(crate) fn quote(self, name: &str) -> String {
        match self {
            Self::Sqlite | Self::Postgres => format!("\"{}\"", name.replace('"', "\"\"")),
            Self::MariaDb => format!("`{}`", name.replace('`', "``")),
        }
    }

    const fn backend(self) -> DbBackend {
        match self {
            Self::Sqlite => DbBackend::Sqlite,
            Self::Postgres => DbBackend::Postgres,
            Self::MariaDb => DbBackend::MySql,
        }
    }
}

/// A database of its own for one test.
pub(crate) struct Database {
    pub(crate) server: Server,
    pub(crate) url: String,
    name: String,
    _folder: Option<tempfile::TempDir>,
}

impl Database {
    /// Makes an empty one; `None` where the server does not answer and is not required.
    pub(crate) fn create(server: Server) -> Option<Self> {
        let count = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("crmsync_side_{}_{count}", std::process::id());
        if server == Server::Sqlite {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("side.db");
            std::fs::write(&file, "").unwrap();
            let url = format!("sqlite://{}", file.display());
            return Some(Self { server, url, name, _folder: Some(folder) });
        }
        let url = server.url();
        if run(server, &url, &format!("CREATE DATABASE {name}")).is_err() {
            let is_required = std::env::var("CRMSYNC_REQUIRE_SERVICES").is_ok_and(|it| it == "1");
            assert!(!is_required, "no {server:?} at {url}");
            eprintln!("skipped: no {server:?} at {url}");
            return None;
        }
        let (base, _) = url.rsplit_once('/').unwrap();
        Some(Self { server, url: format!("{base}/{name}"), name, _folder: None })
    }

    /// Runs statements as another program does.
    pub(crate) fn run(&self, sql: &str) {
        run(self.server, &self.url, sql).unwrap();
    }

    /// The rows of a query, as text; null is `∅`.
    pub(crate) fn rows(&self, sql: &str) -> Vec<Vec<String>> {
        let (server, url, sql) = (self.server, self.url.clone(), sql.to_owned());
        apart(async move {
            let db = Connector::connect(&url).await.unwrap();
            let statement = Statement::from_string(server.backend(), sql);
            let rows = db.query_all_raw(statement).await.unwrap();
            let texts = rows.iter().map(|row| {
                let count = row.column_names().len();
                (0..count).map(|at| text(row, at)).collect()
            });
            let texts = texts.collect();
            db.close().await.unwrap();
            texts
        })
    }

    /// The first column of the first row.
    pub(crate) fn one(&self, sql: &str) -> String {
        self.rows(sql).first().map(|row| row[0].clone()).unwrap()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if self.server != Server::Sqlite {
            let force = if self.server == Server::Postgres { " WITH (FORCE)" } else { "" };
            let drop = format!("DROP DATABASE {}{force}", self.name);
            let _ = run(self.server, &self.server.url(), &drop);
        }
    }
}

fn text(row: &sea_orm::QueryResult, at: usize) -> String {
    if let Ok(text) = row.try_get_by_index::<Option<String>>(at) {
        return text.unwrap_or_else(|| "∅".to_owned());
    }
    if let Ok(number) = row.try_get_by_index::<i64>(at) {
        return number.to_string();
    }
    if let Ok(number) = row.try_get_by_index::<i32>(at) {
        return number.to_string();
    }
    if let Ok(number) = row.try_get_by_index::<i16>(at) {
        return number.to_string();
    }
    row.try_get_by_index::<f64>(at).map_or_else(|_| "?".to_owned(), |number| number.to_string())
}

fn run(server: Server, url: &str, sql: &str) -> Result<(), String> {
    let (url, sql) = (url.to_owned(), sql.to_owned());
    apart(async move {
        let db = Connector::connect(&url).await.map_err(|error| error.to_string())?;
        let done =
            db.execute_unprepared(&sql).await.map_err(|error| format!("{server:?}: {error}"));
        db.close().await.map_err(|error| error.to_string())?;
        done.map(|_| ())
    })
}

/// Runs a future in a thread and runtime of its own, so that tests may wait for it anywhere.
fn apart<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(work)
    });
    match thread.join() {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}
