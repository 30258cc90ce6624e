//! Open rows: what waits for a person, and what was decided about it (I21, I33).

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use crmsync_core::model::row::Resolution;
use crmsync_core::model::state::SubjectKey;
use crmsync_core::model::{EntityName, OpenRow, RecordKey, Side};
use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait, DatabaseTransaction, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder,
    QuerySelect,
};

use super::attention::{self, Marks};
use super::route::{KEYS, upsert};
use super::tables::{open_row, quarantine, resolution};
use super::{Quarantine, RouteReader, RouteStore, RowFilter, StoreError, StoredRow, codec};

/// Why a row closed.
const CONVERGED: &str = "converged";
const POLICY: &str = "policy";

impl RouteReader {
    /// Stored rows by ID, after `filter.after`.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn rows(&self, filter: &RowFilter) -> Result<Vec<StoredRow>, StoreError> {
        use open_row::Column as C;
        let named = |name: &EntityName| filter.entity.as_ref().is_none_or(|entity| entity == name);
        let scopes = self.scopes().await?;
        let scopes = scopes.into_iter().filter(|(_, name)| named(name)).map(|(scope, _)| scope);
        let mut find = open_row::Entity::find().filter(C::Scope.is_in(scopes));
        if let Some(code) = filter.code {
            find = find.filter(C::Code.eq(code.as_str()));
        }
        if let Some(link) = &filter.link {
            find = find.filter(C::Link.eq(link.0.as_str()));
        }
        if !filter.about.is_empty() {
            find = find.filter(C::Subject.is_in(filter.about.iter().map(codec::subject_text)));
        }
        if filter.open_only {
            find = find.filter(C::ClosedAt.is_null());
        }
        if let Some(after) = &filter.after {
            find = find.filter(C::Id.gt(after.as_str()));
        }
        let rows = find.order_by_asc(C::Id).limit(filter.limit).all(self.db()).await?;
        rows.into_iter().map(noun).collect()
    }

    /// One stored row.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn row(&self, id: &str) -> Result<Option<StoredRow>, StoreError> {
        self.find_row(id).await?.map(noun).transpose()
    }

    async fn find_row(&self, id: &str) -> Result<Option<open_row::Model>, StoreError> {
        let scopes: Vec<_> = self.scopes().await?.into_keys().collect();
        Ok(open_row::Entity::find()
            .filter(open_row::Column::Scope.is_in(scopes))
            .filter(open_row::Column::Id.eq(id))
            .one(self.db())
            .await?)
    }

    /// How many rows wait.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn open_row_count(&self) -> Result<u64, StoreError> {
        let scopes: Vec<_> = self.scopes().await?.into_keys().collect();
        self.open_rows_in(&scopes).await
    }

    pub(super) async fn open_rows_in(&self, scopes: &[i32]) -> Result<u64, StoreError> {
        let find = open_row::Entity::find()
            .filter(open_row::Column::Scope.is_in(scopes.iter().copied()))
            .filter(open_row::Column::ClosedAt.is_null());
        Ok(find.count(self.db()).await?)
    }

    /// Everything in quarantine, by record.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn quarantines(&self) -> Result<Vec<Quarantine>, StoreError> {
        let scopes: Vec<_> = self.scopes().await?.into_keys().collect();
        let rows = quarantine::Entity::find()
            .filter(quarantine::Column::Scope.is_in(scopes))
            .order_by_asc(quarantine::Column::Scope)
            .order_by_asc(quarantine::Column::Side)
            .order_by_asc(quarantine::Column::Record)
            .order_by_asc(quarantine::Column::Field)
            .all(self.db())
            .await?;
        rows.iter().map(|row| codec::decode("quarantine", &row.body)).collect()
    }

    /// Everything that persons decided, by row.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn resolutions(&self) -> Result<Vec<Resolution>, StoreError> {
        let scopes: Vec<_> = self.scopes().await?.into_keys().collect();
        let rows = resolution::Entity::find()
            .filter(resolution::Column::Scope.is_in(scopes))
            .order_by_asc(resolution::Column::RowId)
            .all(self.db())
            .await?;
        // A row about two records is stored once for each.
        let rows: BTreeMap<_, _> =
            rows.iter().map(|row| ((&row.row_id, row.scope), row.body.as_str())).collect();
        rows.into_values().map(|body| codec::decode("resolution", body)).collect()
    }
}

