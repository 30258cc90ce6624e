//! Attention: the subjects that the next plan must look at. A mark is a row, so that an idle run finds an empty
//! table however many links there are.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use crmsync_core::model::state::{MatchKey, Subject, SubjectKey};
use crmsync_core::model::{EntityName, RecordKey, Side};
use sea_orm::sea_query::{
    Alias, DynIden, Expr, ExprTrait, Func, InsertStatement, IntoIden, OnConflict, Query,
    SelectStatement,
};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, PaginatorTrait, QueryFilter,
    QueryOrder, QuerySelect,
};

use super::observations::{Known, is_plannable, known, plannable};
use super::route::{KEYS, upsert};
use super::tables::{attention, former_end, link, link_end, match_key, observation, quarantine};
use super::{Observed, RouteReader, RouteStore, StoreError, codec, rows};

/// Marks to be set at the end of a transaction.
#[derive(Default)]
pub(super) struct Marks {
    /// Records, and whether they can be planned while unlinked; `None`: look it up.
    records: BTreeMap<(Side, String), Option<bool>>,
    /// Unlinked records that share one of these keys see other candidates now.
    keys: BTreeSet<String>,
    pub(super) subjects: BTreeSet<String>,
}

impl Marks {
    pub(super) fn record(&mut self, side: Side, id: &str, plannable: bool) {
        self.records.insert((side, id.to_owned()), Some(plannable));
    }

    pub(super) fn maybe(&mut self, side: Side, id: &str) {
        self.records.entry((side, id.to_owned())).or_insert(None);
    }

    /// Others look at a known record anew when its keys, its life or its scope change. A new record needs no such
    /// help: it finds them itself.
    pub(super) fn neighbors_of(
        &mut self,
        row: &Observed,
        before: Option<&Known>,
    ) -> Result<(), StoreError> {
        let Some(before) = before else { return Ok(()) };
        let old: Vec<MatchKey> = codec::decode("observation.match_keys", &before.match_keys)?;
        let seen = &row.observation;
        let same_life = before.presence == codec::presence_code(seen.presence)
            && before.in_scope == seen.in_scope;
        if old != row.keys || !same_life {
            self.keys.extend(old.into_iter().chain(row.keys.iter().cloned()).map(|key| key.0));
        }
        Ok(())
    }

    pub(super) fn keys(&mut self, keys: impl IntoIterator<Item = MatchKey>) {
        self.keys.extend(keys.into_iter().map(|key| key.0));
    }
}

/// Sets the marks. Unlinked records that nobody can plan lose theirs, and their open rows close.
pub(super) async fn apply(
    tx: &DatabaseTransaction,
    scope: i32,
    mut marks: Marks,
) -> Result<(), StoreError> {
    for (side, id) in sharing(tx, scope, &marks.keys).await? {
        marks.maybe(side, &id);
    }
    let subjects = subjects_of(tx, scope, marks.records.keys()).await?;
    look_up(tx, scope, &subjects, &mut marks.records).await?;
    let mut idle = BTreeSet::new();
    for (key, plannable) in &marks.records {
        let Some(subject) = subjects.get(key) else { continue };
        if subject.starts_with('a') || *plannable == Some(true) {
            marks.subjects.insert(subject.clone());
        } else {
            idle.insert(subject.clone());
        }
    }
    mark(tx, scope, marks.subjects).await?;
    retire(tx, scope, &idle).await
}

/// Finds out, for the unlinked records of `records`, whether they can be planned.
async fn look_up(
    tx: &DatabaseTransaction,
    scope: i32,
    subjects: &BTreeMap<(Side, String), String>,
    records: &mut BTreeMap<(Side, String), Option<bool>>,
) -> Result<(), StoreError> {
    for side in Side::BOTH {
        let unlinked = |key: &(Side, String)| {
            subjects.get(key).is_some_and(|subject| !subject.starts_with('a'))
        };
        let open =
            records.iter().filter(|(key, now)| key.0 == side && now.is_none() && unlinked(key));
        let ids: BTreeSet<_> = open.map(|(key, _)| key.1.clone()).collect();
        for (id, row) in known(tx, scope, side, &ids).await? {
            records.insert((side, id), Some(is_plannable(row.presence, row.in_scope)));
        }
    }
    Ok(())
}

