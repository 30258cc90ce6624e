//! What `crmsync serve` serves: pages for people, a REST API for programs, health and metrics for machines.
//!
//! What lives here: reading requests, calling `service` and `report`, rendering. What may not: deciding what a sync
//! does, or who may do what anywhere but in `router.rs`, whose table is the whole of it. Read `router.rs`, `auth.rs`,
//! then a page.

mod api;
mod auth;
mod conflicts;
mod connections;
mod failures;
mod frame;
mod health;
mod openapi;
mod overview;
mod problem;
mod records;
pub mod router;
mod runs;
mod sign_in;
mod trail;
mod webhook;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use crmsync_core::model::{Pair, RouteName};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::clock::Ambient;
use crate::config::Config;
use crate::report::history::History;
use crate::report::status::Counts;
use crate::report::{SideFacts, sides};
use crate::service::Scheduler;
use crate::service::webhooks::Webhooks;
use crate::store::{Deed, Store, StoreError};

pub use router::{Access, listing};

/// How long links and zones of a route's sides are used again.
const FACTS_LAST: TimeDelta = TimeDelta::minutes(10);
/// A page waits no longer for a side; it shows the record without a link.
const PATIENCE: Duration = Duration::from_secs(3);
/// A page waits no longer for numbers.
const QUICKLY: Duration = Duration::from_millis(60);
/// How long requests under way may take once the service stops.
const GRACE: Duration = Duration::from_secs(10);

/// What was told of a route's sides, and when.
type Facts = (DateTime<Utc>, Arc<Pair<SideFacts>>);

/// What was counted of a route.
#[derive(Clone, Default)]
struct Counted {
    counts: Counts,
    /// A count is under way.
    counting: bool,
}

/// What all requests share.
pub struct App {
    scheduler: Arc<Scheduler>,
    random: Box<dyn Fn() -> [u8; 32] + Send + Sync>,
    attempts: auth::Attempts,
    webhooks: Arc<Webhooks>,
    facts: Mutex<BTreeMap<RouteName, Facts>>,
    counts: Mutex<BTreeMap<RouteName, Counted>>,
    stopping: CancellationToken,
}

impl App {
    /// `random` gives 32 bytes that nobody can guess.
    pub fn new(
        scheduler: Arc<Scheduler>,
        webhooks: Arc<Webhooks>,
        random: impl Fn() -> [u8; 32] + Send + Sync + 'static,
        stopping: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Self {
            scheduler,
            webhooks,
            random: Box::new(random),
            attempts: auth::Attempts::default(),
            facts: Mutex::default(),
            counts: Mutex::default(),
            stopping,
        })
    }

    fn config(&self) -> Arc<Config> {
        self.scheduler.config()
    }

    fn store(&self) -> &Store {
        self.scheduler.store()
    }

    fn ambient(&self) -> &Ambient {
        self.scheduler.ambient()
    }

    fn now(&self) -> DateTime<Utc> {
        self.ambient().clock.now()
    }

    fn history(&self) -> History {
        History::new(self.store().clone(), &self.config(), self.ambient())
    }

    /// Whether cookies may travel encrypted only.
    fn is_public(&self) -> bool {
        let config = self.config();
        config.serve.public_url.as_ref().is_some_and(|url| url.starts_with("https://"))
    }

    /// What the store holds of a route: counted now where that is quick, as counted last where it is not. A million
    /// links take longer to count than a page may take.
    async fn counts(self: &Arc<Self>, route: &RouteName) -> Counts {
        let before = {
            let mut all = self.counted();
            let known = all.entry(route.clone()).or_default();
            let before = known.clone();
            known.counting = true;
            before
        };
        if before.counting {
            return before.counts;
        }
        let (app, name) = (Arc::clone(self), route.clone());
        let count = tokio::spawn(async move {
            let counted = app.history().counts(&name).await;
            let mut all = app.counted();
            let known = all.entry(name).or_default();
            known.counting = false;
            match counted {
                Ok(counts) => known.counts = counts,
                Err(error) => tracing::warn!("nothing could be counted: {error}"),
            }
        });
        // Late or not, it is told with the next page.
        let _ = tokio::time::timeout(QUICKLY, count).await;
        self.counted().get(route).map(|known| known.counts.clone()).unwrap_or_default()
    }

    fn counted(&self) -> MutexGuard<'_, BTreeMap<RouteName, Counted>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Names of all routes, and the one that is asked for: the first where none is.
    fn choose_route(&self, asked: &str) -> (Vec<String>, String) {
        let routes: Vec<_> = self.config().routes.keys().map(ToString::to_string).collect();
        let chosen =
            if asked.is_empty() { routes.first().cloned() } else { Some(asked.to_owned()) };
        (routes, chosen.unwrap_or_default())
    }

    /// Entities that a route knows, for people to choose from.
    async fn entities(&self, route: &RouteName) -> Result<Vec<String>, StoreError> {
        let entities = self.store().route(route).entities().await?;
        Ok(entities.iter().map(ToString::to_string).collect())
    }

    /// Writes down what somebody did.
    async fn note(&self, who: &str, action: &str, subject: String) -> Result<(), StoreError> {
        let (who, action) = (who.to_owned(), action.to_owned());
        self.store().note_deed(&Deed { at: self.now(), who, action, subject }).await
    }

    /// Links into both sides of a route and their zones, asked for now and then.
    async fn facts(&self, name: &RouteName) -> Arc<Pair<SideFacts>> {
        let now = self.now();
        let known = self.facts.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        if let Some((at, facts)) = known
            && now - at < FACTS_LAST
        {
            return facts;
        }
        let config = self.config();
        let Some(route) = config.routes.get(name) else {
            return Arc::new(Pair::new("left", "right").map(SideFacts::unknown));
        };
        let online = sides::online(&config, self.store(), self.ambient(), route);
        let facts = tokio::time::timeout(PATIENCE, online).await;
        let facts = Arc::new(facts.unwrap_or_else(|_| sides::offline(route)));
        let mut known = self.facts.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(name.clone(), (now, Arc::clone(&facts)));
        facts
    }
}

/// Serves until `stopping` is cancelled; requests under way are finished.
///
/// # Errors
/// When the listener breaks.
pub async fn serve(app: Arc<App>, listener: TcpListener) -> std::io::Result<()> {
    let stopping = app.stopping.clone();
    let service = router::router(app).into_make_service_with_connect_info::<SocketAddr>();
    let stopped = stopping.clone();
    let serving = axum::serve(listener, service).with_graceful_shutdown(stopped.cancelled_owned());
    let late = async {
        stopping.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        ended = serving.into_future() => ended,
        () = late => Ok(()),
    }
}
