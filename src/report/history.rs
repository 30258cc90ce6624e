//! What the store tells a person, and what a person tells the store.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use crmsync_core::model::row::Resolution;
use crmsync_core::model::state::Subject;
use crmsync_core::model::{EntityName, LinkId, OpenRow, RecordId, RecordKey, RouteName, Side};

use crate::clock::Ambient;
use crate::config::Config;
use crate::connectors::Cost;
use crate::service::spending::last_day;
use crate::service::{Labels, ServiceError, Words, connect};
use crate::store::{
    Effect, EntityCounts, Quarantine, RouteMeta, RouteStore, RowFilter, RunRecord, Store,
    StoreError, StoredRow,
};

/// How long a decision may hold a route: it writes a few rows.
const LEASE: Duration = Duration::from_secs(20);

/// An open store and the routes of the configuration.
pub struct History {
    store: Store,
    routes: Vec<RouteName>,
    ambient: Ambient,
}

impl History {
    /// Opens the store of a configuration.
    ///
    /// # Errors
    /// What the store says.
    pub async fn open(config: &Config, ambient: &Ambient) -> Result<Self, ServiceError> {
        let store = connect::open_store(config).await?;
        Ok(Self::new(store, config, ambient))
    }

    /// Reads from a store that is open already.
    pub fn new(store: Store, config: &Config, ambient: &Ambient) -> Self {
        let routes = config.routes.keys().cloned().collect();
        Self { store, routes, ambient: ambient.clone() }
    }

    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// Rows of a route, by ID.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn rows(
        &self,
        route: &RouteName,
        filter: &RowFilter,
    ) -> Result<Vec<StoredRow>, StoreError> {
        self.store.route(route).rows(filter).await
    }

    /// Stores decisions; the next run carries them out while their fingerprints still match.
    ///
    /// # Errors
    /// When another holds the route, or the store cannot be written.
    pub async fn decide(
        &self,
        route: &RouteName,
        decisions: &[Resolution],
    ) -> Result<(), StoreError> {
        let store = self.lock(route).await?;
        let mut stored = Ok(());
        for decision in decisions {
            stored = store.resolve(decision).await;
            if stored.is_err() {
                break;
            }
        }
        store.release().await?;
        stored
    }

    /// What a connection cost in the last 24 hours.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn spent(&self, connection: &str, now: DateTime<Utc>) -> Result<Cost, StoreError> {
        last_day(&self.store, connection, now).await
    }

    /// Everything of a route in quarantine.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn quarantines(&self, route: &RouteName) -> Result<Vec<Quarantine>, StoreError> {
        self.store.route(route).quarantines().await
    }

    /// Lets quarantined records and fields try again in the next run.
    ///
    /// # Errors
    /// When another holds the route, or the store cannot be written.
    pub async fn retry(
        &self,
        route: &RouteName,
        quarantines: &[&Quarantine],
    ) -> Result<(), StoreError> {
        let store = self.lock(route).await?;
        let mut stored = Ok(());
        for quarantine in quarantines {
            stored = store.retry(&quarantine.subject).await;
            if stored.is_err() {
                break;
            }
        }
        store.release().await?;
        stored
    }

    async fn lock(&self, route: &RouteName) -> Result<RouteStore, StoreError> {
        self.store.lock(route, &self.ambient.holder, self.ambient.clock.now(), LEASE).await
    }

    /// Newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn runs(&self, route: &RouteName, limit: u64) -> Result<Vec<RunRecord>, StoreError> {
        self.store.runs(Some(route), limit).await
    }

    /// The run `id` of whichever route has it.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn run(&self, id: &str) -> Result<Option<RunRecord>, StoreError> {
        for route in &self.routes {
            if let Some(run) = self.store.route(route).run(id).await? {
                return Ok(Some(run));
            }
        }
        Ok(None)
    }

    /// What a run wrote.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn effects(&self, route: &RouteName, run: &str) -> Result<Vec<Effect>, StoreError> {
        self.store.route(route).effects(run).await
    }

    /// What was ever written about a link.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn effects_of(
        &self,
        route: &RouteName,
        link: &LinkId,
    ) -> Result<Vec<Effect>, StoreError> {
        self.store.route(route).effects_of(link).await
    }

    /// The record `id` of either side with its link and counterpart. An ID that both sides use for different
    /// records means the left one.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn subject(
        &self,
        route: &RouteName,
        entity: &EntityName,
        id: &RecordId,
    ) -> Result<Option<Subject>, StoreError> {
        let reader = self.store.route(route);
        for side in Side::BOTH {
            let key = RecordKey { entity: entity.clone(), side, id: id.clone() };
            if let Some(subject) = reader.subject_of(&key).await? {
                let now = self.ambient.clock.now();
                return Ok(reader.subjects(entity, &[subject], now).await?.into_iter().next());
            }
        }
        Ok(None)
    }

    /// What the store holds of each entity of a route.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn counts(
        &self,
        route: &RouteName,
    ) -> Result<BTreeMap<EntityName, EntityCounts>, StoreError> {
        self.store.route(route).counts().await
    }

    /// Up to when a side of an entity was read.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn watermark(
        &self,
        route: &RouteName,
        entity: &EntityName,
        side: Side,
    ) -> Result<Option<DateTime<Utc>>, StoreError> {
        Ok(self.store.route(route).cursor(entity, side).await?.watermark)
    }

    /// What the records and values of rows are called, as far as the last run told.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn labels(
        &self,
        route: &RouteName,
        rows: impl IntoIterator<Item = &OpenRow>,
    ) -> Result<Labels, StoreError> {
        let words = Words::load(&self.store, route).await?;
        Labels::of_rows(&words, &self.store.route(route), rows).await
    }

    /// What a route remembers about itself.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn meta(&self, route: &RouteName) -> Result<RouteMeta, StoreError> {
        self.store.route(route).meta().await
    }
}
