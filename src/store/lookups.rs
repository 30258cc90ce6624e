//! What planning asks about records by key, by external ID, by reference.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use crmsync_core::model::state::{Candidate, MatchKey};
use crmsync_core::model::{
    EntityName, LinkId, Observation, Pair, Presence, RecordId, RecordKey, Side,
};
use sea_orm::sea_query::{Alias, Asterisk, Expr, ExprTrait, Func, Query, SelectStatement};
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, FromQueryResult, QueryFilter, QueryOrder,
    QuerySelect,
};

use super::observations::{known, load};
use super::route::KEYS;
use super::tables::{dirty, effect, former_end, link, link_end, match_key, observation};
use super::{Dirty, EntityCounts, RouteReader, StoreError, attention, codec, links};

/// An alive record with its live link.
#[derive(FromQueryResult)]
struct Found {
    match_key: String,
    side: i16,
    record: String,
    external: Option<String>,
    link: Option<String>,
}

#[derive(FromQueryResult)]
struct OtherEnd {
    record: String,
    link: String,
    other: Option<String>,
}

fn own(column: observation::Column) -> Expr {
    Expr::col((observation::Entity, column))
}

fn end(column: link_end::Column) -> Expr {
    Expr::col((link_end::Entity, column))
}

/// `SELECT` of [`Found`] but its key: alive records and the live link of each.
fn alive_records() -> SelectStatement {
    use observation::Column as O;
    let mut select = Query::select();
    select
        .column((observation::Entity, O::Side))
        .column((observation::Entity, O::Record))
        .column((observation::Entity, O::External))
        .column((link_end::Entity, link_end::Column::Link))
        .from(observation::Entity)
        .left_join(
            link_end::Entity,
            end(link_end::Column::Scope)
                .eq(own(O::Scope))
                .and(end(link_end::Column::Side).eq(own(O::Side)))
                .and(end(link_end::Column::Record).eq(own(O::Record))),
        )
        .and_where(own(O::Presence).eq(codec::presence_code(Presence::Alive)));
    select
}

