//! Links, with everything that a plan wants to know about a subject.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use crmsync_core::model::link::{DeleteEvidence, TombstoneCause};
use crmsync_core::model::row::Resolution;
use crmsync_core::model::state::{Subject, SubjectKey};
use crmsync_core::model::{
    Baseline, Code, EntityName, FieldName, Link, LinkId, LinkState, Op, OpKind, Pair, RecordId,
    RecordKey, Side, Tombstone, Value,
};
use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DatabaseTransaction, EntityTrait, FromQueryResult,
    QueryFilter, QueryOrder, QuerySelect,
};

use super::observations::{load, of_tombstone};
use super::route::{KEYS, upsert};
use super::tables::{dirty, effect, intent, link, quarantine, resolution, tombstone};
use super::{
    Commit, Effect, Ending, Quarantine, RouteReader, RouteStore, StoreError, attention, codec,
};

/// Record IDs by side.
pub(super) type Ids = Pair<BTreeSet<String>>;

pub(super) fn noun(entity: &EntityName, row: &link::Model) -> Result<Link, StoreError> {
    let end = |id: &Option<String>| id.as_deref().map(RecordId::new);
    Ok(Link {
        id: LinkId(row.id.clone()),
        entity: entity.clone(),
        ends: Pair::new(end(&row.left_record), end(&row.right_record)),
        state: codec::state(row.state)?,
        baseline: codec::decode("link.baseline", &row.baseline)?,
        own_stamp: Pair::new(
            codec::maybe_time(row.left_stamp)?,
            codec::maybe_time(row.right_stamp)?,
        ),
    })
}

pub(super) async fn save(
    tx: &DatabaseTransaction,
    scope: i32,
    links: impl Iterator<Item = &Link>,
) -> Result<(), StoreError> {
    use link::Column as C;
    let mut rows = Vec::new();
    for link in links {
        rows.push(link::Model {
            scope,
            id: link.id.0.clone(),
            left_record: link.ends.left.as_ref().map(ToString::to_string),
            right_record: link.ends.right.as_ref().map(ToString::to_string),
            state: codec::state_code(link.state),
            left_stamp: link.own_stamp.left.map(codec::micros),
            right_stamp: link.own_stamp.right.map(codec::micros),
            baseline: codec::encode(&link.baseline)?,
        });
    }
    let all = [C::LeftRecord, C::RightRecord, C::State, C::LeftStamp, C::RightStamp, C::Baseline];
    upsert(tx, rows, &[C::Scope, C::Id], &all).await
}

/// Links by ID.
pub(super) async fn by_id(
    db: &impl ConnectionTrait,
    scope: i32,
    entity: &EntityName,
    ids: &BTreeSet<String>,
) -> Result<BTreeMap<String, Link>, StoreError> {
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    let mut links = BTreeMap::new();
    for ids in ids.chunks(KEYS) {
        let find = link::Entity::find().filter(link::Column::Scope.eq(scope));
        for row in find.filter(link::Column::Id.is_in(ids.iter().copied())).all(db).await? {
            let noun = noun(entity, &row)?;
            links.insert(row.id, noun);
        }
    }
    Ok(links)
}

/// Those of `ids` that a tombstone stands for.
pub(super) async fn tombstoned(
    db: &impl ConnectionTrait,
    scope: i32,
    side: Side,
    ids: &BTreeSet<String>,
) -> Result<BTreeSet<String>, StoreError> {
    let ids: Vec<_> = ids.iter().cloned().collect();
    let mut all = BTreeSet::new();
    for ids in ids.chunks(KEYS) {
        let rows: Vec<String> = tombstone::Entity::find()
            .select_only()
            .column(tombstone::Column::Record)
            .filter(of_tombstone(scope, side, ids))
            .into_tuple()
            .all(db)
            .await?;
        all.extend(rows);
    }
    Ok(all)
}

