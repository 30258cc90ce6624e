//! Runs, cached metadata and budgets.

use chrono::{DateTime, Utc};
use crmsync_core::model::RouteName;
use sea_orm::sea_query::{Expr, ExprTrait, OnConflict};
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, Insert, IntoActiveModel, QueryFilter, QueryOrder,
    QuerySelect, QueryTrait,
};

use super::route::upsert;
use super::tables::{budget, metadata, run};
use super::{RouteReader, RouteStore, RunRecord, Store, StoreError, codec};

impl Store {
    /// The last `limit` runs, newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn runs(
        &self,
        route: Option<&RouteName>,
        limit: u64,
    ) -> Result<Vec<RunRecord>, StoreError> {
        let mut find = run::Entity::find();
        if let Some(route) = route {
            find = find.filter(run::Column::Route.eq(route.as_str()));
        }
        let rows = find
            .order_by_desc(run::Column::StartedAt)
            .order_by_desc(run::Column::Id)
            .limit(limit)
            .all(&self.pools.reader)
            .await?;
        rows.iter().map(|row| codec::decode("run", &row.body)).collect()
    }

    /// A cached answer of a connection, and when it was fetched.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn metadata(
        &self,
        connection: &str,
        key: &str,
    ) -> Result<Option<(serde_json::Value, DateTime<Utc>)>, StoreError> {
        let id = (connection.to_owned(), key.to_owned());
        let row = metadata::Entity::find_by_id(id).one(&self.pools.reader).await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some((codec::decode("metadata", &row.body)?, codec::time(row.fetched_at)?)))
    }

    /// Keeps an answer of a connection.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn save_metadata(
        &self,
        connection: &str,
        key: &str,
        answer: &serde_json::Value,
        fetched_at: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        use metadata::Column as C;
        let row = metadata::Model {
            connection: connection.to_owned(),
            item: key.to_owned(),
            fetched_at: codec::micros(fetched_at),
            body: codec::encode(answer)?,
        };
        let tx = self.begin().await?;
        upsert(&tx, vec![row], &[C::Connection, C::Item], &[C::FetchedAt, C::Body]).await?;
        Ok(tx.commit().await?)
    }

    /// Adds what an attempt costs to the budget's window, before it is made.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn spend(
        &self,
        connection: &str,
        window: &str,
        units: u64,
        calls: u64,
    ) -> Result<(), StoreError> {
        use budget::Column as C;
        let (units, calls) = (codec::signed(units), codec::signed(calls));
        let row = budget::Model {
            connection: connection.to_owned(),
            period: window.to_owned(),
            units,
            calls,
        };
        let own = |column: C| Expr::col((budget::Entity, column));
        let mut conflict = OnConflict::columns([C::Connection, C::Period]);
        conflict
            .value(C::Units, own(C::Units).add(units))
            .value(C::Calls, own(C::Calls).add(calls));
        let insert = Insert::one(row.into_active_model()).on_conflict(conflict);
        let tx = self.begin().await?;
        tx.execute(insert.as_query()).await?;
        Ok(tx.commit().await?)
    }

    /// Units and calls by window, of the windows from `from` on, in order of their names.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn spent_from(
        &self,
        connection: &str,
        from: &str,
    ) -> Result<Vec<(String, u64, u64)>, StoreError> {
        use budget::Column as C;
        let find = budget::Entity::find().filter(C::Connection.eq(connection));
        let rows = find.filter(C::Period.gte(from)).order_by_asc(C::Period);
        let spent = |row: budget::Model| {
            (row.period, codec::unsigned(row.units), codec::unsigned(row.calls))
        };
        Ok(rows.all(&self.pools.reader).await?.into_iter().map(spent).collect())
    }

    /// Units and calls spent in the window.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn spent(&self, connection: &str, window: &str) -> Result<(u64, u64), StoreError> {
        let id = (connection.to_owned(), window.to_owned());
        let row = budget::Entity::find_by_id(id).one(&self.pools.reader).await?;
        let spent = |row: budget::Model| (codec::unsigned(row.units), codec::unsigned(row.calls));
        Ok(row.map(spent).unwrap_or_default())
    }
}

impl RouteReader {
    /// One run of the route.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn run(&self, id: &str) -> Result<Option<RunRecord>, StoreError> {
        let key = (self.route.to_string(), id.to_owned());
        let row = run::Entity::find_by_id(key).one(self.db()).await?;
        row.map(|row| codec::decode("run", &row.body)).transpose()
    }
}

impl RouteStore {
    /// [`Store::spend`], while a run is under way.
    ///
    /// # Errors
    /// As there.
    pub async fn spend(
        &self,
        connection: &str,
        window: &str,
        units: u64,
        calls: u64,
    ) -> Result<(), StoreError> {
        self.reader.store.spend(connection, window, units, calls).await
    }

    /// Stores a run as it is now.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`], or when the store cannot be written.
    pub async fn save_run(&self, record: &RunRecord) -> Result<(), StoreError> {
        use run::Column as C;
        let row = run::Model {
            route: self.route.to_string(),
            id: record.id.clone(),
            started_at: codec::micros(record.started_at),
            body: codec::encode(record)?,
        };
        let tx = self.begin().await?;
        upsert(&tx, vec![row], &[C::Route, C::Id], &[C::StartedAt, C::Body]).await?;
        Ok(tx.commit().await?)
    }
}
