//! Applies a plan: intent, effect, commit. Safe to stop at any line, since the next run rereads every open intent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use chrono::TimeDelta;
use crmsync_core::engine::fields::payload_fingerprint;
use crmsync_core::engine::normalize::{denormalize, normalize};
use crmsync_core::model::mapping::WriteMode;
use crmsync_core::model::plan::Change;
use crmsync_core::model::row::{OpenRow, RowId, RowKind};
use crmsync_core::model::state::SubjectKey;
use crmsync_core::model::{
    Code, Entity, EntityName, FieldName, LinkId, LinkState, ModuleName, Observation, Op, OpKind,
    Pair, Plan, Presence, RecordId, RecordKey, RemoteField, RemoteRecord, Side, Value,
};
use futures_util::{StreamExt, stream};
use serde::Serialize;

use super::error::{Exit, ServiceError};
use super::observe::Observer;
use super::run::RunContext;
use crate::connectors::{
    Capabilities, ConnectorError, ErrorKind, Page, Recovery, RowResult, UpdateRow, Written,
};
use crate::store::{Commit, Ending, Intent, IntentState, Observed, PageCommit, RouteStore};

/// Creates armed, sent and committed together.
const BATCH: usize = 100;
/// Local steps committed together.
const LOCAL_BATCH: usize = 500;

/// What applying a plan came to.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Tally {
    pub created: Pair<u64>,
    pub updated: Pair<u64>,
    pub deleted: Pair<u64>,
    pub linked: u64,
    /// Local steps: baselines moved, links closed or redirected.
    pub noted: u64,
    /// Ops dropped because the target had moved on: planned again next time.
    pub stale: u64,
    pub failed: u64,
    pub in_doubt: u64,
    /// Ops left alone because their side went out of reach.
    pub skipped: u64,
    /// Writes that no condition guarded against an edit between re-read and effect, and the longest such window.
    pub unguarded: u64,
    pub longest_window_ms: i64,
    /// Links written in this pass, and records whose create was refused.
    #[serde(skip)]
    pub touched: BTreeSet<(EntityName, SubjectKey)>,
    /// Why a side was left, by side.
    pub paused: Pair<Option<String>>,
    #[serde(skip)]
    pub paused_as: Pair<Option<Exit>>,
}

impl Tally {
    pub fn absorb(&mut self, other: Self) {
        for side in Side::BOTH {
            self.created[side] += other.created[side];
            self.updated[side] += other.updated[side];
            self.deleted[side] += other.deleted[side];
            if other.paused[side].is_some() {
                self.paused[side].clone_from(&other.paused[side]);
                self.paused_as[side] = other.paused_as[side];
            }
        }
        self.linked += other.linked;
        self.noted += other.noted;
        self.stale += other.stale;
        self.failed += other.failed;
        self.in_doubt += other.in_doubt;
        self.skipped += other.skipped;
        self.unguarded += other.unguarded;
        self.longest_window_ms = self.longest_window_ms.max(other.longest_window_ms);
        self.touched.extend(other.touched);
    }

    /// Records written on either side.
    pub fn written(&self) -> u64 {
        Side::BOTH
            .iter()
            .map(|side| self.created[*side] + self.updated[*side] + self.deleted[*side])
            .sum()
    }

    pub fn paused_exit(&self) -> Option<Exit> {
        self.paused_as.left.max(self.paused_as.right)
    }

    pub fn count_into(&self, counts: &mut BTreeMap<String, u64>) {
        for side in Side::BOTH {
            counts.insert(format!("{side}.created"), self.created[side]);
            counts.insert(format!("{side}.updated"), self.updated[side]);
            counts.insert(format!("{side}.deleted"), self.deleted[side]);
        }
        let others = [
            ("linked", self.linked),
            ("noted", self.noted),
            ("stale", self.stale),
            ("failed", self.failed),
            ("in_doubt", self.in_doubt),
            ("skipped", self.skipped),
            ("unguarded_writes", self.unguarded),
            ("longest_window_ms", u64::try_from(self.longest_window_ms).unwrap_or(0)),
        ];
        counts.extend(others.map(|(name, count)| (name.to_owned(), count)));
    }
}

/// Executes ops of one plan.
pub(super) struct Applier<'a> {
    run: &'a RunContext<'a>,
    store: &'a RouteStore,
    /// Records that this run created: what `Value::Link` stands for.
    created: Mutex<BTreeMap<LinkId, RecordId>>,
    /// Links with a write of this run in doubt: frozen on both sides, for the rest of the plan too.
    in_doubt: Mutex<BTreeSet<LinkId>>,
}

/// Ops of the same entity, kind and side in a row.
struct Group<'p> {
    entity: &'p EntityName,
    target: Option<(Kind, Side)>,
    ops: Vec<&'p Op>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Create,
    Update,
    Delete,
    Archive,
}

/// An op that is ready to be sent.
struct Ready<'p> {
    op: &'p Op,
    intent: Intent,
    current: Option<RemoteRecord>,
    /// Values in canonical names, with links resolved to IDs.
    values: BTreeMap<FieldName, Value>,
    remote: BTreeMap<RemoteField, Value>,
}

