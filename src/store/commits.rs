//! Commits: how ops ended, with everything that follows, in one transaction (semantics §8.2, §10.1).

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use crmsync_core::model::journal::LinkBefore;
use crmsync_core::model::link::{DeleteEvidence, TombstoneCause};
use crmsync_core::model::state::{MatchKey, SubjectKey};
use crmsync_core::model::{
    Agreement, Baseline, EntityName, FieldName, Link, LinkState, Op, OpKind, Pair, Presence,
    RecordId, RecordKey, Side, Tombstone, Value,
};
use sea_orm::{ColumnTrait, DatabaseTransaction, EntityTrait, QueryFilter};

use super::attention::{self, Marks};
use super::observations::{load, plannable, soil};
use super::route::{KEYS, upsert};
use super::tables::{effect, former_end, intent, link, link_end, quarantine, tombstone};
use super::{
    Commit, Effect, Ending, Intent, IntentState, Observed, Quarantine, RouteStore, StoreError,
    codec, journal, links, observations, rows,
};

type Record = (Side, String);

impl RouteStore {
    /// Ends intents and local ops, in one transaction for all: effects, links, baselines, observations,
    /// tombstones, quarantine and attention.
    ///
    /// A subject keeps its mark unless both observations now equal the baseline in every field. An op that would
    /// put a record into a second live link (I11) does nothing but end its intent; its subject is planned again.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`], or when the store cannot be written. Then nothing is committed.
    pub async fn commit(
        &self,
        run: &str,
        commits: &[Commit],
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let mut scopes = BTreeMap::new();
        for commit in commits {
            scopes.insert(&commit.op.entity, self.own_scope(&commit.op.entity).await?);
        }
        let tx = self.begin().await?;
        let mut effects = BTreeMap::new();
        for (entity, scope) in scopes {
            let own: Vec<_> = commits
                .iter()
                .enumerate()
                .filter(|(_, commit)| commit.op.entity == *entity)
                .collect();
            let mut batch = Batch::load(&tx, scope, entity, &own).await?;
            batch.fingerprints = self.fingerprints(entity);
            (batch.run, batch.now) = (run, Some(now));
            for (order, commit) in own {
                let effect = batch.end(order, commit).await?;
                effects.extend(effect.map(|effect| (order, effect)));
            }
            batch.flush(now).await?;
        }
        insert_effects(&tx, effects.into_values().collect()).await?;
        Ok(tx.commit().await?)
    }
}

async fn insert_effects(
    tx: &DatabaseTransaction,
    effects: Vec<effect::ActiveModel>,
) -> Result<(), StoreError> {
    let mut effects = effects.into_iter().peekable();
    while effects.peek().is_some() {
        effect::Entity::insert_many(effects.by_ref().take(100)).exec_without_returning(tx).await?;
    }
    Ok(())
}

/// What the commits of one entity change.
struct Batch<'a> {
    tx: &'a DatabaseTransaction,
    scope: i32,
    entity: &'a EntityName,
    run: &'a str,
    now: Option<DateTime<Utc>>,
    fingerprints: BTreeMap<FieldName, String>,
    links: BTreeMap<String, Link>,
    /// Live link of each record concerned.
    owners: BTreeMap<Record, String>,
    seen: BTreeMap<Record, Observed>,
    /// Tombstones that stand for records concerned.
    gone: BTreeMap<Record, Tombstone>,
    intents: BTreeMap<String, Intent>,
    touched: BTreeSet<String>,
    removed: BTreeSet<String>,
    written: BTreeSet<Record>,
    dirty: BTreeMap<Record, &'static str>,
    buried: BTreeMap<Record, Tombstone>,
    revived: BTreeSet<Record>,
    ended: BTreeSet<String>,
    in_doubt: BTreeMap<String, Intent>,
    quarantined: BTreeMap<(Record, String), quarantine::Model>,
    released: BTreeMap<String, BTreeSet<String>>,
    marks: Marks,
}