impl RouteStore {
    /// Stores what a plan came to for one chunk: `settled` subjects lose their mark, `rows` are stored under their
    /// IDs (those decided by policy as closed), and open rows of `planned` subjects that are not among them close
    /// as converged. The same again changes nothing but `last_seen` (I21).
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`], or when the store cannot be written.
    pub async fn settle(
        &self,
        entity: &EntityName,
        settled: &[SubjectKey],
        rows: &[OpenRow],
        planned: &[SubjectKey],
        run: &str,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        if settled.is_empty() && rows.is_empty() && planned.is_empty() {
            return Ok(());
        }
        let scope = self.own_scope(entity).await?;
        let now = codec::micros(now);
        let planned: BTreeSet<_> = planned.iter().map(codec::subject_text).collect();
        let settled: BTreeSet<_> = settled.iter().map(codec::subject_text).collect();
        let tx = self.begin().await?;
        converge(&tx, scope, &planned, rows, now).await?;
        store(&tx, scope, &planned, rows, run, now).await?;
        attention::unmark(&tx, scope, &settled).await?;
        forget_due(&tx, scope, &settled, now).await?;
        Ok(tx.commit().await?)
    }

    /// Stores what a person decided, and marks the row's subject for the next plan.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`]; [`StoreError::Database`] when there is no such row.
    pub async fn resolve(&self, decision: &Resolution) -> Result<(), StoreError> {
        use resolution::Column as C;
        let found = self.find_row(&decision.row.0).await?;
        let missing = || StoreError::Database(format!("there is no row `{}`", decision.row.0));
        let stored = found.ok_or_else(missing)?;
        let row: OpenRow = codec::decode("open_row", &stored.body)?;
        let mut marks = Marks::default();
        let mut subjects = BTreeSet::from([stored.subject.clone()]);
        for side in Side::BOTH {
            if let Some(id) = &row.records[side] {
                marks.maybe(side, id.as_str());
                if row.link.is_none() {
                    subjects.insert(codec::record_text(side, id.as_str()));
                }
            }
        }
        if stored.subject.starts_with('a') {
            marks.subjects.insert(stored.subject);
        }
        let body = codec::encode(decision)?;
        let row_id = &decision.row.0;
        let rows = subjects.into_iter().map(|subject| resolution::Model {
            scope: stored.scope,
            row_id: row_id.clone(),
            subject,
            body: body.clone(),
        });
        let tx = self.begin().await?;
        upsert(&tx, rows.collect(), &[C::Scope, C::RowId, C::Subject], &[C::Body]).await?;
        attention::apply(&tx, stored.scope, marks).await?;
        Ok(tx.commit().await?)
    }

    /// Lets a subject out of quarantine, to be tried again by the next run.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`], or when the store cannot be written.
    pub async fn retry(&self, subject: &SubjectKey) -> Result<(), StoreError> {
        let scope = match subject {
            SubjectKey::Record(RecordKey { entity, .. }) => self.own_scope(entity).await?,
            SubjectKey::Link(link) => match self.find_link(link).await? {
                Some((scope, _, _)) => scope,
                None => return Ok(()),
            },
        };
        let text = codec::subject_text(subject);
        let tx = self.begin().await?;
        quarantine::Entity::delete_many()
            .filter(quarantine::Column::Scope.eq(scope))
            .filter(quarantine::Column::Subject.eq(text.as_str()))
            .exec(&tx)
            .await?;
        attention::mark(&tx, scope, BTreeSet::from([text])).await?;
        Ok(tx.commit().await?)
    }
}