/// Records of both sides that carry one of the keys and belong to no link: the others do not look for a
/// counterpart, and a key that an import gave to thousands of them would bring all of them each time.
async fn sharing(
    tx: &DatabaseTransaction,
    scope: i32,
    keys: &BTreeSet<String>,
) -> Result<BTreeSet<(Side, String)>, StoreError> {
    use match_key::Column as C;
    let keys: Vec<_> = keys.iter().cloned().collect();
    let mut all = BTreeSet::new();
    for keys in keys.chunks(KEYS) {
        let find = match_key::Entity::find()
            .filter(C::Scope.eq(scope))
            .filter(C::MatchKey.is_in(keys.iter().cloned()))
            .filter(belongs_to_no_link(match_key::Entity));
        for row in find.all(tx).await? {
            all.insert((codec::side(row.side)?, row.record));
        }
    }
    Ok(all)
}

/// Whether the record of a row has neither a live link nor a former one: its subject is itself.
fn belongs_to_no_link(rows: impl IntoIden) -> Expr {
    let rows = rows.into_iden();
    let live = named_in(link_end::Entity, rows.clone());
    live.not().and(named_in(former_end::Entity, rows).not())
}

/// Whether the record of a row is named in a table of ends.
fn named_in(ends: impl IntoIden, rows: impl IntoIden) -> Expr {
    let (ends, rows): (DynIden, DynIden) = (ends.into_iden(), rows.into_iden());
    let mut named = Query::select();
    named.expr(Expr::val(1)).from(ends.clone());
    for column in ["scope", "side", "record"].map(Alias::new) {
        let own = Expr::col((ends.clone(), column.clone()));
        named.and_where(own.equals((rows.clone(), column)));
    }
    Expr::exists(named)
}

/// The subject that each record belongs to: its live link; else the link whose survivor or victim it is; else itself.
pub(super) async fn subjects_of<'k>(
    db: &impl ConnectionTrait,
    scope: i32,
    records: impl Iterator<Item = &'k (Side, String)>,
) -> Result<BTreeMap<(Side, String), String>, StoreError> {
    let mut subjects: BTreeMap<_, _> =
        records.map(|(side, id)| ((*side, id.clone()), codec::record_text(*side, id))).collect();
    for side in Side::BOTH {
        let ids: Vec<_> =
            subjects.keys().filter(|key| key.0 == side).map(|key| key.1.clone()).collect();
        for ids in ids.chunks(KEYS) {
            for (id, link) in former_links(db, scope, side, ids).await? {
                subjects.insert((side, id), codec::link_text(&link));
            }
            for (id, link) in live_links(db, scope, side, ids).await? {
                subjects.insert((side, id), codec::link_text(&link));
            }
        }
    }
    Ok(subjects)
}

/// Record and live link, for those of `ids` that have one.
pub(super) async fn live_links(
    db: &impl ConnectionTrait,
    scope: i32,
    side: Side,
    ids: &[String],
) -> Result<Vec<(String, String)>, StoreError> {
    use link_end::Column as C;
    let rows = link_end::Entity::find()
        .filter(C::Scope.eq(scope))
        .filter(C::Side.eq(codec::side_code(side)))
        .filter(C::Record.is_in(ids.iter().map(String::as_str)))
        .all(db)
        .await?;
    Ok(rows.into_iter().map(|row| (row.record, row.link)).collect())
}

/// Record and link that lives no more, for those of `ids` that had one.
pub(super) async fn former_links(
    db: &impl ConnectionTrait,
    scope: i32,
    side: Side,
    ids: &[String],
) -> Result<Vec<(String, String)>, StoreError> {
    use former_end::Column as C;
    let rows = former_end::Entity::find()
        .filter(C::Scope.eq(scope))
        .filter(C::Side.eq(codec::side_code(side)))
        .filter(C::Record.is_in(ids.iter().map(String::as_str)))
        .all(db)
        .await?;
    Ok(rows.into_iter().map(|row| (row.record, row.link)).collect())
}

pub(super) async fn mark(
    tx: &DatabaseTransaction,
    scope: i32,
    subjects: BTreeSet<String>,
) -> Result<(), StoreError> {
    use attention::Column as C;
    let rows = subjects.into_iter().map(|subject| attention::Model { scope, subject }).collect();
    upsert(tx, rows, &[C::Scope, C::Subject], &[]).await
}

pub(super) async fn unmark(
    tx: &DatabaseTransaction,
    scope: i32,
    subjects: &BTreeSet<String>,
) -> Result<(), StoreError> {
    use attention::Column as C;
    let subjects: Vec<_> = subjects.iter().map(String::as_str).collect();
    for subjects in subjects.chunks(KEYS) {
        attention::Entity::delete_many()
            .filter(C::Scope.eq(scope))
            .filter(C::Subject.is_in(subjects.iter().copied()))
            .exec(tx)
            .await?;
    }
    Ok(())
}

