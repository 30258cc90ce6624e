//! Observations: pages as they come in, and which of their rows are believed (semantics §11.2).

use std::collections::{BTreeMap, BTreeSet};

use crmsync_core::model::state::MatchKey;
use crmsync_core::model::{EntityName, Observation, Presence, RecordId, RecordKey, Side};
use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DatabaseTransaction, EntityTrait, FromQueryResult,
    QueryFilter, QuerySelect,
};

use super::attention::{self, Marks};
use super::route::{KEYS, load_cursor, store_cursor, upsert};
use super::tables::{dirty, match_key, observation, tombstone};
use super::{Accepted, Cursor, Observed, PageCommit, RouteStore, StoreError, codec};

/// Longest ID that the tables hold, in characters.
const LONGEST_ID: usize = 255;

/// What is stored of a record, without its fields.
#[derive(Clone, Debug, FromQueryResult)]
pub(super) struct Known {
    pub(super) record: String,
    pub(super) presence: i16,
    pub(super) in_scope: bool,
    pub(super) modified_at: Option<i64>,
    pub(super) hash: String,
    pub(super) epoch: i64,
    pub(super) match_keys: String,
}

/// What becomes of one row of a page.
enum Verdict {
    Equal,
    /// Only the modified time moved: an unmapped field changed.
    Retimed,
    /// Only the match keys differ from the stored ones.
    Rekeyed,
    Accepted {
        unstamped: bool,
    },
    Stale(&'static str),
}

impl RouteStore {
    /// Stores one page in one transaction: rows, dirty marks, attention and the cursor.
    ///
    /// A row equal to the stored observation costs no write. A listed row that is older than the stored one, of
    /// equal time with other content, or tombstoned, becomes dirty instead; rows without times are taken as they
    /// come. The cursor's watermarks never move back here.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`], or when the store cannot be written.
    pub async fn commit_page(&self, page: PageCommit<'_>) -> Result<Accepted, StoreError> {
        let scope = self.own_scope(page.entity).await?;
        let tx = self.begin().await?;
        let accepted = take(&tx, scope, &page).await?;
        if let Some(cursor) = &page.cursor {
            advance(&tx, scope, page.side, cursor).await?;
        }
        tx.commit().await?;
        Ok(accepted)
    }

    /// Stores observations as they are, without asking whether they are newer: after a change of mapping.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`], or when the store cannot be written.
    pub async fn replace_fields(&self, observations: &[Observed]) -> Result<(), StoreError> {
        let mut groups: BTreeMap<(&EntityName, Side), BTreeMap<&RecordId, &Observed>> =
            BTreeMap::new();
        for observed in observations {
            let key = &observed.observation.key;
            groups.entry((&key.entity, key.side)).or_default().insert(&key.id, observed);
        }
        for ((entity, side), rows) in groups {
            let scope = self.own_scope(entity).await?;
            let tx = self.begin().await?;
            replace(&tx, scope, side, &rows.into_values().collect::<Vec<_>>()).await?;
            tx.commit().await?;
        }
        Ok(())
    }