/// Closes open rows of planned subjects that the plan no longer has.
async fn converge(
    tx: &DatabaseTransaction,
    scope: i32,
    planned: &BTreeSet<String>,
    rows: &[OpenRow],
    now: i64,
) -> Result<(), StoreError> {
    use open_row::Column as C;
    let still: BTreeSet<_> = rows.iter().map(|row| row.id.0.as_str()).collect();
    let planned: Vec<_> = planned.iter().map(String::as_str).collect();
    let mut gone = Vec::new();
    for planned in planned.chunks(KEYS) {
        let ids: Vec<String> = open_row::Entity::find()
            .select_only()
            .column(C::Id)
            .filter(C::Scope.eq(scope))
            .filter(C::ClosedAt.is_null())
            .filter(C::Subject.is_in(planned.iter().copied()))
            .into_tuple()
            .all(tx)
            .await?;
        gone.extend(ids.into_iter().filter(|id| !still.contains(id.as_str())));
    }
    for gone in gone.chunks(KEYS) {
        open_row::Entity::update_many()
            .col_expr(C::ClosedAt, Expr::value(now))
            .col_expr(C::ClosedBy, Expr::value(CONVERGED))
            .filter(C::Scope.eq(scope))
            .filter(C::Id.is_in(gone.iter().map(String::as_str)))
            .exec(tx)
            .await?;
    }
    Ok(())
}

async fn store(
    tx: &DatabaseTransaction,
    scope: i32,
    planned: &BTreeSet<String>,
    rows: &[OpenRow],
    run: &str,
    now: i64,
) -> Result<(), StoreError> {
    use open_row::Column as C;
    let ids: Vec<_> = rows.iter().map(|row| row.id.0.as_str()).collect();
    let mut before = BTreeMap::new();
    for ids in ids.chunks(KEYS) {
        let find = open_row::Entity::find().filter(C::Scope.eq(scope));
        let found = find.filter(C::Id.is_in(ids.iter().copied())).all(tx).await?;
        before.extend(found.into_iter().map(|row| (row.id.clone(), row)));
    }
    let (mut changed, mut same) = (BTreeMap::new(), Vec::new());
    for row in rows {
        let old = before.get(&row.id.0);
        let new = model(scope, planned, row, run, now, old)?;
        if old.is_some_and(|old| open_row::Model { last_seen: new.last_seen, ..old.clone() } == new)
        {
            same.push(row.id.0.as_str());
        } else {
            changed.insert(new.id.clone(), new);
        }
    }
    let all = [
        C::Subject,
        C::Code,
        C::Link,
        C::Run,
        C::FirstSeen,
        C::LastSeen,
        C::ClosedAt,
        C::ClosedBy,
        C::Body,
    ];
    upsert(tx, changed.into_values().collect(), &[C::Scope, C::Id], &all).await?;
    for same in same.chunks(KEYS) {
        open_row::Entity::update_many()
            .col_expr(C::LastSeen, Expr::value(now))
            .filter(C::Scope.eq(scope))
            .filter(C::Id.is_in(same.iter().copied()))
            .exec(tx)
            .await?;
    }
    Ok(())
}

/// The row as stored: it keeps its first sighting while it stays open, and its run while it says the same.
fn model(
    scope: i32,
    planned: &BTreeSet<String>,
    row: &OpenRow,
    run: &str,
    now: i64,
    old: Option<&open_row::Model>,
) -> Result<open_row::Model, StoreError> {
    let body = codec::encode(row)?;
    let is_open = row.is_open();
    let same = old.filter(|old| old.body == body && old.closed_at.is_none() == is_open);
    let life = old.filter(|old| old.closed_at.is_none() == is_open);
    let subject = subject(planned, row);
    Ok(open_row::Model {
        scope,
        id: row.id.0.clone(),
        subject: match same {
            Some(same) if subject.is_empty() => same.subject.clone(),
            Some(_) | None => subject,
        },
        code: row.code.as_str().to_owned(),
        link: row.link.as_ref().map(|link| link.0.clone()),
        run: same.map_or_else(|| run.to_owned(), |same| same.run.clone()),
        first_seen: life.map_or(now, |life| life.first_seen),
        last_seen: now,
        closed_at: if is_open {
            None
        } else {
            Some(same.and_then(|same| same.closed_at).unwrap_or(now))
        },
        closed_by: (!is_open).then(|| POLICY.to_owned()),
        body,
    })
}