/// Nothing can be planned for these any more: no mark, no open row.
pub(super) async fn retire(
    tx: &DatabaseTransaction,
    scope: i32,
    subjects: &BTreeSet<String>,
) -> Result<(), StoreError> {
    if subjects.is_empty() {
        return Ok(());
    }
    unmark(tx, scope, subjects).await?;
    rows::close_of(tx, scope, subjects).await
}

impl RouteReader {
    /// Subjects that the next plan must look at, after `after`, by key: links first, then left and right records.
    /// A subject whose quarantine may be tried again is among them.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn attention(
        &self,
        entity: &EntityName,
        after: Option<&SubjectKey>,
        limit: u64,
        now: DateTime<Utc>,
    ) -> Result<Vec<Subject>, StoreError> {
        let scope = self.scope(entity).await?;
        let mut after = after.map(codec::subject_text).unwrap_or_default();
        loop {
            let marked = self.marked(scope, &after, limit, now).await?;
            let Some(last) = marked.last() else { return Ok(Vec::new()) };
            after.clone_from(last);
            let marked = self.still_themselves(scope, entity, marked).await?;
            let mut subjects = self.load_subjects(scope, entity, &marked, now).await?;
            subjects.retain(|subject| subject.link.is_some() || is_open(subject));
            // A page of marks that lead nowhere is no end.
            if !subjects.is_empty() {
                return Ok(subjects);
            }
        }
    }

    /// Leaves out records that belong to a link by now.
    async fn still_themselves(
        &self,
        scope: i32,
        entity: &EntityName,
        marked: Vec<String>,
    ) -> Result<Vec<String>, StoreError> {
        let resolved = self.resolved(scope, entity, &marked).await?;
        let same = marked.into_iter().zip(resolved).filter(|(marked, now)| marked == now);
        Ok(same.map(|(marked, _)| marked).collect())
    }

    /// The subjects that these texts name now: a record may have been linked.
    async fn resolved(
        &self,
        scope: i32,
        entity: &EntityName,
        texts: &[String],
    ) -> Result<Vec<String>, StoreError> {
        let mut records = BTreeMap::new();
        for text in texts {
            if let SubjectKey::Record(key) = codec::subject_key(entity, text)? {
                records.insert(text, (key.side, key.id.to_string()));
            }
        }
        let now = subjects_of(self.db(), scope, records.values()).await?;
        let one = |text: &String| {
            records.get(text).and_then(|record| now.get(record)).unwrap_or(text).clone()
        };
        Ok(texts.iter().map(one).collect())
    }

    async fn marked(
        &self,
        scope: i32,
        after: &str,
        limit: u64,
        now: DateTime<Utc>,
    ) -> Result<Vec<String>, StoreError> {
        let set: Vec<String> = attention::Entity::find()
            .select_only()
            .column(attention::Column::Subject)
            .filter(attention::Column::Scope.eq(scope))
            .filter(attention::Column::Subject.gt(after))
            .order_by_asc(attention::Column::Subject)
            .limit(limit)
            .into_tuple()
            .all(self.db())
            .await?;
        let due: Vec<String> = quarantine::Entity::find()
            .select_only()
            .column(quarantine::Column::Subject)
            .distinct()
            .filter(quarantine::Column::Scope.eq(scope))
            .filter(quarantine::Column::Subject.gt(after))
            .filter(quarantine::Column::NextAt.lte(codec::micros(now)))
            .order_by_asc(quarantine::Column::Subject)
            .limit(limit)
            .into_tuple()
            .all(self.db())
            .await?;
        let both: BTreeSet<_> = set.into_iter().chain(due).collect();
        Ok(both.into_iter().take(usize::try_from(limit).unwrap_or(usize::MAX)).collect())
    }

    /// Those of `subjects` that are marked, in the order of their texts.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn marked_among(
        &self,
        entity: &EntityName,
        subjects: &[SubjectKey],
    ) -> Result<Vec<SubjectKey>, StoreError> {
        use attention::Column as C;
        let scope = self.scope(entity).await?;
        let texts: BTreeSet<_> = subjects.iter().map(codec::subject_text).collect();
        let texts: Vec<_> = texts.iter().map(String::as_str).collect();
        let mut marked = Vec::new();
        for texts in texts.chunks(KEYS) {
            let found: Vec<String> = attention::Entity::find()
                .select_only()
                .column(C::Subject)
                .filter(C::Scope.eq(scope))
                .filter(C::Subject.is_in(texts.iter().copied()))
                .order_by_asc(C::Subject)
                .into_tuple()
                .all(self.db())
                .await?;
            marked.extend(found);
        }
        marked.iter().map(|text| codec::subject_key(entity, text)).collect()
    }

    /// How many subjects are marked.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn attention_count(&self, entity: &EntityName) -> Result<u64, StoreError> {
        let scope = self.scope(entity).await?;
        let find = attention::Entity::find().filter(attention::Column::Scope.eq(scope));
        Ok(find.count(self.db()).await?)
    }

    /// The named subjects, whatever their mark; those that are unknown are left out.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn subjects(
        &self,
        entity: &EntityName,
        keys: &[SubjectKey],
        now: DateTime<Utc>,
    ) -> Result<Vec<Subject>, StoreError> {
        let scope = self.scope(entity).await?;
        let texts: BTreeSet<_> = keys.iter().map(codec::subject_text).collect();
        let texts: Vec<_> = texts.into_iter().collect();
        let texts: BTreeSet<_> = self.resolved(scope, entity, &texts).await?.into_iter().collect();
        let texts: Vec<_> = texts.into_iter().collect();
        self.load_subjects(scope, entity, &texts, now).await
    }

    /// The subject that a record belongs to; `None` when the record is unknown.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn subject_of(&self, key: &RecordKey) -> Result<Option<SubjectKey>, StoreError> {
        let scope = self.scope(&key.entity).await?;
        let record = (key.side, key.id.to_string());
        let subjects = subjects_of(self.db(), scope, std::iter::once(&record)).await?;
        let Some(text) = subjects.get(&record) else { return Ok(None) };
        let ids = BTreeSet::from([record.1.clone()]);
        let is_known =
            text.starts_with('a') || !known(self.db(), scope, key.side, &ids).await?.is_empty();
        is_known.then(|| codec::subject_key(&key.entity, text)).transpose()
    }
}