    /// Replaces the match keys of known records: after the key groups changed.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`], or when the store cannot be written.
    pub async fn rekey(
        &self,
        entity: &EntityName,
        side: Side,
        keys: &[(RecordId, Vec<MatchKey>)],
    ) -> Result<(), StoreError> {
        let scope = self.own_scope(entity).await?;
        let tx = self.begin().await?;
        let ids: BTreeSet<_> = keys.iter().map(|(id, _)| id.to_string()).collect();
        let known = known(&tx, scope, side, &ids).await?;
        let mut marks = Marks::default();
        for (id, keys) in keys {
            let Some(row) = known.get(id.as_str()) else { continue };
            let text = codec::encode(keys)?;
            if row.match_keys == text {
                continue;
            }
            exchange_keys(&tx, scope, side, &[(id.to_string(), old_keys(row)?, keys.clone())])
                .await?;
            observation::Entity::update_many()
                .col_expr(observation::Column::MatchKeys, Expr::value(text))
                .filter(of_record(scope, side, [id.to_string()]))
                .exec(&tx)
                .await?;
            marks.record(side, id.as_str(), is_plannable(row.presence, row.in_scope));
        }
        attention::apply(&tx, scope, marks).await?;
        Ok(tx.commit().await?)
    }
}

async fn take(
    tx: &DatabaseTransaction,
    scope: i32,
    page: &PageCommit<'_>,
) -> Result<Accepted, StoreError> {
    let rows: BTreeMap<_, _> =
        page.observed.iter().map(|seen| (seen.observation.key.id.as_str(), seen)).collect();
    let ids: BTreeSet<_> = rows.keys().map(|id| (*id).to_owned()).collect();
    let known = known(tx, scope, page.side, &ids).await?;
    let buried = buried(tx, scope, page, &ids).await?;
    let (mut accepted, mut writes, mut marks) = (Accepted::default(), Vec::new(), Marks::default());
    let (mut hints, mut seen_again) = (page.dirty.clone(), Vec::new());
    for (id, row) in &rows {
        let before = known.get(*id);
        let verdict = judge(page, row, before, buried.contains(*id))?;
        match verdict {
            Verdict::Equal => accepted.unchanged += 1,
            Verdict::Retimed | Verdict::Rekeyed => {
                accepted.unchanged += 1;
                writes.push((*row, before));
            }
            Verdict::Accepted { unstamped } => {
                accepted.changed += 1;
                accepted.unstamped += u64::from(unstamped);
                writes.push((*row, before));
            }
            Verdict::Stale(reason) => {
                accepted.stale += 1;
                hints.push((row.observation.key.id.clone(), reason.to_owned()));
            }
        }
        match verdict {
            Verdict::Rekeyed | Verdict::Accepted { .. } => {
                marks.record(page.side, id, plannable(&row.observation));
                marks.neighbors_of(row, before)?;
            }
            Verdict::Equal | Verdict::Stale(_) => seen_again.extend(before),
            Verdict::Retimed => {}
        }
    }
    save(tx, scope, page.side, page.epoch, &writes).await?;
    if let Some(epoch) = page.epoch {
        mark_seen(tx, scope, page.side, codec::signed(epoch), &seen_again).await?;
    }
    clean(tx, scope, page, &mut marks).await?;
    attention::apply(tx, scope, marks).await?;
    soil(tx, scope, page.side, &hints, codec::micros(page.now)).await?;
    Ok(accepted)
}

/// Semantics §11.2.
fn judge(
    page: &PageCommit<'_>,
    row: &Observed,
    before: Option<&Known>,
    tombstoned: bool,
) -> Result<Verdict, StoreError> {
    if tombstoned && !page.authoritative {
        return Ok(Verdict::Stale("listed-though-deleted"));
    }
    let Some(before) = before else { return Ok(Verdict::Accepted { unstamped: false }) };
    let (now, then) = (row.observation.modified_at.map(codec::micros), before.modified_at);
    let (is_older, same_time) = match (now, then) {
        (Some(now), Some(then)) => (now < then, now == then),
        (Some(_) | None, None) | (None, Some(_)) => (false, false),
    };
    if row.observation.content_hash() == before.hash {
        return Ok(if codec::encode(&row.keys)? != before.match_keys {
            Verdict::Rekeyed
        } else if now == then || (is_older && !page.authoritative) {
            Verdict::Equal
        } else {
            Verdict::Retimed
        });
    }
    Ok(match (page.authoritative, is_older, same_time) {
        (true, _, unstamped) => Verdict::Accepted { unstamped },
        (false, true, _) => Verdict::Stale("listed-older"),
        (false, false, true) => Verdict::Stale("same-time-other-content"),
        (false, false, false) => Verdict::Accepted { unstamped: false },
    })
}

/// Stores observations whatever is known, and marks those that differ.
pub(super) async fn replace(
    tx: &DatabaseTransaction,
    scope: i32,
    side: Side,
    rows: &[&Observed],
) -> Result<(), StoreError> {
    let ids = rows.iter().map(|row| row.observation.key.id.to_string()).collect();
    let known = known(tx, scope, side, &ids).await?;
    let (mut writes, mut marks) = (Vec::new(), Marks::default());
    for row in rows {
        let id = row.observation.key.id.as_str();
        let before = known.get(id);
        if before.is_some_and(|before| before.hash == row.observation.content_hash()) {
            continue;
        }
        marks.record(side, id, plannable(&row.observation));
        marks.neighbors_of(row, before)?;
        writes.push((*row, before));
    }
    save(tx, scope, side, None, &writes).await?;
    attention::apply(tx, scope, marks).await
}

/// Writes observation rows and what changed of their match keys.
pub(super) async fn save(
    tx: &DatabaseTransaction,
    scope: i32,
    side: Side,
    epoch: Option<u64>,
    rows: &[(&Observed, Option<&Known>)],
) -> Result<(), StoreError> {
    use observation::Column as C;
    let (mut models, mut keys) = (Vec::with_capacity(rows.len()), Vec::new());
    for (row, before) in rows {
        let epoch = epoch.map(codec::signed).or(before.map(|before| before.epoch)).unwrap_or(0);
        models.push(model(scope, row, epoch)?);
        let old = before.map(old_keys).transpose()?.unwrap_or_default();
        if old != row.keys {
            keys.push((row.observation.key.id.to_string(), old, row.keys.clone()));
        }
    }
    let all = [
        C::Module,
        C::Presence,
        C::InScope,
        C::External,
        C::ModifiedAt,
        C::CorrectedAt,
        C::Hash,
        C::Epoch,
        C::MatchKeys,
        C::Unreturned,
        C::Fields,
    ];
    upsert(tx, models, &[C::Scope, C::Side, C::Record], &all).await?;
    exchange_keys(tx, scope, side, &keys).await
}

async fn exchange_keys(
    tx: &DatabaseTransaction,
    scope: i32,
    side: Side,
    changes: &[(String, Vec<MatchKey>, Vec<MatchKey>)],
) -> Result<(), StoreError> {
    use match_key::Column as C;
    let (mut gone, mut come) = (Vec::new(), BTreeMap::new());
    for (record, old, new) in changes {
        gone.extend(old.iter().filter(|key| !new.contains(key)).map(|key| (record, key)));
        for key in new.iter().filter(|key| !old.contains(key)) {
            let (match_key, record) = (key.0.clone(), record.clone());
            let row = match_key::Model { scope, match_key, side: codec::side_code(side), record };
            come.insert((row.record.clone(), row.match_key.clone()), row);
        }
    }
    for gone in gone.chunks(100) {
        // Each with its whole key: with scope and side outside, SQLite walks the table for every hundred.
        let one = |(record, key): &(&String, &MatchKey)| {
            Condition::all()
                .add(C::Scope.eq(scope))
                .add(C::MatchKey.eq(key.0.as_str()))
                .add(C::Side.eq(codec::side_code(side)))
                .add(C::Record.eq(record.as_str()))
        };
        let any = gone.iter().map(one).fold(Condition::any(), Condition::add);
        match_key::Entity::delete_many().filter(any).exec(tx).await?;
    }
    let key = [C::Scope, C::MatchKey, C::Side, C::Record];
    upsert(tx, come.into_values().collect(), &key, &[]).await
}

fn old_keys(known: &Known) -> Result<Vec<MatchKey>, StoreError> {
    codec::decode("observation.match_keys", &known.match_keys)
}

/// Stored headers of the named records.
pub(super) async fn known(
    db: &impl ConnectionTrait,
    scope: i32,
    side: Side,
    ids: &BTreeSet<String>,
) -> Result<BTreeMap<String, Known>, StoreError> {
    use observation::Column as C;
    let ids: Vec<_> = ids.iter().cloned().collect();
    let mut known = BTreeMap::new();
    for ids in ids.chunks(KEYS) {
        let rows = observation::Entity::find()
            .select_only()
            .columns([
                C::Record,
                C::Presence,
                C::InScope,
                C::ModifiedAt,
                C::Hash,
                C::Epoch,
                C::MatchKeys,
            ])
            .filter(of_record(scope, side, ids.iter().cloned()))
            .into_model::<Known>()
            .all(db)
            .await?;
        known.extend(rows.into_iter().map(|row| (row.record.clone(), row)));
    }
    Ok(known)
}

/// Ids of the page that a tombstone stands for; reads by id are believed whatever stands there.
async fn buried(
    tx: &DatabaseTransaction,
    scope: i32,
    page: &PageCommit<'_>,
    ids: &BTreeSet<String>,
) -> Result<BTreeSet<String>, StoreError> {
    if page.authoritative {
        return Ok(BTreeSet::new());
    }
    super::links::tombstoned(tx, scope, page.side, ids).await
}

async fn mark_seen(
    tx: &DatabaseTransaction,
    scope: i32,
    side: Side,
    epoch: i64,
    rows: &[&Known],
) -> Result<(), StoreError> {
    let ids: Vec<_> =
        rows.iter().filter(|row| row.epoch != epoch).map(|row| row.record.clone()).collect();
    for ids in ids.chunks(KEYS) {
        observation::Entity::update_many()
            .col_expr(observation::Column::Epoch, Expr::value(epoch))
            .filter(of_record(scope, side, ids.iter().cloned()))
            .exec(tx)
            .await?;
    }
    Ok(())
}

/// Forgets dirty marks that the batch settled; a record that was X until now is looked at again.
async fn clean(
    tx: &DatabaseTransaction,
    scope: i32,
    page: &PageCommit<'_>,
    marks: &mut Marks,
) -> Result<(), StoreError> {
    use dirty::Column as C;
    let side = codec::side_code(page.side);
    for ids in page.clean.chunks(KEYS) {
        let these = || {
            let ids = ids.iter().map(RecordId::as_str);
            Condition::all().add(C::Scope.eq(scope)).add(C::Side.eq(side)).add(C::Record.is_in(ids))
        };
        let rows = dirty::Entity::find().filter(these()).all(tx).await?;
        for row in rows.iter().filter(|row| row.code.is_some()) {
            marks.maybe(page.side, &row.record);
        }
        if !rows.is_empty() {
            dirty::Entity::delete_many().filter(these()).exec(tx).await?;
        }
    }
    Ok(())
}

/// Adds records to the dirty set, to be read now; what is known of their earlier reads stays.
pub(super) async fn soil(
    tx: &DatabaseTransaction,
    scope: i32,
    side: Side,
    hints: &[(RecordId, String)],
    now: i64,
) -> Result<(), StoreError> {
    use dirty::Column as C;
    let rows: BTreeMap<_, _> = hints
        .iter()
        .map(|(id, reason)| {
            let row = dirty::Model {
                scope,
                side: codec::side_code(side),
                record: id.to_string(),
                reason: reason.clone(),
                code: None,
                attempts: 0,
                missing_since: None,
                next_at: now,
            };
            (id, row)
        })
        .collect();
    let key = [C::Scope, C::Side, C::Record];
    upsert(tx, rows.into_values().collect(), &key, &[C::Reason, C::NextAt]).await
}

/// I13: a watermark only grows.
async fn advance(
    tx: &DatabaseTransaction,
    scope: i32,
    side: Side,
    now: &Cursor,
) -> Result<(), StoreError> {
    let before = load_cursor(tx, scope, side).await?;
    let mut after = now.clone();
    after.watermark = before.watermark.max(now.watermark);
    after.deleted_watermark = before.deleted_watermark.max(now.deleted_watermark);
    if after == before { Ok(()) } else { store_cursor(tx, scope, side, &after).await }
}

pub(super) fn of_record(
    scope: i32,
    side: Side,
    ids: impl IntoIterator<Item = String>,
) -> Condition {
    use observation::Column as C;
    Condition::all()
        .add(C::Scope.eq(scope))
        .add(C::Side.eq(codec::side_code(side)))
        .add(C::Record.is_in(ids))
}

/// Whether an unlinked record is one that a plan may act on.
pub(super) const fn plannable(observation: &Observation) -> bool {
    matches!(observation.presence, Presence::Alive) && observation.in_scope
}

pub(super) const fn is_plannable(presence: i16, in_scope: bool) -> bool {
    presence == codec::presence_code(Presence::Alive) && in_scope
}

fn model(scope: i32, row: &Observed, epoch: i64) -> Result<observation::Model, StoreError> {
    let seen = &row.observation;
    // An ID longer than any that the tables hold names no record of ours.
    let names_one =
        |id: &&RecordId| id.as_str().chars().count() <= LONGEST_ID && !id.as_str().contains('\0');
    Ok(observation::Model {
        scope,
        side: codec::side_code(seen.key.side),
        record: seen.key.id.to_string(),
        module: seen.module.to_string(),
        presence: codec::presence_code(seen.presence),
        in_scope: seen.in_scope,
        external: seen.external_id.as_ref().filter(names_one).map(ToString::to_string),
        modified_at: seen.modified_at.map(codec::micros),
        corrected_at: seen.corrected_at.map(codec::micros),
        hash: seen.content_hash(),
        epoch,
        match_keys: codec::encode(&row.keys)?,
        unreturned: codec::encode(&seen.unreturned)?,
        fields: codec::encode(&seen.fields)?,
    })
}

pub(super) fn noun(
    entity: &EntityName,
    row: &observation::Model,
) -> Result<Observation, StoreError> {
    let side = codec::side(row.side)?;
    Ok(Observation {
        key: RecordKey { entity: entity.clone(), side, id: RecordId::new(row.record.as_str()) },
        module: crmsync_core::model::ModuleName::new(row.module.as_str()),
        presence: codec::presence(row.presence)?,
        fields: codec::decode("observation.fields", &row.fields)?,
        unreturned: codec::decode("observation.unreturned", &row.unreturned)?,
        in_scope: row.in_scope,
        external_id: row.external.as_deref().map(RecordId::new),
        modified_at: codec::maybe_time(row.modified_at)?,
        corrected_at: codec::maybe_time(row.corrected_at)?,
    })
}

/// Observations of the named records of one side, with their match keys.
pub(super) async fn load(
    db: &impl ConnectionTrait,
    scope: i32,
    entity: &EntityName,
    side: Side,
    ids: &BTreeSet<String>,
) -> Result<BTreeMap<String, Observed>, StoreError> {
    let ids: Vec<_> = ids.iter().cloned().collect();
    let mut all = BTreeMap::new();
    for ids in ids.chunks(KEYS) {
        let find = observation::Entity::find().filter(of_record(scope, side, ids.iter().cloned()));
        for row in find.all(db).await? {
            let keys = codec::decode("observation.match_keys", &row.match_keys)?;
            let observation = noun(entity, &row)?;
            all.insert(row.record, Observed { observation, keys });
        }
    }
    Ok(all)
}

/// Whether a tombstone stands for any of the records, by table column names shared with `links`.
pub(super) fn of_tombstone(scope: i32, side: Side, ids: &[String]) -> Condition {
    use tombstone::Column as C;
    Condition::all()
        .add(C::Scope.eq(scope))
        .add(C::Side.eq(codec::side_code(side)))
        .add(C::Record.is_in(ids.iter().map(String::as_str)))
}
