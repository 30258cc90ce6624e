//! The two ways to a route's state: [`RouteReader`] for everybody, [`RouteStore`] for the lease's holder.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use crmsync_core::model::{EntityName, FieldName, RouteName};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DatabaseConnection, DatabaseTransaction,
    EntityTrait, Insert, IntoActiveModel, QueryFilter, QueryTrait, sea_query,
};

use super::tables::{cursor, route_meta, scope};
use super::{Cursor, RouteMeta, Store, StoreError, codec};
use crmsync_core::model::Side;

/// Keys named in one statement.
pub(super) const KEYS: usize = 500;
/// Rows in one insert: more is slower on SQLite.
const ROWS: usize = 100;
/// No scope has this number: reading an entity that was never written finds nothing.
const NOWHERE: i32 = 0;

/// Reads one route's state.
#[derive(Clone)]
pub struct RouteReader {
    pub(super) store: Store,
    pub(super) route: RouteName,
}

/// Reads and writes one route's state, for as long as its lease is held.
pub struct RouteStore {
    pub(super) reader: RouteReader,
    pub(super) epoch: i64,
    fingerprints: Arc<Mutex<BTreeMap<EntityName, BTreeMap<FieldName, String>>>>,
}

impl Deref for RouteStore {
    type Target = RouteReader;

    fn deref(&self) -> &RouteReader {
        &self.reader
    }
}

impl RouteReader {
    pub(super) fn db(&self) -> &DatabaseConnection {
        &self.store.pools.reader
    }

    /// Name of the route.
    pub const fn name(&self) -> &RouteName {
        &self.route
    }

    /// Number of the entity's scope.
    pub(super) async fn scope(&self, entity: &EntityName) -> Result<i32, StoreError> {
        Ok(self.known_scope(entity).await?.unwrap_or(NOWHERE))
    }

    pub(super) async fn known_scope(&self, entity: &EntityName) -> Result<Option<i32>, StoreError> {
        let key = (self.route.clone(), entity.clone());
        if let Some(id) = self.store.known_scopes().get(&key) {
            return Ok(Some(*id));
        }
        let found = scope::Entity::find()
            .filter(scope::Column::Route.eq(self.route.as_str()))
            .filter(scope::Column::Entity.eq(entity.as_str()))
            .one(self.db())
            .await?;
        Ok(found.map(|row| {
            self.store.known_scopes().insert(key, row.id);
            row.id
        }))
    }

    /// All scopes of the route.
    pub(super) async fn scopes(&self) -> Result<BTreeMap<i32, EntityName>, StoreError> {
        let rows = scope::Entity::find()
            .filter(scope::Column::Route.eq(self.route.as_str()))
            .all(self.db())
            .await?;
        Ok(rows.into_iter().map(|row| (row.id, EntityName::new(row.entity))).collect())
    }

    /// What the route remembers about itself; empty before the first run.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn meta(&self) -> Result<RouteMeta, StoreError> {
        let row = route_meta::Entity::find_by_id(self.route.as_str()).one(self.db()).await?;
        row.map_or_else(|| Ok(RouteMeta::default()), |row| codec::decode("route_meta", &row.body))
    }

    /// Where reading `side` goes on; empty before the first page.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn cursor(&self, entity: &EntityName, side: Side) -> Result<Cursor, StoreError> {
        load_cursor(self.db(), self.scope(entity).await?, side).await
    }
}

impl RouteStore {
    pub(super) fn new(reader: RouteReader, epoch: i64) -> Self {
        Self { reader, epoch, fingerprints: Arc::default() }
    }

    /// Tells under which mapping the baselines of `entity` are agreed from now on: `FieldRule::fingerprint` by
    /// field. A baseline committed without it carries an empty fingerprint, which no mapping has.
    pub fn agree_under(&self, entity: &EntityName, fingerprints: BTreeMap<FieldName, String>) {
        let mut known = self.fingerprints.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(entity.clone(), fingerprints);
    }

    pub(super) fn fingerprints(&self, entity: &EntityName) -> BTreeMap<FieldName, String> {
        let known = self.fingerprints.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(entity).cloned().unwrap_or_default()
    }

    /// The entity's scope, made when it is missing: in a transaction of its own, so that a rollback of the caller's
    /// does not take a remembered number back.
    pub(super) async fn own_scope(&self, entity: &EntityName) -> Result<i32, StoreError> {
        if let Some(id) = self.known_scope(entity).await? {
            return Ok(id);
        }
        let tx = self.begin().await?;
        // Both sides of an entity are observed at once: the other one may have been first.
        if let Some(id) = self.known_scope(entity).await? {
            return Ok(id);
        }
        let row = scope::ActiveModel {
            route: sea_orm::Set(self.route.to_string()),
            entity: sea_orm::Set(entity.to_string()),
            ..Default::default()
        };
        row.insert(&tx).await?;
        tx.commit().await?;
        self.scope(entity).await
    }

    /// Remembers `meta`.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`], or when the store cannot be written.
    pub async fn save_meta(&self, meta: &RouteMeta) -> Result<(), StoreError> {
        let row = route_meta::Model { route: self.route.to_string(), body: codec::encode(meta)? };
        let tx = self.begin().await?;
        upsert(&tx, vec![row], &[route_meta::Column::Route], &[route_meta::Column::Body]).await?;
        Ok(tx.commit().await?)
    }

    /// Replaces the cursor, whatever it was: a resync may move it back.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`], or when the store cannot be written.
    pub async fn save_cursor(
        &self,
        entity: &EntityName,
        side: Side,
        cursor: &Cursor,
    ) -> Result<(), StoreError> {
        let scope = self.own_scope(entity).await?;
        let tx = self.begin().await?;
        store_cursor(&tx, scope, side, cursor).await?;
        Ok(tx.commit().await?)
    }
}

pub(super) async fn load_cursor(
    db: &impl ConnectionTrait,
    scope: i32,
    side: Side,
) -> Result<Cursor, StoreError> {
    let row = cursor::Entity::find_by_id((scope, codec::side_code(side))).one(db).await?;
    row.map_or_else(|| Ok(Cursor::default()), |row| codec::decode("cursor", &row.body))
}

pub(super) async fn store_cursor(
    tx: &DatabaseTransaction,
    scope: i32,
    side: Side,
    now: &Cursor,
) -> Result<(), StoreError> {
    let row = cursor::Model { scope, side: codec::side_code(side), body: codec::encode(now)? };
    let key = [cursor::Column::Scope, cursor::Column::Side];
    upsert(tx, vec![row], &key, &[cursor::Column::Body]).await
}

/// Inserts rows; those whose `key` exists get the columns `changed`, or stay as they are when there are none.
///
/// Keys must not repeat within `rows`: PostgreSQL refuses a key twice in one statement.
pub(super) async fn upsert<M, A>(
    tx: &DatabaseTransaction,
    rows: Vec<M>,
    key: &[<A::Entity as EntityTrait>::Column],
    changed: &[<A::Entity as EntityTrait>::Column],
) -> Result<(), StoreError>
where
    M: IntoActiveModel<A>,
    A: ActiveModelTrait,
{
    let mut rows = rows.into_iter().peekable();
    while rows.peek().is_some() {
        let mut conflict = sea_query::OnConflict::columns(key.iter().copied());
        if changed.is_empty() {
            conflict.do_nothing_on(key.iter().copied());
        } else {
            conflict.update_columns(changed.iter().copied());
        }
        let batch = Insert::<A>::many(rows.by_ref().take(ROWS)).on_conflict(conflict);
        tx.execute(batch.as_query()).await?;
    }
    Ok(())
}
