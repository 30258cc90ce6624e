//! Webhooks of both CRMs: subscribed and kept alive, received, stored, and turned into a run that reads what changed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use crmsync_core::model::{ModuleName, RouteName, Side};
use secrecy::SecretString;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::connect;
use super::error::ServiceError;
use super::metadata::{modules, read_folder};
use super::run::Mode;
use super::schedule::{Asked, JobName, Scheduler};
use super::spending::hour;
use crate::config::Config;
use crate::connectors::hooks::{Hint, Post, Wish};
use crate::connectors::{Connector, Cost};
use crate::store::Message;

/// When a subscription that was refused is tried again.
const TRY_AGAIN: Duration = Duration::from_mins(5);
/// The longest without a look at whether the configuration asks for more.
const LONGEST_NAP: Duration = Duration::from_mins(1);

/// What became of a post.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// Stored; so many records are to be read.
    Stored(usize),
    /// No route listens to this connection.
    Unknown,
    /// It does not carry the secret.
    NotGenuine,
    /// It carries the secret and is no post of this side.
    Unreadable,
}

/// The webhooks of a configuration.
pub struct Webhooks {
    scheduler: Arc<Scheduler>,
    random: Box<dyn Fn() -> [u8; 32] + Send + Sync>,
    open: Mutex<Opened>,
}

/// Connections that were opened, under the configuration they were opened with.
#[derive(Default)]
struct Opened {
    config: Option<Arc<Config>>,
    connections: BTreeMap<String, Open>,
}

/// A connection that posts.
#[derive(Clone)]
struct Open {
    connector: Arc<dyn Connector>,
    secret: SecretString,
}

