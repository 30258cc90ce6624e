//! The lease: one writer a route, fenced by an epoch that only grows.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use crmsync_core::model::RouteName;
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, DatabaseTransaction, EntityTrait, QueryFilter, QuerySelect};

use super::route::upsert;
use super::tables::lease;
use super::{RouteStore, Store, StoreError, codec};

impl Store {
    /// Takes the route's lease for `ttl` from `now`. Whoever held it before can write no more.
    ///
    /// # Errors
    /// [`StoreError::Leased`] while another holds it and it has not run out; nobody inherits a lease by name, since
    /// the process that took it may still be writing.
    pub async fn lock(
        &self,
        route: &RouteName,
        holder: &str,
        now: DateTime<Utc>,
        ttl: Duration,
    ) -> Result<RouteStore, StoreError> {
        let tx = self.begin().await?;
        let free =
            lease::Model { route: route.to_string(), holder: String::new(), epoch: 0, until: 0 };
        upsert(&tx, vec![free], &[lease::Column::Route], &[]).await?;
        let held = held(&tx, route).await?;
        if held.until > codec::micros(now) {
            let until = codec::time(held.until)?;
            return Err(StoreError::Leased { route: route.clone(), holder: held.holder, until });
        }
        let epoch = held.epoch + 1;
        lease::Entity::update_many()
            .col_expr(lease::Column::Holder, Expr::value(holder))
            .col_expr(lease::Column::Epoch, Expr::value(epoch))
            .col_expr(lease::Column::Until, Expr::value(codec::micros(end(now, ttl))))
            .filter(lease::Column::Route.eq(route.as_str()))
            .exec(&tx)
            .await?;
        tx.commit().await?;
        Ok(RouteStore::new(self.route(route), epoch))
    }

    /// Who holds the route's lease at `now`.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn holder(
        &self,
        route: &RouteName,
        now: DateTime<Utc>,
    ) -> Result<Option<String>, StoreError> {
        let reader = &self.pools.reader;
        let held = lease::Entity::find_by_id(route.as_str()).one(reader).await?;
        Ok(held.filter(|held| held.until > codec::micros(now)).map(|held| held.holder))
    }
}

impl RouteStore {
    /// Holds the lease for `ttl` from `now`.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] when another took it over.
    pub async fn renew(&self, now: DateTime<Utc>, ttl: Duration) -> Result<(), StoreError> {
        self.hold_until(codec::micros(end(now, ttl))).await
    }

    /// Gives the lease back.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] when another took it over.
    pub async fn release(self) -> Result<(), StoreError> {
        self.hold_until(0).await
    }

    async fn hold_until(&self, until: i64) -> Result<(), StoreError> {
        let tx = self.begin().await?;
        lease::Entity::update_many()
            .col_expr(lease::Column::Until, Expr::value(until))
            .filter(lease::Column::Route.eq(self.route.as_str()))
            .exec(&tx)
            .await?;
        Ok(tx.commit().await?)
    }

    /// Begins a write that commits only under our epoch: the row stays locked until then.
    pub(super) async fn begin(&self) -> Result<DatabaseTransaction, StoreError> {
        let tx = self.store.begin().await?;
        if held(&tx, &self.route).await?.epoch == self.epoch {
            Ok(tx)
        } else {
            Err(StoreError::LeaseLost(self.route.clone()))
        }
    }
}

async fn held(tx: &DatabaseTransaction, route: &RouteName) -> Result<lease::Model, StoreError> {
    let row = lease::Entity::find_by_id(route.as_str()).lock_exclusive().one(tx).await?;
    row.ok_or_else(|| StoreError::LeaseLost(route.clone()))
}

fn end(now: DateTime<Utc>, ttl: Duration) -> DateTime<Utc> {
    now + TimeDelta::from_std(ttl).unwrap_or(TimeDelta::MAX)
}