pub(super) async fn tombstones(
    db: &impl ConnectionTrait,
    scope: i32,
    side: Side,
    ids: &BTreeSet<String>,
) -> Result<BTreeMap<String, Tombstone>, StoreError> {
    let ids: Vec<_> = ids.iter().cloned().collect();
    let mut all = BTreeMap::new();
    for ids in ids.chunks(KEYS) {
        for row in tombstone::Entity::find().filter(of_tombstone(scope, side, ids)).all(db).await? {
            all.insert(row.record, codec::decode("tombstone", &row.body)?);
        }
    }
    Ok(all)
}

pub(super) async fn bury(
    tx: &DatabaseTransaction,
    scope: i32,
    tombstones: impl Iterator<Item = &Tombstone>,
) -> Result<(), StoreError> {
    use tombstone::Column as C;
    let mut rows = BTreeMap::new();
    for tombstone in tombstones {
        let row = tombstone::Model {
            scope,
            side: codec::side_code(tombstone.key.side),
            record: tombstone.key.id.to_string(),
            body: codec::encode(tombstone)?,
        };
        rows.insert((row.side, row.record.clone()), row);
    }
    upsert(tx, rows.into_values().collect(), &[C::Scope, C::Side, C::Record], &[C::Body]).await
}

/// What the store knows besides links and observations, by subject text or record.
#[derive(Default)]
struct Circumstances {
    tombstones: Pair<BTreeMap<String, Tombstone>>,
    unknown: Pair<BTreeMap<String, Code>>,
    generations: Pair<BTreeMap<String, u32>>,
    in_doubt: BTreeSet<String>,
    quarantined: BTreeMap<String, BTreeMap<Option<FieldName>, String>>,
    recent: BTreeMap<String, BTreeMap<(FieldName, Side), Vec<Value>>>,
    resolutions: BTreeMap<String, Vec<Resolution>>,
}

#[derive(FromQueryResult)]
struct DirtyCode {
    record: String,
    code: Option<String>,
}

impl RouteReader {
    /// Loads the subjects named by their texts, in that order; unknown ones are left out.
    pub(super) async fn load_subjects(
        &self,
        scope: i32,
        entity: &EntityName,
        texts: &[String],
        now: DateTime<Utc>,
    ) -> Result<Vec<Subject>, StoreError> {
        let ids =
            texts.iter().filter_map(|text| text.strip_prefix('a')).map(str::to_owned).collect();
        let links = by_id(self.db(), scope, entity, &ids).await?;
        let mut records = Ids::default();
        for side in Side::BOTH {
            let ends = links.values().filter_map(|link| link.ends[side].as_ref());
            records[side].extend(ends.map(ToString::to_string));
            let prefix = if side == Side::Left { 'b' } else { 'c' };
            let named = texts.iter().filter_map(|text| text.strip_prefix(prefix));
            records[side].extend(named.map(str::to_owned));
        }
        let mut seen = Pair::default();
        for side in Side::BOTH {
            seen[side] = load(self.db(), scope, entity, side, &records[side]).await?;
        }
        let about = self.circumstances(scope, entity, texts, &records, now).await?;
        let mut seen_of = |side: Side, id: &RecordId| {
            seen[side].remove(id.as_str()).map(|observed| observed.observation)
        };
        let mut subjects = Vec::with_capacity(texts.len());
        for text in texts {
            let mut subject = if let Some(id) = text.strip_prefix('a') {
                let Some(link) = links.get(id) else { continue };
                let end = |side: Side| link.ends[side].clone();
                let left = end(Side::Left).and_then(|id| seen_of(Side::Left, &id));
                let right = end(Side::Right).and_then(|id| seen_of(Side::Right, &id));
                Subject::linked(link.clone(), left, right)
            } else {
                let side = if text.starts_with('b') { Side::Left } else { Side::Right };
                let Some(seen) = seen_of(side, &RecordId::new(&text[1..])) else { continue };
                Subject::unlinked(seen)
            };
            about.complete(&mut subject, text);
            subjects.push(subject);
        }
        Ok(subjects)
    }

