//! Applies a plan: intent, effect, commit. Safe to stop at any line, since the next run rereads every open intent.
//!
//! What lives here: the order of the steps of one batch, in `Applier::write_batch`. What each step is made of stands
//! in `stages` (which ops go together), `sending`, `endings`, `reading_back`, `tally`. What an op means is said by
//! `Op` itself.

mod endings;
mod reading_back;
mod sending;
mod stages;
mod tally;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use crmsync_core::model::mapping::WriteMode;
use crmsync_core::model::{Entity, LinkId, Op, OpKind, Plan, RecordId, Side};

pub(super) use self::endings::refused_payload;
use self::endings::{lives_anew, local_commit};
use self::sending::Ready;
use self::stages::{Group, Kind, groups};
pub use self::tally::Tally;
use self::tally::count;
use super::error::{Exit, ServiceError};
use super::observe::Observer;
use super::run::RunContext;
use crate::connectors::{Capabilities, ConnectorError, Recovery, RowResult};
use crate::store::{Commit, Ending, RouteStore};

/// Creates armed, sent and committed together.
const BATCH: usize = 100;
/// Local steps committed together.
const LOCAL_BATCH: usize = 500;
/// A write that took longer is worth an audit.
const SUSPECT_WINDOW_MS: i64 = 10_000;

/// Executes ops of one plan.
pub(super) struct Applier<'a> {
    run: &'a RunContext<'a>,
    store: &'a RouteStore,
    /// Records that this run created: what `Value::Link` stands for.
    created: Mutex<BTreeMap<LinkId, RecordId>>,
    /// Links with a write of this run in doubt: frozen on both sides, for the rest of the plan too.
    in_doubt: Mutex<BTreeSet<LinkId>>,
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
        for stage in groups(&plan.ops).chunk_by(Group::runs_beside) {
            let entities = &self.run.route.entities;
            let Some(entity) = entities.iter().find(|entity| entity.name == *stage[0].entity)
            else {
                continue;
            };
            // The two sides of a stage do not wait for each other; both end at a safe point before an error counts.
            let sides = stage.iter().map(|group| self.group(entity, group, tally.so_far()));
            for written in self.run.ambient.order.all(sides).await {
                tally.absorb(written?);
            }
        }
        Ok(tally)
    }

    async fn group(
        &self,
        entity: &Entity,
        group: &Group<'_>,
        mut tally: Tally,
    ) -> Result<Tally, ServiceError> {
        let ops = self.without_doubt(&group.ops, &mut tally);
        match group.target {
            None => self.note(&ops, &mut tally).await?,
            Some((kind, side)) => self.write(entity, kind, side, &ops, &mut tally).await?,
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
                    tally.touched.insert((op.entity.clone(), op.subject()));
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
        self.audit(entity, side, &ready, &results, window, tally).await?;
        match results
            .into_iter()
            .find_map(|result| result.err().filter(|error| ServiceError::is_side_down(&error.kind)))
        {
            Some(error) => Err(error.into()),
            None => Ok(()),
        }
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