impl Webhooks {
    /// `random` gives 32 bytes that nobody can guess.
    pub fn new(
        scheduler: Arc<Scheduler>,
        random: impl Fn() -> [u8; 32] + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self { scheduler, random: Box::new(random), open: Mutex::default() })
    }

    /// Keeps all subscriptions alive until `stop`. They stay afterwards: what is posted meanwhile is found by polling.
    pub async fn keep(self: Arc<Self>, stop: CancellationToken) {
        let mut due: BTreeMap<String, DateTime<Utc>> = BTreeMap::new();
        loop {
            let config = self.scheduler.config();
            let clock = &self.scheduler.ambient().clock;
            for (connection, modules) in listened(&config) {
                let now = clock.now();
                if due.get(&connection).is_some_and(|due| *due > now) {
                    continue;
                }
                let next = match self.subscribe(&config, &connection, &modules).await {
                    Ok(next) => next,
                    Err(error) => {
                        tracing::warn!("no webhooks of {connection}: {error}; polling goes on");
                        now + TRY_AGAIN
                    }
                };
                due.insert(connection, next);
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = clock.sleep(LONGEST_NAP) => {}
            }
        }
    }

    /// Stores what a side posted and asks the routes that listen to read it. Answers once it is stored.
    ///
    /// # Errors
    /// When the store cannot be written: the side is to post it again.
    pub async fn receive(
        &self,
        connection: &str,
        post: &Post<'_>,
    ) -> Result<Receipt, ServiceError> {
        let config = self.scheduler.config();
        let listeners = listeners(&config, connection);
        if listeners.is_empty() {
            return Ok(Receipt::Unknown);
        }
        let open = self.open(&config, connection).await?;
        let Some(hooks) = open.connector.hooks() else { return Ok(Receipt::Unknown) };
        if !hooks.is_genuine(post, &open.secret) {
            return Ok(Receipt::NotGenuine);
        }
        let Ok(hints) = hooks.decode(post.body) else { return Ok(Receipt::Unreadable) };
        let now = self.scheduler.ambient().clock.now();
        for (route, side) in listeners {
            let message = |Hint { module, id }: &Hint| Message::Hint {
                side,
                module: module.clone(),
                record: id.clone(),
            };
            let messages: Vec<_> = hints.iter().map(message).collect();
            if !messages.is_empty() {
                self.scheduler.store().receive(&route, &messages, now).await?;
                let asked = Asked { mode: Mode::Hints, ..Asked::default() };
                self.scheduler.ask(&JobName::Route(route), asked);
            }
        }
        Ok(Receipt::Stored(hints.len()))
    }

    /// Makes sure that a connection posts; answers when to make sure again.
    async fn subscribe(
        &self,
        config: &Arc<Config>,
        connection: &str,
        modules: &BTreeSet<ModuleName>,
    ) -> Result<DateTime<Utc>, ServiceError> {
        let url = address(config, connection)?;
        let open = self.open(config, connection).await?;
        let now = self.scheduler.ambient().clock.now();
        let Some(hooks) = open.connector.hooks() else { return Ok(now + TRY_AGAIN) };
        let wish = Wish { modules, url: &url, secret: &open.secret };
        let ensured = hooks.ensure(&wish).await;
        let Cost { calls, units } = open.connector.take_spent();
        self.scheduler.store().spend(connection, &hour(now), units, calls).await?;
        Ok(ensured?)
    }

    async fn open(&self, config: &Arc<Config>, connection: &str) -> Result<Open, ServiceError> {
        let mut opened = self.open.lock().await;
        if opened.config.as_ref().is_none_or(|known| !Arc::ptr_eq(known, config)) {
            *opened = Opened { config: Some(Arc::clone(config)), ..Opened::default() };
        }
        if let Some(open) = opened.connections.get(connection) {
            return Ok(open.clone());
        }
        let (store, ambient) = (self.scheduler.store(), self.scheduler.ambient());
        let connector = connect::connector(config, connection, store, ambient).await?;
        let open = Open { connector, secret: self.secret(connection).await? };
        opened.connections.insert(connection.to_owned(), open.clone());
        Ok(open)
    }

    /// The secret that a connection's posts carry: made once, kept sealed.
    async fn secret(&self, connection: &str) -> Result<SecretString, ServiceError> {
        let name = format!("{connection}.webhook");
        let store = self.scheduler.store();
        if let Some(secret) = store.load_secret(&name).await? {
            return Ok(secret);
        }
        let secret = SecretString::from(blake3::hash(&(self.random)()).to_hex()[..48].to_owned());
        store.save_secret(&name, &secret).await?;
        Ok(secret)
    }
}

/// Connections of routes that want webhooks, with the modules that they map.
fn listened(config: &Config) -> BTreeMap<String, BTreeSet<ModuleName>> {
    let mut all: BTreeMap<String, BTreeSet<ModuleName>> = BTreeMap::new();
    for route in config.routes.values().filter(|route| route.webhooks) {
        // Mapping files with mistakes are told by each run.
        let Ok(sources) = read_folder(&route.mappings) else { continue };
        for side in Side::BOTH {
            all.entry(route.sides[side].clone()).or_default().extend(modules(&sources, side));
        }
    }
    all
}

/// Routes that want webhooks of a connection, and which side of them it is.
fn listeners(config: &Config, connection: &str) -> Vec<(RouteName, Side)> {
    let routes = config.routes.values().filter(|route| route.webhooks);
    let sides = routes.flat_map(|route| Side::BOTH.map(|side| (route, side)));
    sides
        .filter(|(route, side)| route.sides[*side] == connection)
        .map(|(route, side)| (route.name.clone(), side))
        .collect()
}

/// Where a connection posts to.
fn address(config: &Config, connection: &str) -> Result<Url, ServiceError> {
    let public = config.serve.public_url.as_ref().ok_or_else(|| {
        ServiceError::Config(
            "webhooks need an address that the CRM can reach; write it as public_url under [serve]"
                .into(),
        )
    })?;
    let wrong = |error| ServiceError::Config(format!("serve.public_url is no address: {error}"));
    let mut url = Url::parse(public).map_err(wrong)?;
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(["webhooks", connection]);
    }
    Ok(url)
}