    async fn circumstances(
        &self,
        scope: i32,
        entity: &EntityName,
        texts: &[String],
        records: &Ids,
        now: DateTime<Utc>,
    ) -> Result<Circumstances, StoreError> {
        let mut about = Circumstances::default();
        for side in Side::BOTH {
            about.tombstones[side] = tombstones(self.db(), scope, side, &records[side]).await?;
            about.unknown[side] = self.unknown(scope, side, &records[side]).await?;
            let ids: Vec<_> = records[side].iter().cloned().collect();
            for ids in ids.chunks(KEYS) {
                for (id, _) in attention::former_links(self.db(), scope, side, ids).await? {
                    *about.generations[side].entry(id).or_insert(0) += 1;
                }
            }
            let prefix = if side == Side::Left { 'b' } else { 'c' };
            let unlinked: Vec<_> =
                texts.iter().filter_map(|text| text.strip_prefix(prefix)).collect();
            self.skip_begun(scope, entity, side, &unlinked, &mut about.generations[side]).await?;
        }
        let links: Vec<_> = texts.iter().filter_map(|text| text.strip_prefix('a')).collect();
        for links in links.chunks(KEYS) {
            self.add_intents(scope, links, &mut about).await?;
            self.add_recent(scope, links, now - TimeDelta::hours(24), &mut about).await?;
        }
        for texts in texts.chunks(KEYS) {
            self.add_decisions(scope, texts, now, &mut about).await?;
        }
        Ok(about)
    }

    /// Counts links, too, that started at an unlinked record and hold another one by now: the next link of the
    /// record gets an ID that no link has. One that an undo emptied is free again.
    async fn skip_begun(
        &self,
        scope: i32,
        entity: &EntityName,
        side: Side,
        unlinked: &[&str],
        generations: &mut BTreeMap<String, u32>,
    ) -> Result<(), StoreError> {
        use link::Column as C;
        let mut open: Vec<_> = unlinked.to_vec();
        while !open.is_empty() {
            let mut ids = BTreeMap::new();
            for id in open.drain(..) {
                let key = RecordKey { entity: entity.clone(), side, id: RecordId::new(id) };
                let link = LinkId::derive(&key, generations.get(id).copied().unwrap_or(0));
                ids.insert(link.0, id);
            }
            let texts: Vec<_> = ids.keys().map(String::as_str).collect();
            for texts in texts.chunks(KEYS) {
                let taken: Vec<String> = link::Entity::find()
                    .select_only()
                    .column(C::Id)
                    .filter(C::Scope.eq(scope))
                    .filter(C::Id.is_in(texts.iter().copied()))
                    .filter(
                        Condition::any()
                            .add(C::LeftRecord.is_not_null())
                            .add(C::RightRecord.is_not_null()),
                    )
                    .into_tuple()
                    .all(self.db())
                    .await?;
                open.extend(taken.iter().filter_map(|link| ids.get(link)));
            }
            for id in &open {
                *generations.entry((*id).to_owned()).or_insert(0) += 1;
            }
        }
        Ok(())
    }

    /// Records that are X, with the cause.
    async fn unknown(
        &self,
        scope: i32,
        side: Side,
        ids: &BTreeSet<String>,
    ) -> Result<BTreeMap<String, Code>, StoreError> {
        use dirty::Column as C;
        let ids: Vec<_> = ids.iter().map(String::as_str).collect();
        let mut all = BTreeMap::new();
        for ids in ids.chunks(KEYS) {
            let rows = dirty::Entity::find()
                .select_only()
                .columns([C::Record, C::Code])
                .filter(C::Scope.eq(scope))
                .filter(C::Side.eq(codec::side_code(side)))
                .filter(C::Record.is_in(ids.iter().copied()))
                .filter(C::Code.is_not_null())
                .into_model::<DirtyCode>()
                .all(self.db())
                .await?;
            for row in rows {
                let code = row.code.unwrap_or_default();
                let known = Code::ALL.iter().find(|known| known.as_str() == code);
                let known = known.ok_or_else(|| StoreError::Corrupt("dirty.code".into(), code))?;
                all.insert(row.record, *known);
            }
        }
        Ok(all)
    }