/// The planned subject that a row came from: its link, or the record that is being planned. The link of a create
/// that waits does not exist yet.
fn subject(planned: &BTreeSet<String>, row: &OpenRow) -> String {
    let link = row.link.as_ref().map(|link| codec::link_text(&link.0));
    let record =
        |side: Side| row.records[side].as_ref().map(|id| codec::record_text(side, id.as_str()));
    let known: Vec<_> =
        [link, record(Side::Left), record(Side::Right)].into_iter().flatten().collect();
    let planned = known.iter().find(|text| planned.contains(*text));
    planned.or(known.first()).cloned().unwrap_or_default()
}

/// A quarantine that was due and led to no op has served its time.
async fn forget_due(
    tx: &DatabaseTransaction,
    scope: i32,
    settled: &BTreeSet<String>,
    now: i64,
) -> Result<(), StoreError> {
    use quarantine::Column as C;
    let settled: Vec<_> = settled.iter().map(String::as_str).collect();
    for settled in settled.chunks(KEYS) {
        quarantine::Entity::delete_many()
            .filter(C::Scope.eq(scope))
            .filter(C::NextAt.lte(now))
            .filter(C::Subject.is_in(settled.iter().copied()))
            .exec(tx)
            .await?;
    }
    Ok(())
}

/// Closes the open rows of subjects that can be planned no more, at the time they were last seen.
pub(super) async fn close_of(
    tx: &DatabaseTransaction,
    scope: i32,
    subjects: &BTreeSet<String>,
) -> Result<(), StoreError> {
    use open_row::Column as C;
    let subjects: Vec<_> = subjects.iter().map(String::as_str).collect();
    for subjects in subjects.chunks(KEYS) {
        open_row::Entity::update_many()
            .col_expr(C::ClosedAt, Expr::col(C::LastSeen))
            .col_expr(C::ClosedBy, Expr::value(CONVERGED))
            .filter(C::Scope.eq(scope))
            .filter(C::ClosedAt.is_null())
            .filter(C::Subject.is_in(subjects.iter().copied()))
            .exec(tx)
            .await?;
    }
    Ok(())
}

/// Gives the rows of a record that was just linked to its link; those about the match itself close.
pub(super) async fn hand_over(
    tx: &DatabaseTransaction,
    scope: i32,
    links: &BTreeMap<String, String>,
) -> Result<(), StoreError> {
    use open_row::Column as C;
    let records: BTreeSet<_> = links.keys().cloned().collect();
    let texts: Vec<_> = records.iter().map(String::as_str).collect();
    for texts in texts.chunks(KEYS) {
        let open = open_row::Entity::find()
            .filter(C::Scope.eq(scope))
            .filter(C::ClosedAt.is_null())
            .filter(C::Subject.is_in(texts.iter().copied()))
            .all(tx)
            .await?;
        for row in open {
            let Some(link) = links.get(&row.subject) else { continue };
            if row.link.as_ref() == Some(link) {
                open_row::Entity::update_many()
                    .col_expr(C::Subject, Expr::value(codec::link_text(link)))
                    .filter(C::Scope.eq(scope))
                    .filter(C::Id.eq(row.id))
                    .exec(tx)
                    .await?;
            }
        }
    }
    close_of(tx, scope, &records).await
}

/// Those of the subjects that open rows name.
pub(super) async fn with_open_rows(
    tx: &DatabaseTransaction,
    scope: i32,
    subjects: &BTreeSet<String>,
) -> Result<BTreeSet<String>, StoreError> {
    use open_row::Column as C;
    let subjects: Vec<_> = subjects.iter().map(String::as_str).collect();
    let mut all = BTreeSet::new();
    for subjects in subjects.chunks(KEYS) {
        let named: Vec<String> = open_row::Entity::find()
            .select_only()
            .column(C::Subject)
            .distinct()
            .filter(C::Scope.eq(scope))
            .filter(C::ClosedAt.is_null())
            .filter(C::Subject.is_in(subjects.iter().copied()))
            .into_tuple()
            .all(tx)
            .await?;
        all.extend(named);
    }
    Ok(all)
}

fn noun(row: open_row::Model) -> Result<StoredRow, StoreError> {
    Ok(StoredRow {
        row: codec::decode("open_row", &row.body)?,
        run: row.run,
        first_seen: codec::time(row.first_seen)?,
        last_seen: codec::time(row.last_seen)?,
        closed_at: codec::maybe_time(row.closed_at)?,
        closed_by: row.closed_by,
    })
}