/// Whether an unlinked subject is alive and in scope.
fn is_open(subject: &Subject) -> bool {
    Side::BOTH.iter().any(|side| subject.observations[*side].as_ref().is_some_and(plannable))
}

impl RouteStore {
    /// Marks every live link and every unlinked record that can be planned: after a change of mapping.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`], or when the store cannot be written.
    pub async fn touch_all(&self, entity: &EntityName) -> Result<(), StoreError> {
        let scope = self.own_scope(entity).await?;
        let tx = self.begin().await?;
        mark_links(&tx, scope).await?;
        for side in Side::BOTH {
            mark_unlinked(&tx, scope, side).await?;
        }
        Ok(tx.commit().await?)
    }
}

pub(super) async fn mark_links(tx: &DatabaseTransaction, scope: i32) -> Result<(), StoreError> {
    use link::Column as C;
    let mut select = Query::select();
    select
        .expr(Expr::col(C::Scope))
        .expr(Func::cust("CONCAT").arg(Expr::cust("'a'")).arg(Expr::col(C::Id)))
        .from(link::Entity)
        .and_where(Expr::col(C::Scope).eq(scope))
        .and_where(Expr::col(C::State).is_in([0, 1, 2, 3]));
    insert_marks(tx, select).await
}

async fn mark_unlinked(tx: &DatabaseTransaction, scope: i32, side: Side) -> Result<(), StoreError> {
    use observation::Column as C;
    let prefix = Expr::cust(if side == Side::Left { "'b'" } else { "'c'" });
    let mut select = Query::select();
    select
        .expr(Expr::col((observation::Entity, C::Scope)))
        .expr(Func::cust("CONCAT").arg(prefix).arg(Expr::col((observation::Entity, C::Record))))
        .from(observation::Entity)
        .and_where(Expr::col((observation::Entity, C::Scope)).eq(scope))
        .and_where(Expr::col((observation::Entity, C::Side)).eq(codec::side_code(side)))
        .and_where(Expr::col((observation::Entity, C::Presence)).eq(0))
        .and_where(Expr::col((observation::Entity, C::InScope)).eq(true))
        .and_where(belongs_to_no_link(observation::Entity));
    insert_marks(tx, select).await
}

async fn insert_marks(tx: &DatabaseTransaction, select: SelectStatement) -> Result<(), StoreError> {
    use attention::Column as C;
    let mut keep = OnConflict::columns([C::Scope, C::Subject]);
    // Named with its table: MySQL also sees the column of the SELECT.
    keep.value(C::Scope, Expr::col((attention::Entity, C::Scope)));
    let mut insert = InsertStatement::new();
    insert
        .into_table(attention::Entity)
        .columns([C::Scope, C::Subject])
        .select_from(select)
        .map_err(|error| StoreError::Database(error.to_string()))?
        .on_conflict(keep);
    tx.execute(&insert).await?;
    Ok(())
}