impl RouteReader {
    /// Dirty records that are due, the longest due first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn dirty(
        &self,
        entity: &EntityName,
        side: Side,
        now: DateTime<Utc>,
        limit: u64,
    ) -> Result<Vec<Dirty>, StoreError> {
        use dirty::Column as C;
        let rows = dirty::Entity::find()
            .filter(C::Scope.eq(self.scope(entity).await?))
            .filter(C::Side.eq(codec::side_code(side)))
            .filter(C::NextAt.lte(codec::micros(now)))
            .order_by_asc(C::NextAt)
            .order_by_asc(C::Record)
            .limit(limit)
            .all(self.db())
            .await?;
        rows.into_iter().map(dirty_noun).collect()
    }

    /// Alive, in-scope records of both sides that share these keys, in the order of [`Candidate`].
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn candidates(
        &self,
        entity: &EntityName,
        keys: &BTreeSet<MatchKey>,
    ) -> Result<BTreeMap<MatchKey, Vec<Candidate>>, StoreError> {
        use match_key::Column as K;
        use observation::Column as O;
        let scope = self.scope(entity).await?;
        let keys: Vec<_> = keys.iter().map(|key| key.0.as_str()).collect();
        let mut found = Vec::new();
        let of_key = |column: K| Expr::col((match_key::Entity, column));
        for keys in keys.chunks(KEYS) {
            let mut select = alive_records();
            select
                .column((match_key::Entity, K::MatchKey))
                .inner_join(
                    match_key::Entity,
                    of_key(K::Scope)
                        .eq(own(O::Scope))
                        .and(of_key(K::Side).eq(own(O::Side)))
                        .and(of_key(K::Record).eq(own(O::Record))),
                )
                .and_where(of_key(K::Scope).eq(scope))
                .and_where(of_key(K::MatchKey).is_in(keys.iter().copied()))
                .and_where(own(O::InScope).eq(true));
            found.extend(self.found(&select).await?);
        }
        let by_text = self.as_candidates(scope, found).await?;
        Ok(by_text.into_iter().map(|(key, all)| (MatchKey(key), all)).collect())
    }

    /// Alive records of `holder_side` whose external ID is one of `ids`, by that ID.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn by_external_id(
        &self,
        entity: &EntityName,
        holder_side: Side,
        ids: &[RecordId],
    ) -> Result<BTreeMap<RecordId, Vec<Candidate>>, StoreError> {
        use observation::Column as O;
        let all = self.alive_by(entity, holder_side, O::External, ids).await?;
        Ok(all.into_iter().map(|(id, holders)| (RecordId::new(id), holders)).collect())
    }

    /// Those of `ids` that are alive, and those that a tombstone stands for.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn named(
        &self,
        entity: &EntityName,
        side: Side,
        ids: &[RecordId],
    ) -> Result<(BTreeMap<RecordId, Candidate>, BTreeSet<RecordId>), StoreError> {
        let all = self.alive_by(entity, side, observation::Column::Record, ids).await?;
        let one = |(id, holders): (String, Vec<Candidate>)| {
            holders.into_iter().next().map(|holder| (RecordId::new(id), holder))
        };
        let alive = all.into_iter().filter_map(one).collect();
        let scope = self.scope(entity).await?;
        let texts = ids.iter().map(ToString::to_string).collect();
        let gone = links::tombstoned(self.db(), scope, side, &texts).await?;
        Ok((alive, gone.into_iter().map(RecordId::new).collect()))
    }

    /// Alive records of `side` whose `column` is one of `ids`, by that column.
    async fn alive_by(
        &self,
        entity: &EntityName,
        side: Side,
        column: observation::Column,
        ids: &[RecordId],
    ) -> Result<BTreeMap<String, Vec<Candidate>>, StoreError> {
        use observation::Column as O;
        let scope = self.scope(entity).await?;
        let mut found = Vec::new();
        for ids in ids.chunks(KEYS) {
            let mut select = alive_records();
            select
                .expr_as(own(column), Alias::new("match_key"))
                .and_where(own(O::Scope).eq(scope))
                .and_where(own(O::Side).eq(codec::side_code(side)))
                .and_where(own(column).is_in(ids.iter().map(RecordId::as_str)));
            found.extend(self.found(&select).await?);
        }
        self.as_candidates(scope, found).await
    }

    async fn found(&self, select: &SelectStatement) -> Result<Vec<Found>, StoreError> {
        let rows = self.db().query_all(select).await?;
        Ok(rows.iter().map(|row| Found::from_query_result(row, "")).collect::<Result<_, _>>()?)
    }

    /// Adds what became of the other ends, and groups by key.
    async fn as_candidates(
        &self,
        scope: i32,
        found: Vec<Found>,
    ) -> Result<BTreeMap<String, Vec<Candidate>>, StoreError> {
        let (mut linked, mut unlinked) = (BTreeSet::new(), Pair::<BTreeSet<String>>::default());
        for found in &found {
            match &found.link {
                Some(link) => drop(linked.insert(link.clone())),
                None => drop(unlinked[codec::side(found.side)?].insert(found.record.clone())),
            }
        }
        let mut former = BTreeMap::new();
        for side in Side::BOTH {
            let ids: Vec<_> = unlinked[side].iter().cloned().collect();
            for ids in ids.chunks(KEYS) {
                for (id, link) in attention::former_links(self.db(), scope, side, ids).await? {
                    former.insert((codec::side_code(side), id), link);
                }
            }
        }
        let halved = self.halved(scope, linked, &former).await?;
        let mut all: BTreeMap<String, Vec<Candidate>> = BTreeMap::new();
        for found in found {
            let past = former.get(&(found.side, found.record.clone()));
            let side = codec::side(found.side)?;
            let link = found.link.as_ref().or(past);
            let gone = link.is_some_and(|link| halved.contains(&(link.clone(), side.other())));
            all.entry(found.match_key).or_default().push(Candidate {
                side,
                id: RecordId::new(found.record),
                link: found.link.map(LinkId),
                counterpart_gone: gone,
                survivor: past.is_some(),
                external_id: found.external.map(RecordId::new),
            });
        }
        for candidates in all.values_mut() {
            candidates.sort();
            candidates.dedup();
        }
        Ok(all)
    }

    /// Links, of the live and former ones given, whose end on that side is tombstoned and not back.
    async fn halved(
        &self,
        scope: i32,
        live: BTreeSet<String>,
        former: &BTreeMap<(i16, String), String>,
    ) -> Result<BTreeSet<(String, Side)>, StoreError> {
        let mut ends: Pair<BTreeMap<String, Vec<String>>> = Pair::default();
        let live: Vec<_> = live.into_iter().collect();
        for links in live.chunks(KEYS) {
            let find = link_end::Entity::find().filter(link_end::Column::Scope.eq(scope));
            for row in find
                .filter(link_end::Column::Link.is_in(links.iter().map(String::as_str)))
                .all(self.db())
                .await?
            {
                ends[codec::side(row.side)?].entry(row.record).or_default().push(row.link);
            }
        }
        let past: Vec<_> = former.values().map(String::as_str).collect();
        for links in past.chunks(KEYS) {
            let find = former_end::Entity::find().filter(former_end::Column::Scope.eq(scope));
            for row in find
                .filter(former_end::Column::Link.is_in(links.iter().copied()))
                .all(self.db())
                .await?
            {
                ends[codec::side(row.side)?].entry(row.record).or_default().push(row.link);
            }
        }
        let mut halved = BTreeSet::new();
        for side in Side::BOTH {
            let ids = ends[side].keys().cloned().collect();
            let gone = links::tombstoned(self.db(), scope, side, &ids).await?;
            let seen = known(self.db(), scope, side, &gone).await?;
            let is_back = |id: &String| {
                let alive = codec::presence_code(Presence::Alive);
                seen.get(id).is_some_and(|row| row.presence == alive)
            };
            for gone in gone.into_iter().filter(|id| !is_back(id)) {
                halved.extend(
                    ends[side]
                        .remove(&gone)
                        .unwrap_or_default()
                        .into_iter()
                        .map(|link| (link, side)),
                );
            }
        }
        Ok(halved)
    }

    /// The live link of each record, and its other end where that is known.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn counterparts(
        &self,
        entity: &EntityName,
        side: Side,
        ids: &BTreeSet<RecordId>,
    ) -> Result<BTreeMap<RecordId, (LinkId, Option<RecordId>)>, StoreError> {
        use link_end::Column as C;
        let scope = self.scope(entity).await?;
        let ids: Vec<_> = ids.iter().map(RecordId::as_str).collect();
        let (near, far) = (Alias::new("near"), Alias::new("far"));
        let near_column = |column: C| Expr::col((near.clone(), column));
        let far_column = |column: C| Expr::col((far.clone(), column));
        let mut all = BTreeMap::new();
        for ids in ids.chunks(KEYS) {
            let mut select = Query::select();
            select
                .column((near.clone(), C::Record))
                .column((near.clone(), C::Link))
                .expr_as(far_column(C::Record), Alias::new("other"))
                .from_as(link_end::Entity, near.clone())
                .join_as(
                    sea_orm::sea_query::JoinType::LeftJoin,
                    link_end::Entity,
                    far.clone(),
                    far_column(C::Scope)
                        .eq(near_column(C::Scope))
                        .and(far_column(C::Link).eq(near_column(C::Link)))
                        .and(far_column(C::Side).eq(codec::side_code(side.other()))),
                )
                .and_where(near_column(C::Scope).eq(scope))
                .and_where(near_column(C::Side).eq(codec::side_code(side)))
                .and_where(near_column(C::Record).is_in(ids.iter().copied()));
            for row in self.db().query_all(&select).await? {
                let row = OtherEnd::from_query_result(&row, "")?;
                all.insert(
                    RecordId::new(row.record),
                    (LinkId(row.link), row.other.map(RecordId::new)),
                );
            }
        }
        Ok(all)
    }

    /// Presence and scope of those records that are known.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn presence(
        &self,
        entity: &EntityName,
        side: Side,
        ids: &BTreeSet<RecordId>,
    ) -> Result<BTreeMap<RecordId, (Presence, bool)>, StoreError> {
        let scope = self.scope(entity).await?;
        let ids = ids.iter().map(ToString::to_string).collect();
        let rows = known(self.db(), scope, side, &ids).await?;
        rows.into_iter()
            .map(|(id, row)| {
                Ok((RecordId::new(id), (codec::presence(row.presence)?, row.in_scope)))
            })
            .collect()
    }

    /// The named observations, ordered by key; unknown ones are left out.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn observations(&self, keys: &[RecordKey]) -> Result<Vec<Observation>, StoreError> {
        let mut groups: BTreeMap<_, BTreeSet<String>> = BTreeMap::new();
        for key in keys {
            groups.entry((&key.entity, key.side)).or_default().insert(key.id.to_string());
        }
        let mut all = Vec::new();
        for ((entity, side), ids) in groups {
            let scope = self.scope(entity).await?;
            let rows = load(self.db(), scope, entity, side, &ids).await?;
            all.extend(rows.into_values().map(|row| row.observation));
        }
        Ok(all)
    }

    /// How many links of the entity live.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn live_links(&self, entity: &EntityName) -> Result<u64, StoreError> {
        use link::Column as C;
        let scope = self.scope(entity).await?;
        let mut select = Query::select();
        select
            .from(link::Entity)
            .and_where(Expr::col(C::Scope).eq(scope))
            .and_where(Expr::col(C::State).is_in(codec::LIVE.iter().copied()));
        self.count(select).await
    }

    /// Deletes and archives, then creates, that took effect since `since`, by written side.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn recent(
        &self,
        entity: &EntityName,
        since: DateTime<Utc>,
    ) -> Result<(Pair<u64>, Pair<u64>), StoreError> {
        let scope = self.scope(entity).await?;
        let (mut deletes, mut creates) = (Pair::default(), Pair::default());
        for side in Side::BOTH {
            deletes[side] = self.effects_since(scope, side, codec::DELETES, since).await?;
            creates[side] = self.effects_since(scope, side, codec::CREATES, since).await?;
        }
        Ok((deletes, creates))
    }

    async fn effects_since(
        &self,
        scope: i32,
        side: Side,
        kinds: &[i16],
        since: DateTime<Utc>,
    ) -> Result<u64, StoreError> {
        use effect::Column as C;
        let mut select = Query::select();
        select
            .from(effect::Entity)
            .and_where(Expr::col(C::Scope).eq(scope))
            .and_where(Expr::col(C::Kind).is_in(kinds.iter().copied()))
            .and_where(Expr::col(C::Side).eq(codec::side_code(side)))
            .and_where(Expr::col(C::At).gte(codec::micros(since)));
        self.count(select).await
    }

    /// Counts the rows of `select`, which names no columns: an index may answer alone.
    async fn count(&self, mut select: SelectStatement) -> Result<u64, StoreError> {
        select.expr_as(Func::count(Expr::col(Asterisk)), Alias::new("rows_found"));
        let row = self.db().query_one(&select).await?;
        let count: Option<i64> = row.map(|row| row.try_get("", "rows_found")).transpose()?;
        Ok(codec::unsigned(count.unwrap_or(0)))
    }

    /// Alive records that the listing of this epoch did not show, by ID, after `after`.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn unseen(
        &self,
        entity: &EntityName,
        side: Side,
        epoch: u64,
        after: Option<&RecordId>,
        limit: u64,
    ) -> Result<Vec<RecordId>, StoreError> {
        use observation::Column as C;
        let mut find = observation::Entity::find()
            .select_only()
            .column(C::Record)
            .filter(C::Scope.eq(self.scope(entity).await?))
            .filter(C::Side.eq(codec::side_code(side)))
            .filter(C::Presence.eq(codec::presence_code(Presence::Alive)))
            .filter(C::Epoch.ne(codec::signed(epoch)));
        if let Some(after) = after {
            find = find.filter(C::Record.gt(after.as_str()));
        }
        let ids: Vec<String> =
            find.order_by_asc(C::Record).limit(limit).into_tuple().all(self.db()).await?;
        Ok(ids.into_iter().map(RecordId::new).collect())
    }

    /// How many records of the side are alive.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn alive(&self, entity: &EntityName, side: Side) -> Result<u64, StoreError> {
        use observation::Column as C;
        let mut select = Query::select();
        select
            .from(observation::Entity)
            .and_where(Expr::col(C::Scope).eq(self.scope(entity).await?))
            .and_where(Expr::col(C::Side).eq(codec::side_code(side)))
            .and_where(Expr::col(C::Presence).eq(codec::presence_code(Presence::Alive)));
        self.count(select).await
    }

    /// Ends of live links that were never observed. Such an end is dirty from the moment it is linked, and an
    /// observation is never taken back, so that the dirty set is all there is to look through.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn link_ends_without_observation(
        &self,
        entity: &EntityName,
    ) -> Result<Vec<RecordKey>, StoreError> {
        use dirty::Column as D;
        let scope = self.scope(entity).await?;
        let mut all = Vec::new();
        for side in Side::BOTH {
            let ids: Vec<String> = dirty::Entity::find()
                .select_only()
                .column(D::Record)
                .filter(D::Scope.eq(scope))
                .filter(D::Side.eq(codec::side_code(side)))
                .order_by_asc(D::Record)
                .into_tuple()
                .all(self.db())
                .await?;
            for ids in ids.chunks(KEYS) {
                let known = known(self.db(), scope, side, &ids.iter().cloned().collect()).await?;
                let linked = attention::live_links(self.db(), scope, side, ids).await?;
                let lost = linked.into_iter().filter(|(id, _)| !known.contains_key(id));
                all.extend(lost.map(|(id, _)| RecordKey {
                    entity: entity.clone(),
                    side,
                    id: RecordId::new(id),
                }));
            }
        }
        Ok(all)
    }

    /// Entities that the route knows.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn entities(&self) -> Result<Vec<EntityName>, StoreError> {
        let mut names: Vec<_> = self.scopes().await?.into_values().collect();
        names.sort();
        Ok(names)
    }

    /// How much the store holds, by entity: a walk over all of it.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn counts(&self) -> Result<BTreeMap<EntityName, EntityCounts>, StoreError> {
        let mut all = BTreeMap::new();
        for (scope, entity) in self.scopes().await? {
            let counts = EntityCounts {
                left: self.alive(&entity, Side::Left).await?,
                right: self.alive(&entity, Side::Right).await?,
                links: self.live_links(&entity).await?,
                open_rows: self.open_rows_in(&[scope]).await?,
                attention: self.attention_count(&entity).await?,
            };
            all.insert(entity, counts);
        }
        Ok(all)
    }
}

fn dirty_noun(row: dirty::Model) -> Result<Dirty, StoreError> {
    Ok(Dirty {
        id: RecordId::new(row.record),
        reason: row.reason,
        attempts: u32::try_from(row.attempts).unwrap_or(0),
        missing_since: codec::maybe_time(row.missing_since)?,
        next_at: codec::time(row.next_at)?,
    })
}
