//! Records that a read by id did not find, and the dirty set they wait in.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use crmsync_core::model::link::{Deletion, TombstoneCause};
use crmsync_core::model::{
    EntityName, LinkId, ModuleName, Presence, RecordId, RecordKey, Side, Tombstone,
};
use sea_orm::{ColumnTrait, DatabaseTransaction, EntityTrait, QueryFilter};

use super::attention::{self, Marks};
use super::observations::{load, soil};
use super::route::{KEYS, upsert};
use super::tables::dirty;
use super::{Absence, Observed, RouteStore, StoreError, codec, links, observations};

impl RouteStore {
    /// Adds records to the dirty set, to be read now.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`], or when the store cannot be written.
    pub async fn mark_dirty(
        &self,
        entity: &EntityName,
        side: Side,
        ids: &[(RecordId, String)],
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let scope = self.own_scope(entity).await?;
        let tx = self.begin().await?;
        soil(&tx, scope, side, ids, codec::micros(now)).await?;
        Ok(tx.commit().await?)
    }

    /// Stores what became of records that reads by id did not find: tombstones for the proven, a further wait for
    /// the others. Their subjects get attention when something changed.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`], or when the store cannot be written.
    pub async fn record_absences(
        &self,
        entity: &EntityName,
        side: Side,
        _module: &ModuleName,
        absences: &[Absence],
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        if absences.is_empty() {
            return Ok(());
        }
        let scope = self.own_scope(entity).await?;
        let tx = self.begin().await?;
        let ids: BTreeSet<_> = absences.iter().map(|absence| id_of(absence).to_string()).collect();
        let mut marks = Marks::default();
        bury_proven(&tx, scope, entity, side, absences, now, &mut marks).await?;
        doubt_others(&tx, scope, side, absences, now, &mut marks).await?;
        let gone = absences.iter().filter_map(|absence| match absence {
            Absence::Deleted(deletion) => Some((deletion.id.to_string(), Presence::Deleted)),
            Absence::Unknown { .. } => None,
        });
        let unseen = absences.iter().filter_map(|absence| match absence {
            Absence::Unknown { id, .. } => Some((id.to_string(), Presence::Invisible)),
            Absence::Deleted(_) => None,
        });
        let fates = unseen.chain(gone).collect();
        hide(&tx, scope, entity, side, &ids, &fates, &mut marks).await?;
        attention::apply(&tx, scope, marks).await?;
        Ok(tx.commit().await?)
    }
}

const fn id_of(absence: &Absence) -> &RecordId {
    match absence {
        Absence::Deleted(deletion) => &deletion.id,
        Absence::Unknown { id, .. } => id,
    }
}

async fn bury_proven(
    tx: &DatabaseTransaction,
    scope: i32,
    entity: &EntityName,
    side: Side,
    absences: &[Absence],
    now: DateTime<Utc>,
    marks: &mut Marks,
) -> Result<(), StoreError> {
    let gone: BTreeMap<_, _> = absences
        .iter()
        .filter_map(|absence| match absence {
            Absence::Deleted(deletion) => Some((deletion.id.to_string(), deletion)),
            Absence::Unknown { .. } => None,
        })
        .collect();
    let ids: BTreeSet<_> = gone.keys().cloned().collect();
    let before = links::tombstones(tx, scope, side, &ids).await?;
    let texts: Vec<_> = ids.iter().cloned().collect();
    let mut linked = BTreeMap::new();
    for ids in texts.chunks(KEYS) {
        linked.extend(attention::live_links(tx, scope, side, ids).await?);
    }
    let mut tombstones = Vec::new();
    for (id, deletion) in gone {
        let link = linked.get(&id).map(|link| LinkId(link.clone()));
        let key = RecordKey { entity: entity.clone(), side, id: deletion.id.clone() };
        let new = tombstone(key, deletion, link, now, before.get(&id));
        // The same fact found again is no news.
        let is_news =
            before.get(&id).is_none_or(|old| Tombstone { at: old.at, ..new.clone() } != *old);
        if is_news {
            marks.maybe(side, &id);
            tombstones.push(new);
        }
    }
    links::bury(tx, scope, tombstones.iter()).await?;
    forget_dirty(tx, scope, side, &texts).await
}