impl<'a> Batch<'a> {
    async fn load(
        tx: &'a DatabaseTransaction,
        scope: i32,
        entity: &'a EntityName,
        commits: &[(usize, &'a Commit)],
    ) -> Result<Self, StoreError> {
        let ids = commits.iter().map(|(_, commit)| commit.op.link.0.clone()).collect();
        let links = links::by_id(tx, scope, entity, &ids).await?;
        let mut records: BTreeSet<Record> = BTreeSet::new();
        for link in links.values() {
            records.extend(ends_of(&link.ends));
        }
        for (_, commit) in commits {
            records.extend(named_by(commit));
        }
        let mut batch = Self {
            tx,
            scope,
            entity,
            run: "",
            now: None,
            fingerprints: BTreeMap::new(),
            links,
            owners: BTreeMap::new(),
            seen: BTreeMap::new(),
            gone: BTreeMap::new(),
            intents: BTreeMap::new(),
            touched: BTreeSet::new(),
            removed: BTreeSet::new(),
            written: BTreeSet::new(),
            dirty: BTreeMap::new(),
            buried: BTreeMap::new(),
            revived: BTreeSet::new(),
            ended: BTreeSet::new(),
            in_doubt: BTreeMap::new(),
            quarantined: BTreeMap::new(),
            released: BTreeMap::new(),
            marks: Marks::default(),
        };
        batch.load_records(&records).await?;
        batch.load_intents(commits).await?;
        Ok(batch)
    }

    async fn load_records(&mut self, records: &BTreeSet<Record>) -> Result<(), StoreError> {
        for side in Side::BOTH {
            let own = records.iter().filter(|record| record.0 == side);
            let ids: BTreeSet<_> = own.map(|record| record.1.clone()).collect();
            let texts: Vec<_> = ids.iter().cloned().collect();
            for texts in texts.chunks(KEYS) {
                let linked = attention::live_links(self.tx, self.scope, side, texts).await?;
                self.owners.extend(linked.into_iter().map(|(id, link)| ((side, id), link)));
            }
            let seen = load(self.tx, self.scope, self.entity, side, &ids).await?;
            self.seen.extend(seen.into_iter().map(|(id, row)| ((side, id), row)));
            let gone = links::tombstones(self.tx, self.scope, side, &ids).await?;
            self.gone.extend(gone.into_iter().map(|(id, tombstone)| ((side, id), tombstone)));
        }
        Ok(())
    }

    async fn load_intents(&mut self, commits: &[(usize, &Commit)]) -> Result<(), StoreError> {
        let ids: Vec<_> =
            commits.iter().filter_map(|(_, commit)| commit.intent.as_deref()).collect();
        for ids in ids.chunks(KEYS) {
            let rows = intent::Entity::find()
                .filter(intent::Column::Scope.eq(self.scope))
                .filter(intent::Column::Id.is_in(ids.iter().copied()))
                .all(self.tx)
                .await?;
            for row in rows {
                let intent = codec::decode("intent", &row.body)?;
                self.intents.insert(row.id, intent);
            }
        }
        Ok(())
    }

    /// Takes one ending in; answers the effect to journal.
    async fn end(
        &mut self,
        order: usize,
        commit: &Commit,
    ) -> Result<Option<effect::ActiveModel>, StoreError> {
        let op = &commit.op;
        self.marks.subjects.insert(codec::link_text(&op.link.0));
        if let (Some(id), false) = (&commit.intent, matches!(commit.ending, Ending::InDoubt)) {
            self.ended.insert(id.clone());
        }
        match &commit.ending {
            Ending::Done { .. } => self.done(order, commit),
            Ending::InDoubt => {
                let armed = commit.intent.as_ref().and_then(|id| Some((id, self.intents.get(id)?)));
                if let Some((id, intent)) = armed {
                    let intent = Intent { state: IntentState::InDoubt, ..intent.clone() };
                    self.in_doubt.insert(id.clone(), intent);
                }
                Ok(None)
            }
            Ending::Dropped { dirty } => {
                self.take_back(op).await?;
                if let (true, Some(target)) = (*dirty, target(op)) {
                    self.dirty.insert(target, "write-dropped");
                }
                Ok(None)
            }
            Ending::Refused { .. } => {
                self.take_back(op).await?;
                self.quarantine(commit)?;
                Ok(None)
            }
        }
    }

    /// A create that had no effect: its link never was, unless it lived before.
    async fn take_back(&mut self, op: &Op) -> Result<(), StoreError> {
        let OpKind::Create { side, source, .. } = &op.kind else { return Ok(()) };
        let id = op.link.0.as_str();
        let is_begun = self.links.get(id).is_some_and(|link| link.state == LinkState::Creating);
        if is_begun && !journal::has_effects(self.tx, self.scope, id).await? {
            self.disown(id);
            self.links.remove(id);
            self.removed.insert(id.to_owned());
            self.marks.subjects.remove(&codec::link_text(id));
        }
        self.marks.maybe(side.other(), source.as_str());
        Ok(())
    }

    fn quarantine(&mut self, commit: &Commit) -> Result<(), StoreError> {
        let Ending::Refused { code, field, message, fingerprint, retry_at } = &commit.ending else {
            return Ok(());
        };
        let record = target(&commit.op).or_else(|| source(&commit.op));
        let Some((side, id)) = record else { return Ok(()) };
        let key = RecordKey { entity: self.entity.clone(), side, id: RecordId::new(id.as_str()) };
        let subject = if self.links.contains_key(&commit.op.link.0) {
            SubjectKey::Link(commit.op.link.clone())
        } else {
            SubjectKey::Record(key.clone())
        };
        let name = field.as_ref().map(ToString::to_string).unwrap_or_default();
        let quarantine = Quarantine {
            subject: subject.clone(),
            key,
            field: field.clone(),
            code: *code,
            message: message.clone(),
            fingerprint: fingerprint.clone(),
            attempts: 1,
            next_at: *retry_at,
        };
        let row = quarantine::Model {
            scope: self.scope,
            side: codec::side_code(side),
            record: id.clone(),
            field: name.clone(),
            subject: codec::subject_text(&subject),
            next_at: codec::micros(*retry_at),
            body: codec::encode(&quarantine)?,
        };
        self.quarantined.insert(((side, id), name), row);
        Ok(())
    }

    fn done(
        &mut self,
        order: usize,
        commit: &Commit,
    ) -> Result<Option<effect::ActiveModel>, StoreError> {
        let op = &commit.op;
        let Ending::Done { id, stamp, baseline, observed, before, after } = &commit.ending else {
            return Ok(None);
        };
        let known = self.links.get(&op.link.0).cloned();
        let Some(mut link) = self.changed_link(op, id.as_ref()) else {
            tracing::warn!(link.id = %op.link, code = %op.code, op.order = order, "left alone: a record of it is linked elsewhere");
            self.give_up(op);
            return Ok(None);
        };
        for (field, (values, pinned)) in baseline {
            self.agree(&mut link.baseline, field, values, *pinned);
        }
        if let (Some(side), Some(stamp)) = (op.writes(), stamp) {
            link.own_stamp[side] = Some(*stamp);
        }
        self.follow(op, id.as_ref(), observed.as_deref());
        self.let_live(op, known.as_ref(), &link);
        self.release(op, after);
        self.put(link);
        self.effect(op, id.as_ref(), before, after, known.as_ref()).map(Some)
    }

    fn agree(
        &self,
        baseline: &mut Baseline,
        field: &FieldName,
        values: &Pair<Value>,
        pinned: bool,
    ) {
        let fingerprint = self.fingerprints.get(field).cloned().unwrap_or_default();
        let values = values.clone();
        baseline.insert(field.clone(), Agreement { values, fingerprint, pinned });
    }

    /// The link after the op; `None` when a record of it lives in another link, or there is no such link.
    fn changed_link(&self, op: &Op, id: Option<&RecordId>) -> Option<Link> {
        let known = self.links.get(&op.link.0).cloned();
        let mut link = match &op.kind {
            OpKind::Link { ends, agreed } => {
                let ends = ends.clone().map(Some);
                let mut baseline = Baseline::new();
                for (field, values) in agreed {
                    self.agree(&mut baseline, field, values, false);
                }
                Link { baseline, ..self.fresh(op, ends) }
            }
            OpKind::Create { side, source, .. } => {
                let ends = Pair::from_side(*side, id.cloned(), Some(source.clone()));
                let fresh = self.fresh(op, ends.clone());
                let known = known.filter(Link::is_live).unwrap_or(fresh);
                Link { ends, state: LinkState::Live, ..known }
            }
            OpKind::Delete { .. } | OpKind::Archive { .. } => {
                Link { state: LinkState::Closed, ..known? }
            }
            OpKind::Update { .. } => known?,
            OpKind::Agree { fields, pinned } => {
                let mut link = known?;
                for (field, values) in fields {
                    self.agree(&mut link.baseline, field, values, *pinned);
                }
                link
            }
            OpKind::Relate { state, ends, keep_baseline, .. } => {
                let known = known?;
                if self.is_remade(&known, *state, ends) {
                    known
                } else {
                    let kept =
                        if *keep_baseline { known.baseline.clone() } else { Baseline::new() };
                    Link { state: *state, ends: ends.clone(), baseline: kept, ..known }
                }
            }
            OpKind::Revive { side, id } => {
                let mut link = Link { state: LinkState::Live, ..known? };
                link.ends[*side] = Some(id.clone());
                link
            }
        };
        link.entity.clone_from(self.entity);
        let free =
            |record: &Record| self.owners.get(record).is_none_or(|owner| *owner == op.link.0);
        (!link.is_live() || ends_of(&link.ends).all(|record| free(&record))).then_some(link)
    }

    /// Whether the end that a change wants to wait for was made anew already: then the change is outdated.
    fn is_remade(&self, known: &Link, state: LinkState, ends: &Pair<Option<RecordId>>) -> bool {
        let remade = |side: &Side| {
            let end = known.ends[*side].as_ref().filter(|_| ends[*side].is_none());
            end.is_some_and(|id| !self.gone.contains_key(&(*side, id.to_string())))
        };
        state == LinkState::Creating && Side::BOTH.iter().any(remade)
    }

    fn fresh(&self, op: &Op, ends: Pair<Option<RecordId>>) -> Link {
        Link {
            id: op.link.clone(),
            entity: self.entity.clone(),
            ends,
            state: LinkState::Live,
            baseline: Baseline::new(),
            own_stamp: Pair::default(),
        }
    }

    /// An op that must not take effect: what it began is taken back, and its records are planned again.
    fn give_up(&mut self, op: &Op) {
        let is_begun = |link: &Link| link.state == LinkState::Creating;
        if matches!(op.kind, OpKind::Create { .. })
            && self.links.get(&op.link.0).is_some_and(is_begun)
        {
            self.disown(&op.link.0);
            self.links.remove(&op.link.0);
            self.removed.insert(op.link.0.clone());
        }
        if !self.links.contains_key(&op.link.0) {
            self.marks.subjects.remove(&codec::link_text(&op.link.0));
        }
        for (side, id) in named_by_op(op) {
            self.marks.maybe(side, &id);
        }
    }

    /// What an op means for observations and tombstones.
    fn follow(&mut self, op: &Op, id: Option<&RecordId>, observed: Option<&Observed>) {
        match &op.kind {
            OpKind::Delete { side, id, .. } => {
                self.bury(Tombstone {
                    key: RecordKey { entity: self.entity.clone(), side: *side, id: id.clone() },
                    cause: TombstoneCause::Deleted,
                    evidence: DeleteEvidence::Strong,
                    at: self.now.unwrap_or_default(),
                    successor: None,
                    link: Some(op.link.clone()),
                });
                let record = (*side, id.to_string());
                if let Some(seen) = self.seen.get_mut(&record) {
                    seen.observation.presence = Presence::Deleted;
                    self.written.insert(record);
                }
            }
            OpKind::Relate { tombstones, .. } => {
                for tombstone in tombstones {
                    self.bury(tombstone.clone());
                }
            }
            OpKind::Revive { side, id } => self.exhume((*side, id.to_string())),
            OpKind::Link { .. }
            | OpKind::Create { .. }
            | OpKind::Update { .. }
            | OpKind::Archive { .. }
            | OpKind::Agree { .. } => {}
        }
        let Some(side) = op.writes() else { return };
        match (observed, id) {
            (Some(observed), _) => self.observe(observed),
            (None, Some(id)) if !matches!(op.kind, OpKind::Delete { .. }) => {
                self.dirty.insert((side, id.to_string()), "read-back");
            }
            (None, _) => {}
        }
    }

    /// A written record as it is now known. Without match keys it keeps the ones it had.
    fn observe(&mut self, observed: &Observed) {
        let key = &observed.observation.key;
        let record = (key.side, key.id.to_string());
        let mut observed = observed.clone();
        if let (true, Some(before)) = (observed.keys.is_empty(), self.seen.get(&record)) {
            observed.keys.clone_from(&before.keys);
        }
        if self.seen.get(&record) != Some(&observed) {
            self.seen.insert(record.clone(), observed);
            self.written.insert(record);
        }
    }

    /// Tombstones after a change of ends: that of a replaced end lets go of the link, those of a live link's ends
    /// are over, unless the record was deleted meanwhile.
    fn let_live(&mut self, op: &Op, before: Option<&Link>, link: &Link) {
        for record in before.into_iter().flat_map(|before| ends_of(&before.ends)) {
            if ends_of(&link.ends).any(|end| end == record) {
                continue;
            }
            self.marks.maybe(record.0, &record.1);
            if let Some(tombstone) = self.gone.get(&record) {
                self.bury(Tombstone { link: None, ..tombstone.clone() });
            }
        }
        let binds = match &op.kind {
            OpKind::Link { .. } | OpKind::Create { .. } => true,
            OpKind::Relate { .. } => link.state == LinkState::Live,
            OpKind::Update { .. }
            | OpKind::Delete { .. }
            | OpKind::Archive { .. }
            | OpKind::Agree { .. }
            | OpKind::Revive { .. } => false,
        };
        for record in ends_of(&link.ends).filter(|_| binds) {
            let is_deleted = |seen: &Observed| seen.observation.presence == Presence::Deleted;
            if self.gone.contains_key(&record) && !self.seen.get(&record).is_some_and(is_deleted) {
                self.exhume(record);
            }
        }
    }

    fn bury(&mut self, tombstone: Tombstone) {
        let record = (tombstone.key.side, tombstone.key.id.to_string());
        self.revived.remove(&record);
        self.buried.insert(record.clone(), tombstone.clone());
        self.gone.insert(record, tombstone);
    }

    fn exhume(&mut self, record: Record) {
        self.buried.remove(&record);
        self.gone.remove(&record);
        self.revived.insert(record);
    }

    /// A write that went through ends the quarantine of what it wrote.
    fn release(&mut self, op: &Op, after: &BTreeMap<FieldName, Value>) {
        if op.writes().is_none() && !matches!(op.kind, OpKind::Link { .. }) {
            return;
        }
        let fields = after.keys().map(ToString::to_string).chain([String::new()]);
        let fields: BTreeSet<_> = fields.collect();
        let link = codec::link_text(&op.link.0);
        let records = named_by_op(op).into_iter().map(|(side, id)| codec::record_text(side, &id));
        for subject in records.chain([link]) {
            self.released.entry(subject).or_default().extend(fields.iter().cloned());
        }
    }

    fn put(&mut self, link: Link) {
        let id = link.id.0.clone();
        self.disown(&id);
        if link.is_live() {
            self.owners.extend(ends_of(&link.ends).map(|record| (record, id.clone())));
        }
        self.touched.insert(id.clone());
        self.links.insert(id, link);
    }

    /// The ends of a link as it was are nobody's.
    fn disown(&mut self, id: &str) {
        for end in self.links.get(id).into_iter().flat_map(|before| ends_of(&before.ends)) {
            if self.owners.get(&end).is_some_and(|owner| owner == id) {
                self.owners.remove(&end);
            }
        }
    }

    fn effect(
        &self,
        op: &Op,
        record: Option<&RecordId>,
        before: &BTreeMap<FieldName, Value>,
        after: &BTreeMap<FieldName, Value>,
        link: Option<&Link>,
    ) -> Result<effect::ActiveModel, StoreError> {
        use sea_orm::ActiveValue::{NotSet, Set};
        let at = self.now.unwrap_or_default();
        let effect = Effect {
            seq: 0,
            run: self.run.to_owned(),
            at,
            op: op.clone(),
            record: record.cloned(),
            before: before.clone(),
            after: after.clone(),
            baseline_before: link.map(|link| link.baseline.clone()).unwrap_or_default(),
            link_before: link.map(|link| LinkBefore { state: link.state, ends: link.ends.clone() }),
        };
        Ok(effect::ActiveModel {
            seq: NotSet,
            scope: Set(self.scope),
            run: Set(self.run.to_owned()),
            link: Set(op.link.0.clone()),
            kind: Set(codec::kind_code(&op.kind)),
            side: Set(op.writes().map_or(codec::NO_SIDE, codec::side_code)),
            at: Set(codec::micros(at)),
            body: Set(codec::encode(&effect)?),
        })
    }

    async fn flush(mut self, now: DateTime<Utc>) -> Result<(), StoreError> {
        let (tx, scope) = (self.tx, self.scope);
        self.flush_links().await?;
        self.flush_observations().await?;
        links::bury(tx, scope, self.buried.values()).await?;
        self.flush_revived().await?;
        self.flush_dirty(now).await?;
        self.flush_intents().await?;
        self.flush_quarantine().await?;
        self.flush_attention().await
    }

    /// Links, their live ends, and the ends of those that live no more.
    async fn flush_links(&mut self) -> Result<(), StoreError> {
        use former_end::Column as F;
        let (tx, scope) = (self.tx, self.scope);
        let (mut live, mut former) = (Vec::new(), Vec::new());
        let touched: Vec<_> = self.touched.iter().filter_map(|id| self.links.get(id)).collect();
        for link in &touched {
            for (side, record) in ends_of(&link.ends) {
                let (side, link_id) = (codec::side_code(side), link.id.0.clone());
                if link.is_live() {
                    live.push(link_end::Model { scope, side, record, link: link_id });
                } else {
                    former.push(former_end::Model { scope, side, record, link: link_id });
                }
            }
        }
        links::save(tx, scope, touched.into_iter()).await?;
        let concerned: Vec<_> = self.touched.iter().chain(&self.removed).collect();
        journal::set_ends(tx, scope, concerned.iter().copied(), live.clone()).await?;
        for ids in concerned.chunks(KEYS) {
            former_end::Entity::delete_many()
                .filter(former_end::Column::Scope.eq(scope))
                .filter(former_end::Column::Link.is_in(ids.iter().map(|id| id.as_str())))
                .exec(tx)
                .await?;
        }
        upsert(tx, former, &[F::Scope, F::Side, F::Record, F::Link], &[]).await?;
        let removed: Vec<_> = self.removed.iter().map(String::as_str).collect();
        for ids in removed.chunks(KEYS) {
            link::Entity::delete_many()
                .filter(link::Column::Scope.eq(scope))
                .filter(link::Column::Id.is_in(ids.iter().copied()))
                .exec(tx)
                .await?;
        }
        self.hand_over(&live).await
    }

    /// Linked records are no subjects of their own any more.
    async fn hand_over(&mut self, live: &[link_end::Model]) -> Result<(), StoreError> {
        let mut subjects = BTreeMap::new();
        for end in live {
            let side = codec::side(end.side)?;
            let record = (side, end.record.clone());
            if !self.seen.contains_key(&record) {
                self.dirty.entry(record).or_insert("linked-unseen");
            }
            subjects.insert(codec::record_text(side, &end.record), end.link.clone());
        }
        rows::hand_over(self.tx, self.scope, &subjects).await?;
        attention::unmark(self.tx, self.scope, &subjects.into_keys().collect()).await
    }

    async fn flush_observations(&mut self) -> Result<(), StoreError> {
        for side in Side::BOTH {
            let own = self.written.iter().filter(|record| record.0 == side);
            let rows: Vec<_> = own.filter_map(|record| self.seen.get(record)).collect();
            let ids = rows.iter().map(|row| row.observation.key.id.to_string()).collect();
            let known = observations::known(self.tx, self.scope, side, &ids).await?;
            let writes: Vec<_> =
                rows.iter().map(|row| (*row, known.get(row.observation.key.id.as_str()))).collect();
            observations::save(self.tx, self.scope, side, None, &writes).await?;
        }
        Ok(())
    }

    async fn flush_revived(&self) -> Result<(), StoreError> {
        for (side, id) in &self.revived {
            let key = (self.scope, codec::side_code(*side), id.clone());
            tombstone::Entity::delete_by_id(key).exec(self.tx).await?;
        }
        Ok(())
    }

    async fn flush_dirty(&self, now: DateTime<Utc>) -> Result<(), StoreError> {
        for side in Side::BOTH {
            let own = self.dirty.iter().filter(|(record, _)| record.0 == side);
            let hints: Vec<_> = own
                .map(|((_, id), reason)| (RecordId::new(id.as_str()), (*reason).to_owned()))
                .collect();
            soil(self.tx, self.scope, side, &hints, codec::micros(now)).await?;
        }
        Ok(())
    }

    async fn flush_intents(&mut self) -> Result<(), StoreError> {
        let ended: Vec<_> = self.ended.iter().map(String::as_str).collect();
        for ids in ended.chunks(KEYS) {
            intent::Entity::delete_many()
                .filter(intent::Column::Scope.eq(self.scope))
                .filter(intent::Column::Id.is_in(ids.iter().copied()))
                .exec(self.tx)
                .await?;
        }
        let doubted = self.in_doubt.values().map(|intent| journal::row(self.scope, intent));
        journal::insert(self.tx, doubted.collect::<Result<_, _>>()?).await
    }

    async fn flush_quarantine(&mut self) -> Result<(), StoreError> {
        use quarantine::Column as C;
        let subjects: Vec<_> = self.released.keys().map(String::as_str).collect();
        for subjects in subjects.chunks(KEYS) {
            let held = quarantine::Entity::find()
                .filter(C::Scope.eq(self.scope))
                .filter(C::Subject.is_in(subjects.iter().copied()))
                .all(self.tx)
                .await?;
            for row in held {
                if self.released.get(&row.subject).is_some_and(|fields| fields.contains(&row.field))
                {
                    let key = (row.scope, row.side, row.record, row.field);
                    quarantine::Entity::delete_by_id(key).exec(self.tx).await?;
                }
            }
        }
        let mut refused = Vec::new();
        for (_, mut row) in std::mem::take(&mut self.quarantined) {
            let key = (row.scope, row.side, row.record.clone(), row.field.clone());
            if let Some(before) = quarantine::Entity::find_by_id(key).one(self.tx).await? {
                let before: Quarantine = codec::decode("quarantine", &before.body)?;
                let now: Quarantine = codec::decode("quarantine", &row.body)?;
                let attempts = before.attempts.saturating_add(1);
                row.body = codec::encode(&Quarantine { attempts, ..now })?;
            }
            refused.push(row);
        }
        let key = [C::Scope, C::Side, C::Record, C::Field];
        upsert(self.tx, refused, &key, &[C::Subject, C::NextAt, C::Body]).await
    }

    /// Clears the marks of pairs that are as agreed, and of links that ended; sets all others.
    async fn flush_attention(mut self) -> Result<(), StoreError> {
        let waiting = self.waiting().await?;
        let mut clear = BTreeSet::new();
        for id in &self.touched {
            let Some(link) = self.links.get(id) else { continue };
            let text = codec::link_text(id);
            let ended = !link.is_live();
            if ended {
                let keys = ends_of(&link.ends).filter_map(|record| self.seen.get(&record));
                let keys: Vec<MatchKey> = keys.flat_map(|seen| seen.keys.iter().cloned()).collect();
                self.marks.keys(keys);
            }
            let settled = ended || link.state == LinkState::Held || self.is_as_agreed(link);
            if settled && !waiting.contains(&text) {
                clear.insert(text);
            }
        }
        for text in &clear {
            self.marks.subjects.remove(text);
        }
        attention::unmark(self.tx, self.scope, &clear).await?;
        attention::apply(self.tx, self.scope, self.marks).await
    }

    /// Subjects that open rows, quarantine or another intent name: the next plan must look at them.
    async fn waiting(&self) -> Result<BTreeSet<String>, StoreError> {
        let texts: BTreeSet<_> = self.touched.iter().map(|id| codec::link_text(id)).collect();
        let mut waiting = rows::with_open_rows(self.tx, self.scope, &texts).await?;
        waiting.extend(self.quarantined.values().map(|row| row.subject.clone()));
        waiting.extend(self.in_doubt.values().map(|intent| codec::link_text(&intent.op.link.0)));
        Ok(waiting)
    }

    /// Whether both ends hold the baseline in every mapped field.
    fn is_as_agreed(&self, link: &Link) -> bool {
        link.state == LinkState::Live
            && Side::BOTH.into_iter().all(|side| {
                let Some(id) = &link.ends[side] else { return false };
                let record = (side, id.to_string());
                let Some(seen) = self.seen.get(&record) else { return false };
                let fields = &seen.observation.fields;
                let holds = |(field, value): (&FieldName, &Value)| {
                    link.baseline.get(field).is_some_and(|agreed| agreed.values[side] == *value)
                };
                plannable(&seen.observation)
                    && seen.observation.unreturned.is_empty()
                    && !self.dirty.contains_key(&record)
                    && fields.iter().all(holds)
            })
    }
}

fn ends_of(ends: &Pair<Option<RecordId>>) -> impl Iterator<Item = Record> + use<> {
    let left = ends.left.as_ref().map(|id| (Side::Left, id.to_string()));
    let right = ends.right.as_ref().map(|id| (Side::Right, id.to_string()));
    left.into_iter().chain(right)
}

/// Records that a commit may concern.
fn named_by(commit: &Commit) -> BTreeSet<Record> {
    let mut all = named_by_op(&commit.op);
    if let (Ending::Done { id: Some(id), .. }, Some(side)) = (&commit.ending, commit.op.writes()) {
        all.insert((side, id.to_string()));
    }
    all
}

fn named_by_op(op: &Op) -> BTreeSet<Record> {
    let mut all: BTreeSet<Record> = target(op).into_iter().chain(source(op)).collect();
    match &op.kind {
        OpKind::Link { ends, .. } => all.extend(ends_of(&ends.clone().map(Some))),
        OpKind::Relate { ends, .. } => all.extend(ends_of(ends)),
        OpKind::Revive { side, id } => drop(all.insert((*side, id.to_string()))),
        OpKind::Create { .. }
        | OpKind::Update { .. }
        | OpKind::Delete { .. }
        | OpKind::Archive { .. }
        | OpKind::Agree { .. } => {}
    }
    all
}

/// The existing record that an op writes.
fn target(op: &Op) -> Option<Record> {
    op.writes().zip(op.target()).map(|(side, id)| (side, id.to_string()))
}

/// The record whose counterpart a create makes.
fn source(op: &Op) -> Option<Record> {
    match &op.kind {
        OpKind::Create { side, source, .. } => Some((side.other(), source.to_string())),
        OpKind::Update { .. }
        | OpKind::Delete { .. }
        | OpKind::Archive { .. }
        | OpKind::Link { .. }
        | OpKind::Agree { .. }
        | OpKind::Relate { .. }
        | OpKind::Revive { .. } => None,
    }
}