    async fn add_intents(
        &self,
        scope: i32,
        links: &[&str],
        about: &mut Circumstances,
    ) -> Result<(), StoreError> {
        let rows: Vec<String> = intent::Entity::find()
            .select_only()
            .column(intent::Column::Link)
            .filter(intent::Column::Scope.eq(scope))
            .filter(intent::Column::Link.is_in(links.iter().copied()))
            .into_tuple()
            .all(self.db())
            .await?;
        about.in_doubt.extend(rows.iter().map(|link| codec::link_text(link)));
        Ok(())
    }

    /// Values written since `since`, by field and side, oldest first.
    async fn add_recent(
        &self,
        scope: i32,
        links: &[&str],
        since: DateTime<Utc>,
        about: &mut Circumstances,
    ) -> Result<(), StoreError> {
        use effect::Column as C;
        let rows = effect::Entity::find()
            .filter(C::Scope.eq(scope))
            .filter(C::At.gte(codec::micros(since)))
            .filter(C::Link.is_in(links.iter().copied()))
            .filter(C::Side.ne(codec::NO_SIDE))
            .order_by_asc(C::Seq)
            .all(self.db())
            .await?;
        for row in rows {
            let side = codec::side(row.side)?;
            let effect: Effect = codec::decode("effect", &row.body)?;
            let writes = about.recent.entry(codec::link_text(&row.link)).or_default();
            for (field, value) in effect.after {
                writes.entry((field, side)).or_default().push(value);
            }
        }
        Ok(())
    }

    async fn add_decisions(
        &self,
        scope: i32,
        texts: &[String],
        now: DateTime<Utc>,
        about: &mut Circumstances,
    ) -> Result<(), StoreError> {
        let texts = || texts.iter().map(String::as_str);
        let refused = quarantine::Entity::find()
            .filter(quarantine::Column::Scope.eq(scope))
            .filter(quarantine::Column::Subject.is_in(texts()))
            .filter(quarantine::Column::NextAt.gt(codec::micros(now)))
            .all(self.db())
            .await?;
        for row in refused {
            let quarantine: Quarantine = codec::decode("quarantine", &row.body)?;
            let fields = about.quarantined.entry(row.subject).or_default();
            fields.insert(quarantine.field, quarantine.fingerprint);
        }
        let decided = resolution::Entity::find()
            .filter(resolution::Column::Scope.eq(scope))
            .filter(resolution::Column::Subject.is_in(texts()))
            .order_by_asc(resolution::Column::RowId)
            .all(self.db())
            .await?;
        for row in decided {
            let all = about.resolutions.entry(row.subject).or_default();
            all.push(codec::decode("resolution", &row.body)?);
        }
        Ok(())
    }
}

impl Circumstances {
    fn complete(&self, subject: &mut Subject, text: &str) {
        for side in Side::BOTH {
            let id = match &subject.link {
                Some(link) => link.ends[side].clone(),
                None => subject.observations[side].as_ref().map(|seen| seen.key.id.clone()),
            };
            let Some(id) = id else { continue };
            subject.tombstones[side] = self.tombstones[side].get(id.as_str()).cloned();
            subject.unknown[side] = self.unknown[side].get(id.as_str()).copied();
            let generation = self.generations[side].get(id.as_str()).copied().unwrap_or(0);
            subject.generation = Ord::max(subject.generation, generation);
        }
        subject.in_doubt = self.in_doubt.contains(text);
        subject.quarantined = self.quarantined.get(text).cloned().unwrap_or_default();
        subject.recent_writes = self.recent.get(text).cloned().unwrap_or_default();
        subject.resolutions = self.resolutions.get(text).cloned().unwrap_or_default();
    }
}