impl<'a> Applier<'a> {
    pub(super) fn new(run: &'a RunContext<'a>, store: &'a RouteStore) -> Self {
        Self { run, store, created: Mutex::default(), in_doubt: Mutex::default() }
    }

    /// Executes the plan in its order. A side out of reach is left alone; the other goes on.
    ///
    /// # Errors
    /// A broken store, a lost lease, or a person who asked to stop.
    pub(super) async fn apply(&self, plan: &Plan) -> Result<Tally, ServiceError> {
        let mut tally = Tally::default();
        self.run.progress.phase("writing", Some(plan.ops.len() as u64));
        for group in groups(&plan.ops) {
            let Some(entity) =
                self.run.route.entities.iter().find(|entity| entity.name == *group.entity)
            else {
                continue;
            };
            let ops = self.without_doubt(&group.ops, &mut tally);
            match group.target {
                None => self.note(&ops, &mut tally).await?,
                Some((kind, side)) => self.write(entity, kind, side, &ops, &mut tally).await?,
            }
        }
        Ok(tally)
    }

    /// Leaves out ops on links whose other write of this plan got no answer: the next runs see to them.
    fn without_doubt<'p>(&self, ops: &[&'p Op], tally: &mut Tally) -> Vec<&'p Op> {
        let doubted = self.in_doubt.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let certain: Vec<_> =
            ops.iter().copied().filter(|op| !doubted.contains(&op.link)).collect();
        tally.skipped += (ops.len() - certain.len()) as u64;
        certain
    }

    fn remember_doubts(&self, ready: &[Ready<'_>], results: &[RowResult]) {
        let lost = |result: &RowResult| {
            result.as_ref().is_err_and(|error| error.recovery() == Recovery::Reread)
        };
        let doubted = ready.iter().zip(results).filter(|(_, result)| lost(result));
        let mut all = self.in_doubt.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        all.extend(doubted.map(|(ready, _)| ready.op.link.clone()));
    }

    /// Takes a record out of its side's recycle bin, under an intent that `op` ends. Answers whether it is back.
    ///
    /// # Errors
    /// A broken store, or a record that cannot be read again.
    pub(super) async fn restore(
        &self,
        entity: &Entity,
        side: Side,
        id: &RecordId,
        op: Op,
        tally: &mut Tally,
    ) -> Result<bool, ServiceError> {
        let module = &entity.modules[side];
        let intent = self.intent(&op, side, module);
        self.store.arm(std::slice::from_ref(&intent)).await?;
        let result = self.run.route.connectors[side].restore(module, id).await;
        let ending = match &result {
            Ok(_) => {
                Observer::new(self.run, self.store, entity, side).drain_dirty().await?;
                tally.created[side] += 1;
                local_commit(&op).ending
            }
            Err(error) if ServiceError::is_side_down(&error.kind) => {
                pause(tally, side, error);
                Ending::Dropped { dirty: false }
            }
            Err(error) if error.recovery() == Recovery::Reread => {
                tally.in_doubt += 1;
                Ending::InDoubt
            }
            Err(_) => {
                tally.failed += 1;
                Ending::Dropped { dirty: false }
            }
        };
        let commit = Commit { intent: Some(intent.id), op, ending };
        self.store.commit(&self.run.id, &[commit], self.run.now()).await?;
        Ok(result.is_ok())
    }

    /// Local bookkeeping: nothing leaves the machine.
    async fn note(&self, ops: &[&Op], tally: &mut Tally) -> Result<(), ServiceError> {
        for batch in ops.chunks(LOCAL_BATCH) {
            self.run.check_cancelled()?;
            let commits: Vec<_> = batch.iter().map(|op| local_commit(op)).collect();
            self.store.commit(&self.run.id, &commits, self.run.now()).await?;
            for op in batch {
                if matches!(op.kind, OpKind::Link { .. }) {
                    tally.linked += 1;
                } else {
                    tally.noted += 1;
                }
                if lives_anew(op) {
                    tally.touched.insert((op.entity.clone(), subject(op)));
                }
            }
            self.run.progress.advance(batch.len() as u64);
        }
        Ok(())
    }

    async fn write(
        &self,
        entity: &Entity,
        kind: Kind,
        side: Side,
        ops: &[&Op],
        tally: &mut Tally,
    ) -> Result<(), ServiceError> {
        let capabilities = self.run.route.connectors[side].capabilities(&entity.modules[side]);
        let conditional = self.is_conditional(entity, &capabilities, ops.len());
        for batch in ops.chunks(batch_size(kind, &capabilities)) {
            self.run.check_cancelled()?;
            if tally.paused[side].is_some() {
                tally.skipped += batch.len() as u64;
                continue;
            }
            let result = self.write_batch(entity, kind, side, batch, conditional, tally).await;
            match result {
                Err(ServiceError::Connector(error)) if ServiceError::is_side_down(&error.kind) => {
                    pause(tally, side, &error);
                }
                other => other?,
            }
            self.run.progress.advance(batch.len() as u64);
        }
        Ok(())
    }

    /// Re-read, arm, send, commit, read back: semantics §10.1.
    async fn write_batch(
        &self,
        entity: &Entity,
        kind: Kind,
        side: Side,
        ops: &[&Op],
        conditional: bool,
        tally: &mut Tally,
    ) -> Result<(), ServiceError> {
        let read_at = self.run.now();
        let ready = match kind {
            Kind::Create => self.prepare_creates(entity, side, ops),
            Kind::Update => self.prepare_changes(entity, side, ops, tally).await?,
            Kind::Delete | Kind::Archive => {
                let ops = self.with_cause(entity, side, ops, tally).await?;
                self.prepare_changes(entity, side, &ops, tally).await?
            }
        };
        if ready.is_empty() {
            return Ok(());
        }
        if self.run.settings.safety.arms_intents {
            let intents: Vec<_> = ready.iter().map(|ready| ready.intent.clone()).collect();
            self.store.arm(&intents).await?;
        }
        let results = self.send(entity, kind, side, &ready, conditional).await;
        let window = (self.run.now() - read_at).num_milliseconds();
        let commits = self.endings(entity, side, &ready, &results);
        self.store.commit(&self.run.id, &commits, self.run.now()).await?;
        count(kind, side, &ready, &results, tally);
        self.remember_doubts(&ready, &results);
        if !conditional && kind == Kind::Update {
            tally.unguarded += ready.len() as u64;
            tally.longest_window_ms = tally.longest_window_ms.max(window);
        }
        self.read_back(entity, side, &ready, &results).await?;
        match results
            .into_iter()
            .find_map(|result| result.err().filter(|error| ServiceError::is_side_down(&error.kind)))
        {
            Some(error) => Err(error.into()),
            None => Ok(()),
        }
    }

    fn prepare_creates<'p>(&self, entity: &Entity, side: Side, ops: &[&'p Op]) -> Vec<Ready<'p>> {
        let ready = ops.iter().filter_map(|op| {
            let OpKind::Create { source, fields, .. } = &op.kind else { return None };
            let values = self.resolve(fields.clone());
            let mut remote = denormalize(entity, side, &values);
            let external = entity.matching.external_id.as_ref().and_then(|pair| pair[side].clone());
            let external = external.filter(|_| self.run.settings.safety.sends_external_ids);
            remote.extend(external.map(|field| (field, Value::text(source.as_str()))));
            Some(Ready {
                op,
                intent: self.intent(op, side, &entity.modules[side]),
                current: None,
                values,
                remote,
            })
        });
        ready.collect()
    }

    /// Leaves out deletions whose cause is gone: a record that a person brought back since we saw it deleted keeps its
    /// counterpart. Not every side stamps what comes back, so no listing need have told.
    async fn with_cause<'p>(
        &self,
        entity: &Entity,
        side: Side,
        ops: &[&'p Op],
        tally: &mut Tally,
    ) -> Result<Vec<&'p Op>, ServiceError> {
        let other = side.other();
        let mut causes: BTreeMap<&LinkId, RecordId> = BTreeMap::new();
        for op in ops {
            let link = self.store.link(&op.link).await?;
            causes.extend(link.and_then(|link| link.ends[other].clone()).map(|id| (&op.link, id)));
        }
        let ids: BTreeSet<_> = causes.values().cloned().collect();
        let known = self.store.presence(&entity.name, other, &ids).await?;
        let gone = known.into_iter().filter(|(_, (presence, _))| *presence == Presence::Deleted);
        let gone: Vec<_> = gone.map(|(id, _)| id).collect();
        if gone.is_empty() {
            return Ok(ops.to_vec());
        }
        let (module, fields) = (&entity.modules[other], entity.remote_fields(other));
        let page = self.run.route.connectors[other].fetch(module, &gone, &fields).await?;
        let back: BTreeSet<_> = page.records.into_iter().map(|record| record.id).collect();
        if back.is_empty() {
            return Ok(ops.to_vec());
        }
        let hints: Vec<_> = back.iter().map(|id| (id.clone(), "brought-back".to_owned())).collect();
        self.store.mark_dirty(&entity.name, other, &hints, self.run.now()).await?;
        let (lasting, over): (Vec<_>, Vec<_>) = ops
            .iter()
            .copied()
            .partition(|op| causes.get(&op.link).is_none_or(|id| !back.contains(id)));
        tally.stale += over.len() as u64;
        Ok(lasting)
    }

    /// Reads all targets again; ops whose target moved on are dropped and marked dirty (`STALE_PLAN`).
    async fn prepare_changes<'p>(
        &self,
        entity: &Entity,
        side: Side,
        ops: &[&'p Op],
        tally: &mut Tally,
    ) -> Result<Vec<Ready<'p>>, ServiceError> {
        let ids: Vec<_> = ops.iter().filter_map(|op| target(op)).cloned().collect();
        let fields = entity.remote_fields(side);
        let page =
            self.run.route.connectors[side].fetch(&entity.modules[side], &ids, &fields).await?;
        let mut current: BTreeMap<_, _> =
            page.records.into_iter().map(|record| (record.id.clone(), record)).collect();
        let (mut ready, mut moved) = (Vec::new(), Vec::new());
        for op in ops {
            let Some(id) = target(op) else { continue };
            match current.remove(id) {
                Some(record)
                    if !self.run.settings.safety.rereads_targets
                        || !record.archived && still_as_planned(entity, side, op, &record) =>
                {
                    ready.push(self.ready_change(entity, side, op, record));
                }
                Some(_) | None => moved.push((id.clone(), "stale-plan".to_owned())),
            }
        }
        if !moved.is_empty() {
            tally.stale += moved.len() as u64;
            self.store.mark_dirty(&entity.name, side, &moved, self.run.now()).await?;
        }
        Ok(ready)
    }

    fn ready_change<'p>(
        &self,
        entity: &Entity,
        side: Side,
        op: &'p Op,
        record: RemoteRecord,
    ) -> Ready<'p> {
        let (values, remote) = match &op.kind {
            OpKind::Update { changes, .. } => {
                let after = changes
                    .iter()
                    .map(|(field, change)| (field.clone(), change.after.clone()))
                    .collect();
                let values = self.resolve(after);
                let remote = denormalize(entity, side, &values);
                (values, remote)
            }
            OpKind::Archive { .. } => (BTreeMap::new(), entity.deletes.archive_marks[side].clone()),
            OpKind::Delete { .. }
            | OpKind::Create { .. }
            | OpKind::Link { .. }
            | OpKind::Agree { .. }
            | OpKind::Relate { .. }
            | OpKind::Revive { .. } => (BTreeMap::new(), BTreeMap::new()),
        };
        let mut intent = self.intent(op, side, &entity.modules[side]);
        intent.before = normalize(entity, side, &record, None).fields;
        Ready { op, intent, current: Some(record), values, remote }
    }

    fn intent(&self, op: &Op, side: Side, module: &ModuleName) -> Intent {
        Intent {
            id: self.run.ambient.ids.next(),
            run: self.run.id.clone(),
            op: op.clone(),
            side,
            module: module.clone(),
            armed_at: self.run.now(),
            before: BTreeMap::new(),
            state: IntentState::Armed,
        }
    }

    /// Puts the IDs of records created in this run where the plan says "the counterpart of that link".
    /// A link whose create failed is left out: a later pass writes it.
    fn resolve(&self, fields: BTreeMap<FieldName, Value>) -> BTreeMap<FieldName, Value> {
        let created = self.created.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let resolved = fields.into_iter().filter_map(|(field, value)| match value {
            Value::Link(link) => created.get(&link).map(|id| (field, Value::Reference(id.clone()))),
            value @ (Value::Empty
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Text(_)
            | Value::Date(_)
            | Value::Timestamp(_)
            | Value::Set(_)
            | Value::List(_)
            | Value::Reference(_)) => Some((field, value)),
        });
        resolved.collect()
    }

    async fn send(
        &self,
        entity: &Entity,
        kind: Kind,
        side: Side,
        ready: &[Ready<'_>],
        conditional: bool,
    ) -> Vec<RowResult> {
        let connector = self.run.route.connectors[side].as_ref();
        let module = &entity.modules[side];
        let capabilities = connector.capabilities(module);
        let rows_per_call = match kind {
            Kind::Create => capabilities.create_batch,
            Kind::Update | Kind::Archive if conditional => 1,
            Kind::Update | Kind::Archive => capabilities.update_batch,
            Kind::Delete => capabilities.delete_batch,
        };
        let calls = ready.chunks(rows_per_call.max(1)).map(|rows| async move {
            match kind {
                Kind::Create => {
                    let rows: Vec<_> = rows.iter().map(|row| row.remote.clone()).collect();
                    connector.create(module, &rows).await
                }
                Kind::Update | Kind::Archive => {
                    let rows: Vec<_> =
                        rows.iter().filter_map(|row| update_row(row, conditional)).collect();
                    connector.update(module, &rows).await
                }
                Kind::Delete => {
                    let ids: Vec<_> =
                        rows.iter().filter_map(|row| target(row.op)).cloned().collect();
                    connector.delete(module, &ids).await
                }
            }
        });
        let answers: Vec<Vec<RowResult>> =
            stream::iter(calls).buffered(capabilities.concurrency.max(1)).collect().await;
        answers.into_iter().flatten().collect()
    }

    fn endings(
        &self,
        entity: &Entity,
        side: Side,
        ready: &[Ready<'_>],
        results: &[RowResult],
    ) -> Vec<Commit> {
        let armed = self.run.settings.safety.arms_intents;
        let endings = ready.iter().zip(results).map(|(ready, result)| Commit {
            intent: armed.then(|| ready.intent.id.clone()),
            op: ready.op.clone(),
            ending: match result {
                Ok(written) => self.done(entity, side, ready, written),
                Err(error) => self.ending_of(entity, ready, error),
            },
        });
        endings.collect()
    }

    /// Both halves of the baseline: what was written, and the value it was made from.
    fn done(&self, entity: &Entity, side: Side, ready: &Ready<'_>, written: &Written) -> Ending {
        let observed = match (&written.stored, &ready.op.kind) {
            (_, OpKind::Delete { .. }) => None,
            (Some(stored), _) => Some(normalize(entity, side, stored, None)),
            (None, _) => Some(predicted(entity, side, ready, written)),
        };
        if let OpKind::Create { .. } = &ready.op.kind {
            let mut created =
                self.created.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            created.insert(ready.op.link.clone(), written.id.clone());
        }
        let stored =
            |field: &FieldName| observed.as_ref().and_then(|observed| observed.fields.get(field));
        let written_fields = ready.values.iter().filter_map(|(field, intended)| {
            if let Some(halfway) = halfway(ready.op, field) {
                return Some((
                    field.clone(),
                    (Pair::from_side(side, halfway.before.clone(), halfway.source.clone()), true),
                ));
            }
            let source = source_value(ready.op, field)?;
            let kept = stored(field).unwrap_or(intended);
            let pair = Pair::from_side(side, kept.clone(), source.clone());
            Some((field.clone(), (pair, kept != intended)))
        });
        let left_empty = left_empty(ready.op).into_iter().map(|(field, source)| {
            (field.clone(), (Pair::from_side(side, Value::Empty, source.clone()), false))
        });
        let baseline = written_fields.chain(left_empty).collect();
        let keys = observed.as_ref().map(|_| Vec::new()).unwrap_or_default();
        Ending::Done {
            id: Some(written.id.clone()),
            stamp: written.modified_at,
            baseline,
            observed: observed.map(|observation| Box::new(Observed { observation, keys })),
            before: ready.intent.before.clone(),
            after: ready.values.clone(),
        }
    }

    fn ending_of(&self, entity: &Entity, ready: &Ready<'_>, error: &ConnectorError) -> Ending {
        let refused = |code, field: Option<FieldName>, retry: TimeDelta| {
            let field = field.filter(|field| ready.values.contains_key(field));
            Ending::Refused {
                code,
                fingerprint: refused_payload(ready.op, ready.intent.side, field.as_ref()),
                field,
                message: error.kind.to_string(),
                retry_at: self.run.now() + retry,
            }
        };
        let later = self.run.settings.quarantine_retry;
        match &error.kind {
            ErrorKind::Duplicate { field, existing } => {
                match adopted(entity, ready, field, existing) {
                    Some(ending) => ending,
                    None => refused(
                        Code::UniqueClash,
                        canonical(entity, ready.intent.side, field),
                        later,
                    ),
                }
            }
            ErrorKind::Invalid { field, .. } => {
                refused(Code::Quarantined, canonical(entity, ready.intent.side, field), later)
            }
            ErrorKind::Locked(_) => refused(Code::Locked, None, TimeDelta::hours(1)),
            ErrorKind::Forbidden(_) => refused(Code::Forbidden, None, later),
            ErrorKind::UnknownName(_) => refused(Code::MetadataDrift, None, later),
            ErrorKind::Refused(_) | ErrorKind::Undecodable(_) => {
                refused(Code::Quarantined, None, later)
            }
            ErrorKind::ReplyLost(_) => Ending::InDoubt,
            ErrorKind::Gone | ErrorKind::Stale => Ending::Dropped { dirty: true },
            ErrorKind::RateLimited { .. }
            | ErrorKind::BudgetExhausted { .. }
            | ErrorKind::Unavailable(_)
            | ErrorKind::Unauthorized(_)
            | ErrorKind::ScopeMissing(_)
            | ErrorKind::PageExpired
            | ErrorKind::ScanLimit
            | ErrorKind::Misconfigured(_) => Ending::Dropped { dirty: false },
        }
    }

    /// Reads written records by id unless the answers carried them, and pins what the server rewrote (W1).
    async fn read_back(
        &self,
        entity: &Entity,
        side: Side,
        ready: &[Ready<'_>],
        results: &[RowResult],
    ) -> Result<(), ServiceError> {
        let reader = Observer::new(self.run, self.store, entity, side);
        let connector = self.run.route.connectors[side].as_ref();
        let done: Vec<_> = ready
            .iter()
            .zip(results)
            .filter_map(|(ready, result)| Some((ready, result.as_ref().ok()?)))
            .collect();
        let unread: Vec<_> = done
            .iter()
            .filter(|(ready, written)| {
                written.stored.is_none() && !matches!(ready.op.kind, OpKind::Delete { .. })
            })
            .map(|(_, written)| written.id.clone())
            .collect();
        let mut records: Vec<_> =
            done.iter().filter_map(|(_, written)| written.stored.clone()).collect();
        let fields = entity.remote_fields(side);
        let batch = connector.capabilities(&entity.modules[side]).fetch_batch.max(1);
        for ids in unread.chunks(batch) {
            // The writes are committed with what was sent: a failed read-back leaves nothing undone.
            let Ok(page) = connector.fetch(&entity.modules[side], ids, &fields).await else {
                continue;
            };
            records.extend(page.records);
        }
        let page = Page { records, received_at: self.run.now(), ..Page::default() };
        let observed = reader.observed(&page).await?;
        let rewrites = rewritten(side, &done, &observed);
        let commit = PageCommit {
            entity: &entity.name,
            side,
            module: &entity.modules[side],
            observed,
            dirty: Vec::new(),
            clean: page.records.iter().map(|record| record.id.clone()).collect(),
            cursor: None,
            authoritative: true,
            epoch: None,
            now: self.run.now(),
        };
        self.store.commit_page(commit).await?;
        self.pin_rewrites(entity, side, rewrites).await
    }

    /// `SERVER_REWRITE`: baseline := (source, read-back), pinned, reported, neither retried nor sent back.
    async fn pin_rewrites(
        &self,
        entity: &Entity,
        side: Side,
        rewrites: Vec<Rewrite>,
    ) -> Result<(), ServiceError> {
        if rewrites.is_empty() {
            return Ok(());
        }
        let (mut commits, mut rows) = (Vec::new(), Vec::new());
        for rewrite in rewrites {
            let kind = OpKind::Agree { fields: rewrite.fields.clone(), pinned: true };
            let op = Op {
                entity: entity.name.clone(),
                link: rewrite.link.clone(),
                code: Code::ServerRewrite,
                kind,
                later: Vec::new(),
            };
            commits.push(local_commit(&op));
            rows.extend(
                rewrite
                    .fields
                    .iter()
                    .map(|(field, pair)| rewrite_row(entity, side, &rewrite, field, pair)),
            );
        }
        self.store.commit(&self.run.id, &commits, self.run.now()).await?;
        self.store.settle(&entity.name, &[], &rows, &[], &self.run.id, self.run.now()).await?;
        Ok(())
    }

    /// Semantics §10.2: conditional writes while a run updates few records of an entity and side.
    fn is_conditional(&self, entity: &Entity, capabilities: &Capabilities, updates: usize) -> bool {
        capabilities.conditional_update
            && match entity.write_mode {
                WriteMode::Conditional => true,
                WriteMode::Batch => false,
                WriteMode::Auto => updates <= self.run.settings.conditional_up_to,
            }
    }
}

/// Adds what became of a batch.
fn count(kind: Kind, side: Side, ready: &[Ready<'_>], results: &[RowResult], tally: &mut Tally) {
    for (ready, result) in ready.iter().zip(results) {
        match result {
            Ok(_) => {
                let counter = match kind {
                    Kind::Create => &mut tally.created,
                    Kind::Update => &mut tally.updated,
                    Kind::Delete | Kind::Archive => &mut tally.deleted,
                };
                counter[side] += 1;
                tally
                    .touched
                    .insert((ready.op.entity.clone(), SubjectKey::Link(ready.op.link.clone())));
            }
            Err(error) => match error.recovery() {
                Recovery::Reread => tally.in_doubt += 1,
                Recovery::Replan => tally.stale += 1,
                Recovery::Quarantine | Recovery::Redescribe => {
                    tally.failed += 1;
                    // Without the refused field the rest of the record flows, in this run still.
                    tally.touched.insert((ready.op.entity.clone(), subject(ready.op)));
                }
                Recovery::Wait(_)
                | Recovery::Pause
                | Recovery::Backoff
                | Recovery::Reauthorize
                | Recovery::RestartScan
                | Recovery::Stop => tally.skipped += 1,
            },
        }
    }
}

/// A written record that reads back differently.
struct Rewrite {
    link: LinkId,
    record: RecordId,
    fields: BTreeMap<FieldName, Pair<Value>>,
}

fn rewritten(side: Side, done: &[(&Ready<'_>, &Written)], observed: &[Observed]) -> Vec<Rewrite> {
    let by_id: BTreeMap<_, _> =
        observed.iter().map(|seen| (&seen.observation.key.id, &seen.observation)).collect();
    let mut rewrites = Vec::new();
    for (ready, written) in done {
        let Some(now) = by_id.get(&written.id) else { continue };
        let fields: BTreeMap<_, _> = ready
            .values
            .iter()
            .filter_map(|(field, intended)| {
                let kept = now.fields.get(field).filter(|kept| *kept != intended)?;
                let source = source_value(ready.op, field)?;
                Some((field.clone(), Pair::from_side(side, kept.clone(), source.clone())))
            })
            .collect();
        if !fields.is_empty() {
            rewrites.push(Rewrite {
                link: ready.op.link.clone(),
                record: written.id.clone(),
                fields,
            });
        }
    }
    rewrites
}

fn rewrite_row(
    entity: &Entity,
    side: Side,
    rewrite: &Rewrite,
    field: &FieldName,
    pair: &Pair<Value>,
) -> OpenRow {
    let identity = format!("{}|{}|{field}|{}", entity.name, rewrite.link, Code::ServerRewrite);
    let shown = serde_json::to_vec(pair).expect("values always serialize");
    OpenRow {
        id: RowId(blake3::hash(identity.as_bytes()).to_hex()[..16].to_owned()),
        kind: RowKind::Conflict,
        code: Code::ServerRewrite,
        entity: entity.name.clone(),
        link: Some(rewrite.link.clone()),
        records: Pair::from_side(side, Some(rewrite.record.clone()), None),
        field: Some(field.clone()),
        base: None,
        left: Some(pair.left.clone()),
        right: Some(pair.right.clone()),
        modified_at: Pair::default(),
        winner: Some(side),
        policy: None,
        evidence: None,
        message: format!(
            "the {side} side stored another value than was sent; the difference is accepted until a side changes"
        ),
        fingerprint: blake3::hash(&shown).to_hex()[..16].to_owned(),
        candidates: Vec::new(),
    }
}

/// What the written record is known to hold before it is read back: the re-read values and what was sent.
fn predicted(entity: &Entity, side: Side, ready: &Ready<'_>, written: &Written) -> Observation {
    let mut record = ready.current.clone().unwrap_or_else(|| RemoteRecord {
        id: written.id.clone(),
        modified_at: None,
        fields: entity.remote_fields(side).into_iter().map(|field| (field, Value::Empty)).collect(),
        archived: false,
        raw: None,
    });
    record.id = written.id.clone();
    record.modified_at = written.modified_at.or(record.modified_at);
    record.fields.extend(ready.remote.clone());
    let mut observation = normalize(entity, side, &record, None);
    observation.fields.extend(ready.values.clone());
    observation
}

/// The clash is on our external-ID field: that record is the one we were about to make.
fn adopted(entity: &Entity, ready: &Ready<'_>, field: &str, existing: &RecordId) -> Option<Ending> {
    let external = entity.matching.external_id.as_ref()?[ready.intent.side].as_ref()?;
    let is_create = matches!(ready.op.kind, OpKind::Create { .. });
    let side = ready.intent.side;
    (is_create && external.as_str() == field).then(|| Ending::Done {
        id: Some(existing.clone()),
        stamp: None,
        baseline: ready
            .values
            .iter()
            .filter_map(|(name, value)| {
                let source = source_value(ready.op, name)?;
                Some((name.clone(), (Pair::from_side(side, value.clone(), source.clone()), false)))
            })
            .collect(),
        observed: None,
        before: BTreeMap::new(),
        after: ready.values.clone(),
    })
}

fn local_commit(op: &Op) -> Commit {
    let baseline = match &op.kind {
        OpKind::Link { agreed, .. } => {
            agreed.iter().map(|(field, pair)| (field.clone(), (pair.clone(), false))).collect()
        }
        OpKind::Agree { fields, pinned } => {
            fields.iter().map(|(field, pair)| (field.clone(), (pair.clone(), *pinned))).collect()
        }
        OpKind::Relate { .. }
        | OpKind::Revive { .. }
        | OpKind::Create { .. }
        | OpKind::Update { .. }
        | OpKind::Delete { .. }
        | OpKind::Archive { .. } => BTreeMap::new(),
    };
    let ending = Ending::Done {
        id: None,
        stamp: None,
        baseline,
        observed: None,
        before: BTreeMap::new(),
        after: BTreeMap::new(),
    };
    Commit { intent: None, op: op.clone(), ending }
}

/// Whether a pair that could not be merged in this plan can be merged from now on.
const fn lives_anew(op: &Op) -> bool {
    match &op.kind {
        OpKind::Revive { .. } => true,
        OpKind::Relate { state, .. } => matches!(state, LinkState::Live),
        OpKind::Link { .. }
        | OpKind::Create { .. }
        | OpKind::Update { .. }
        | OpKind::Delete { .. }
        | OpKind::Archive { .. }
        | OpKind::Agree { .. } => false,
    }
}

/// What an op is about: its link, or the record that still has none.
fn subject(op: &Op) -> SubjectKey {
    match &op.kind {
        OpKind::Create { side, source, .. } => SubjectKey::Record(RecordKey {
            entity: op.entity.clone(),
            side: side.other(),
            id: source.clone(),
        }),
        OpKind::Update { .. }
        | OpKind::Link { .. }
        | OpKind::Delete { .. }
        | OpKind::Archive { .. }
        | OpKind::Agree { .. }
        | OpKind::Relate { .. }
        | OpKind::Revive { .. } => SubjectKey::Link(op.link.clone()),
    }
}

/// The other side's value that a written value was made from.
fn source_value<'o>(op: &'o Op, field: &FieldName) -> Option<&'o Value> {
    match &op.kind {
        OpKind::Create { from, .. } => from.get(field),
        OpKind::Update { changes, .. } => changes.get(field).map(|change: &Change| &change.source),
        OpKind::Link { .. }
        | OpKind::Delete { .. }
        | OpKind::Archive { .. }
        | OpKind::Agree { .. }
        | OpKind::Relate { .. }
        | OpKind::Revive { .. } => None,
    }
}

/// The first of two writes of a merged value: see [`Change::halfway`].
fn halfway<'o>(op: &'o Op, field: &FieldName) -> Option<&'o Change> {
    match &op.kind {
        OpKind::Update { changes, .. } => changes.get(field).filter(|change| change.halfway),
        OpKind::Create { .. }
        | OpKind::Link { .. }
        | OpKind::Delete { .. }
        | OpKind::Archive { .. }
        | OpKind::Agree { .. }
        | OpKind::Relate { .. }
        | OpKind::Revive { .. } => None,
    }
}

/// Fields that a create leaves unset because their source is empty: agreed as empty on both sides.
fn left_empty(op: &Op) -> Vec<(&FieldName, &Value)> {
    match &op.kind {
        OpKind::Create { fields, from, .. } => {
            from.iter().filter(|(field, _)| !fields.contains_key(*field)).collect()
        }
        OpKind::Update { .. }
        | OpKind::Link { .. }
        | OpKind::Delete { .. }
        | OpKind::Archive { .. }
        | OpKind::Agree { .. }
        | OpKind::Relate { .. }
        | OpKind::Revive { .. } => Vec::new(),
    }
}

/// Fingerprint of a refused payload, as the planner will compute it again.
pub(super) fn refused_payload(op: &Op, side: Side, field: Option<&FieldName>) -> String {
    let values: BTreeMap<FieldName, Value> = match &op.kind {
        OpKind::Create { fields, .. } => fields.clone(),
        OpKind::Update { changes, .. } => {
            changes.iter().map(|(name, change)| (name.clone(), change.after.clone())).collect()
        }
        OpKind::Link { .. }
        | OpKind::Delete { .. }
        | OpKind::Archive { .. }
        | OpKind::Agree { .. }
        | OpKind::Relate { .. }
        | OpKind::Revive { .. } => BTreeMap::new(),
    };
    let one =
        field.and_then(|field| Some(BTreeMap::from([(field.clone(), values.get(field)?.clone())])));
    payload_fingerprint(side, one.as_ref().unwrap_or(&values))
}

/// Whether the target still holds what the plan was made on.
fn still_as_planned(entity: &Entity, side: Side, op: &Op, record: &RemoteRecord) -> bool {
    let now = normalize(entity, side, record, None).fields;
    match &op.kind {
        OpKind::Update { changes, .. } => {
            changes.iter().all(|(field, change)| now.get(field) == Some(&change.before))
        }
        OpKind::Delete { expected, .. } | OpKind::Archive { expected, .. } => {
            expected.iter().all(|(field, value)| now.get(field) == Some(value))
        }
        OpKind::Link { .. }
        | OpKind::Create { .. }
        | OpKind::Agree { .. }
        | OpKind::Relate { .. }
        | OpKind::Revive { .. } => true,
    }
}

fn update_row(ready: &Ready<'_>, conditional: bool) -> Option<UpdateRow> {
    let current = ready.current.clone()?;
    Some(UpdateRow {
        id: current.id.clone(),
        fields: ready.remote.clone(),
        unmodified_since: current.modified_at.filter(|_| conditional),
        current,
    })
}

const fn target(op: &Op) -> Option<&RecordId> {
    match &op.kind {
        OpKind::Update { id, .. } | OpKind::Delete { id, .. } | OpKind::Archive { id, .. } => {
            Some(id)
        }
        OpKind::Link { .. }
        | OpKind::Create { .. }
        | OpKind::Agree { .. }
        | OpKind::Relate { .. }
        | OpKind::Revive { .. } => None,
    }
}

fn canonical(entity: &Entity, side: Side, remote: &str) -> Option<FieldName> {
    let is_it = |field: &RemoteField| field.as_str() == remote || field.base() == remote;
    let rule = entity.fields.iter().find(|rule| rule.remote[side].as_ref().is_some_and(is_it));
    rule.map(|rule| rule.name.clone())
}

fn pause(tally: &mut Tally, side: Side, error: &ConnectorError) {
    let exit =
        if error.recovery() == Recovery::Pause { Exit::Budget } else { Exit::SideUnavailable };
    tally.paused[side] = Some(error.to_string());
    tally.paused_as[side] = Some(exit);
}

/// As many ops as one re-read covers, and no fewer than one call writes. A side that writes record by record gets
/// them in hundreds all the same: each batch is two transactions of the store.
fn batch_size(kind: Kind, capabilities: &Capabilities) -> usize {
    let per_call = match kind {
        Kind::Create => capabilities.create_batch.max(BATCH),
        Kind::Update | Kind::Archive => capabilities.fetch_batch,
        Kind::Delete => capabilities.delete_batch.min(capabilities.fetch_batch),
    };
    per_call.max(1)
}

/// Writes of one kind and entity are independent of each other: those to the same side go together, so that calls
/// carry as many rows as they may.
fn groups(ops: &[Op]) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for op in ops {
        let target = op.writes().zip(kind(op)).map(|(side, kind)| (kind, side));
        let stage = |group: &&mut Group<'_>| {
            *group.entity == op.entity && group.target.map(|of| of.0) == target.map(|of| of.0)
        };
        let known = groups.iter_mut().rev().take_while(stage).find(|group| group.target == target);
        match known {
            Some(group) => group.ops.push(op),
            None => groups.push(Group { entity: &op.entity, target, ops: vec![op] }),
        }
    }
    groups
}

const fn kind(op: &Op) -> Option<Kind> {
    match &op.kind {
        OpKind::Create { .. } => Some(Kind::Create),
        OpKind::Update { .. } => Some(Kind::Update),
        OpKind::Delete { .. } => Some(Kind::Delete),
        OpKind::Archive { .. } => Some(Kind::Archive),
        OpKind::Link { .. }
        | OpKind::Agree { .. }
        | OpKind::Relate { .. }
        | OpKind::Revive { .. } => None,
    }
}