fn tombstone(
    key: RecordKey,
    deletion: &Deletion,
    link: Option<LinkId>,
    at: DateTime<Utc>,
    before: Option<&Tombstone>,
) -> Tombstone {
    let cause = match (&deletion.merged_into, &deletion.converted_to) {
        (Some(_), _) => TombstoneCause::MergedAway,
        (None, Some(_)) => TombstoneCause::Converted,
        (None, None) => TombstoneCause::Deleted,
    };
    let successor = deletion.merged_into.clone().or_else(|| deletion.converted_to.clone());
    let link = link.or_else(|| before.and_then(|before| before.link.clone()));
    Tombstone { key, cause, evidence: deletion.evidence, at, successor, link }
}

async fn forget_dirty(
    tx: &DatabaseTransaction,
    scope: i32,
    side: Side,
    ids: &[String],
) -> Result<(), StoreError> {
    for ids in ids.chunks(KEYS) {
        dirty::Entity::delete_many()
            .filter(dirty::Column::Scope.eq(scope))
            .filter(dirty::Column::Side.eq(codec::side_code(side)))
            .filter(dirty::Column::Record.is_in(ids.iter().map(String::as_str)))
            .exec(tx)
            .await?;
    }
    Ok(())
}

async fn doubt_others(
    tx: &DatabaseTransaction,
    scope: i32,
    side: Side,
    absences: &[Absence],
    now: DateTime<Utc>,
    marks: &mut Marks,
) -> Result<(), StoreError> {
    use dirty::Column as C;
    let mut rows = Vec::new();
    for absence in absences {
        let Absence::Unknown { id, code, next_at, missing_since } = absence else { continue };
        let key = (scope, codec::side_code(side), id.to_string());
        let before = dirty::Entity::find_by_id(key).one(tx).await?;
        if before.as_ref().and_then(|row| row.code.as_deref()) != Some(code.as_str()) {
            marks.maybe(side, id.as_str());
        }
        let attempts = before.as_ref().map_or(0, |row| row.attempts);
        rows.push(dirty::Model {
            scope,
            side: codec::side_code(side),
            record: id.to_string(),
            reason: before.map_or_else(|| "missing".to_owned(), |row| row.reason),
            code: Some(code.as_str().to_owned()),
            attempts: attempts.saturating_add(1),
            missing_since: missing_since.map(codec::micros),
            next_at: codec::micros((*next_at).max(now)),
        });
    }
    let rows: BTreeMap<_, _> = rows.into_iter().map(|row| (row.record.clone(), row)).collect();
    let all = [C::Code, C::Attempts, C::MissingSince, C::NextAt];
    upsert(tx, rows.into_values().collect(), &[C::Scope, C::Side, C::Record], &all).await
}

/// Moves the presence of observations; a deleted record does not become merely invisible.
async fn hide(
    tx: &DatabaseTransaction,
    scope: i32,
    entity: &EntityName,
    side: Side,
    ids: &BTreeSet<String>,
    fates: &BTreeMap<String, Presence>,
    marks: &mut Marks,
) -> Result<(), StoreError> {
    let known = observations::known(tx, scope, side, ids).await?;
    let mut changed: Vec<Observed> = Vec::new();
    for (id, mut row) in load(tx, scope, entity, side, ids).await? {
        let Some(fate) = fates.get(&id) else { continue };
        let is_weaker =
            row.observation.presence == Presence::Deleted && *fate == Presence::Invisible;
        if row.observation.presence == *fate || is_weaker {
            continue;
        }
        row.observation.presence = *fate;
        marks.record(side, &id, false);
        marks.keys(row.keys.iter().cloned());
        changed.push(row);
    }
    let writes: Vec<_> =
        changed.iter().map(|row| (row, known.get(row.observation.key.id.as_str()))).collect();
    observations::save(tx, scope, side, None, &writes).await
}