impl RouteStore {
    /// Undoes a link by decision of a person: both records get a tombstone, so that nothing links them again by
    /// itself. Answers whether there was such a link.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`], or when the store cannot be written.
    pub async fn unlink(
        &self,
        run: &str,
        link: &LinkId,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let Some((_, entity, known)) = self.find_link(link).await? else { return Ok(false) };
        if !known.is_live() {
            return Ok(false);
        }
        let tombstone = |side: Side| {
            Some(Tombstone {
                key: RecordKey { entity: entity.clone(), side, id: known.ends[side].clone()? },
                cause: TombstoneCause::Unlinked,
                evidence: DeleteEvidence::Person,
                at: now,
                successor: None,
                link: Some(link.clone()),
            })
        };
        let kind = OpKind::Relate {
            state: LinkState::Closed,
            ends: known.ends.clone(),
            tombstones: Side::BOTH.into_iter().filter_map(tombstone).collect(),
            keep_baseline: true,
        };
        let op = Op { entity, link: link.clone(), code: Code::Gone, kind, later: Vec::new() };
        let ending = Ending::Done {
            id: None,
            stamp: None,
            baseline: BTreeMap::new(),
            observed: None,
            before: BTreeMap::new(),
            after: BTreeMap::new(),
        };
        self.commit(run, &[Commit { intent: None, op, ending }], now).await?;
        Ok(true)
    }

    /// Brings a link's baseline back to what it was, and marks the link for the next plan.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`], or when the store cannot be written.
    pub async fn restore_baseline(
        &self,
        link: &LinkId,
        baseline: &Baseline,
    ) -> Result<(), StoreError> {
        let Some((scope, _, known)) = self.find_link(link).await? else { return Ok(()) };
        let restored = Link { baseline: baseline.clone(), ..known };
        let tx = self.begin().await?;
        save(&tx, scope, std::iter::once(&restored)).await?;
        attention::mark(&tx, scope, BTreeSet::from([codec::link_text(&link.0)])).await?;
        Ok(tx.commit().await?)
    }

    /// Marks subjects for the next plan.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`], or when the store cannot be written.
    pub async fn touch(
        &self,
        entity: &EntityName,
        subjects: &[SubjectKey],
    ) -> Result<(), StoreError> {
        let scope = self.own_scope(entity).await?;
        let tx = self.begin().await?;
        attention::mark(&tx, scope, subjects.iter().map(codec::subject_text).collect()).await?;
        Ok(tx.commit().await?)
    }

    /// Forgets all baselines of an entity, or of the route, and marks the links: a resync.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`], or when the store cannot be written.
    pub async fn drop_baselines(&self, entity: Option<&EntityName>) -> Result<(), StoreError> {
        let scopes = self.scopes().await?;
        let named = |name: &EntityName| entity.is_none_or(|entity| entity == name);
        for (scope, _) in scopes.iter().filter(|(_, name)| named(name)) {
            let tx = self.begin().await?;
            link::Entity::update_many()
                .col_expr(link::Column::Baseline, Expr::value("{}"))
                .filter(link::Column::Scope.eq(*scope))
                .filter(link::Column::State.is_in(codec::LIVE.iter().copied()))
                .exec(&tx)
                .await?;
            attention::mark_links(&tx, *scope).await?;
            tx.commit().await?;
        }
        Ok(())
    }
}

impl RouteReader {
    /// A link of any entity, with its scope.
    pub(super) async fn find_link(
        &self,
        id: &LinkId,
    ) -> Result<Option<(i32, EntityName, Link)>, StoreError> {
        for (scope, entity) in self.scopes().await? {
            let row = link::Entity::find_by_id((scope, id.0.clone())).one(self.db()).await?;
            if let Some(row) = row {
                let link = noun(&entity, &row)?;
                return Ok(Some((scope, entity, link)));
            }
        }
        Ok(None)
    }

    /// A link of any entity by its ID.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn link(&self, id: &LinkId) -> Result<Option<Link>, StoreError> {
        Ok(self.find_link(id).await?.map(|(_, _, link)| link))
    }
}
