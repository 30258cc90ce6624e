//! What a person decides about a run afterwards: take it back, do it again, keep the present. Semantics §16.
//!
//! Undoing is a run like any other: its writes are armed, re-read and committed by the same applier. The route is
//! paused before the first of them, so that no later run repeats what is being taken back.

use std::collections::{BTreeMap, BTreeSet};

use crmsync_core::engine::guard::{GuardCounters, GuardInput, guard_ops};
use crmsync_core::engine::undo::{UndoAction, UndoPlan, UndoStep, plan_undo};
use crmsync_core::model::journal::JournalEntry;
use crmsync_core::model::row::{RowId, RowKind};
use crmsync_core::model::state::SubjectKey;
use crmsync_core::model::{
    Baseline, Code, Entity, EntityName, FieldName, Link, LinkId, LinkState, Observation, Op,
    OpKind, OpenRow, Pair, Plan, Presence, RecordId, RecordKey, Side, Value,
};

use super::apply::{Applier, Tally};
use super::error::ServiceError;
use super::observe::Observer;
use super::recover::recover;
use super::run::{RunContext, RunReport, approve, empty_plan, prepare, recorded};
use crate::store::{Effect, RouteMeta, RouteStore, RunRecord};

type Seen = BTreeMap<RecordKey, Observation>;

/// Takes a run back where nobody changed anything since, and pauses the route.
///
/// Nothing at all is taken back while a guard withholds part of it: a person approves the whole.
pub(super) async fn undo(
    run: &RunContext<'_>,
    store: &RouteStore,
    undone: &str,
) -> Result<RunReport, ServiceError> {
    let steps = async |record: &mut RunRecord| take_back(run, store, undone, record).await;
    recorded(run, store, "undo", steps).await
}

/// Ends the pause; the next run does again what was taken back.
pub(super) async fn redo(
    run: &RunContext<'_>,
    store: &RouteStore,
    undone: &str,
) -> Result<RunReport, ServiceError> {
    let steps = async |_: &mut RunRecord| {
        let meta = paused_by(run, store, undone).await?;
        let effects = store.effects(undone).await?;
        let mut ops = Vec::new();
        // Undone, their records may be linked as if they never had been.
        for effect in effects.iter().filter(|effect| effect.op.makes_link()) {
            let ended = store.link(&effect.op.link).await?;
            if ended.is_some_and(|link| link.state == LinkState::Closed) {
                ops.push(close(effect, Pair::default()));
            }
        }
        settle(run, store, meta, &effects, ops).await
    };
    recorded(run, store, "redo", steps).await
}

/// Ends the pause; the present values are pinned, so that no run changes them until a side does.
pub(super) async fn accept(
    run: &RunContext<'_>,
    store: &RouteStore,
    undone: &str,
) -> Result<RunReport, ServiceError> {
    let steps = async |_: &mut RunRecord| {
        let meta = paused_by(run, store, undone).await?;
        prepare(run, store, &meta).await?;
        recover(run, store).await?;
        let effects = store.effects(undone).await?;
        let links = links_of(store, &effects).await?;
        let ends = links.iter().flat_map(keys_of).collect();
        let seen = read_again(run, store, &ends).await?;
        let kept = links.iter().filter_map(|link| keep(run, link, &effects, &seen));
        settle(run, store, meta, &effects, kept.collect()).await
    };
    recorded(run, store, "accept", steps).await
}

async fn take_back(
    run: &RunContext<'_>,
    store: &RouteStore,
    undone: &str,
    record: &mut RunRecord,
) -> Result<(Plan, Tally), ServiceError> {
    let mut meta = store.meta().await?;
    let resumes = meta.paused.as_deref() == Some(undone);
    if let (Some(other), false) = (&meta.paused, resumes) {
        let (route, run) = (run.route.name.to_string(), other.clone());
        return Err(ServiceError::Paused { route, run });
    }
    if store.run(undone).await?.is_none() {
        return Err(ServiceError::Config(format!(
            "route `{}` has no run {undone}",
            run.route.name
        )));
    }
    prepare(run, store, &meta).await?;
    recover(run, store).await?;
    let effects = store.effects(undone).await?;
    let seen = read_again(run, store, &effects.iter().filter_map(written).collect()).await?;
    let entries: Vec<_> =
        effects.iter().filter_map(|effect| entry(effect, &seen, resumes)).collect();
    let mut undo = plan_undo(&entries, &seen, &can_restore(run, &effects));
    leave_unwritable(run, &mut undo);
    let guarded = guarded(run, store, &undo).await?;
    let (plan, _) = approve(run, store, guarded).await?;
    record.plan_hash = Some(plan.hash.clone());
    if plan.guards.iter().any(|guard| !guard.withheld.is_empty()) {
        return Ok((plan, Tally::default()));
    }
    meta.paused = Some(undone.to_owned());
    store.save_meta(&meta).await?;
    record.phase = "apply".into();
    store.save_run(record).await?;
    let tally =
        Undoing { run, store, effects: &effects, refused: Vec::new() }.carry_out(undo).await?;
    Ok((plan, tally))
}

/// Reads the named records by id, those known to be gone left out; answers what is known of all of them.
async fn read_again(
    run: &RunContext<'_>,
    store: &RouteStore,
    keys: &BTreeSet<RecordKey>,
) -> Result<Seen, ServiceError> {
    for entity in run.entities() {
        for side in Side::BOTH {
            let own = keys.iter().filter(|key| key.entity == entity.name && key.side == side);
            let ids: BTreeSet<_> = own.map(|key| key.id.clone()).collect();
            let known = store.presence(&entity.name, side, &ids).await?;
            let here = |id: &RecordId| {
                known.get(id).is_none_or(|(presence, _)| *presence != Presence::Deleted)
            };
            let hints: Vec<_> =
                ids.into_iter().filter(here).map(|id| (id, "undo".to_owned())).collect();
            if !hints.is_empty() {
                store.mark_dirty(&entity.name, side, &hints, run.now()).await?;
                Observer::new(run, store, entity, side).drain_dirty().await?;
            }
        }
    }
    let keys: Vec<_> = keys.iter().cloned().collect();
    let seen = store.observations(&keys).await?;
    Ok(seen.into_iter().map(|seen| (seen.key.clone(), seen)).collect())
}

/// The record that an effect wrote.
fn written(effect: &Effect) -> Option<RecordKey> {
    let (side, id) = (effect.op.writes()?, effect.record.clone()?);
    Some(RecordKey { entity: effect.op.entity.clone(), side, id })
}

/// The effect as the engine wants it; `None` for one that an interrupted undo took back already.
fn entry(effect: &Effect, seen: &Seen, resumes: bool) -> Option<JournalEntry> {
    let now = written(effect).and_then(|key| seen.get(&key));
    let is_gone = || now.is_some_and(|now| now.presence == Presence::Deleted);
    let op = match &effect.op.kind {
        OpKind::Create { .. } if resumes && is_gone() => return None,
        OpKind::Update { changes, .. } if resumes && holds(now, changes.keys(), &effect.before) => {
            OpKind::Agree { fields: BTreeMap::new(), pinned: false }
        }
        kind @ (OpKind::Link { .. }
        | OpKind::Create { .. }
        | OpKind::Update { .. }
        | OpKind::Delete { .. }
        | OpKind::Archive { .. }
        | OpKind::Agree { .. }
        | OpKind::Relate { .. }
        | OpKind::Revive { .. }) => kind.clone(),
    };
    Some(JournalEntry {
        seq: u64::try_from(effect.seq).unwrap_or(0),
        entity: effect.op.entity.clone(),
        link: effect.op.link.clone(),
        created: effect.record.clone().filter(|_| matches!(op, OpKind::Create { .. })),
        op,
        before: effect.before.clone(),
        after: effect.after.clone(),
        baseline_before: effect.baseline_before.clone(),
        link_before: effect.link_before.clone(),
    })
}

fn holds<'f>(
    now: Option<&Observation>,
    mut fields: impl Iterator<Item = &'f FieldName>,
    values: &BTreeMap<FieldName, Value>,
) -> bool {
    now.is_some_and(|now| fields.all(|field| now.fields.get(field) == values.get(field)))
}

/// Whether a side can bring back what the run deleted there.
fn can_restore(run: &RunContext<'_>, effects: &[Effect]) -> Pair<bool> {
    Pair::new(Side::Left, Side::Right).map(|side| {
        let deleted = effects.iter().filter(
            |effect| matches!(&effect.op.kind, OpKind::Delete { side: at, .. } if *at == side),
        );
        let restores = |entity: &Entity| {
            run.route.connectors[side].capabilities(&entity.modules[side]).restore
        };
        deleted.map(|effect| &effect.op.entity).all(|name| entity(run, name).is_some_and(restores))
    })
}

/// A record made anew gets the fields that its side accepts.
fn leave_unwritable(run: &RunContext<'_>, undo: &mut UndoPlan) {
    for step in &mut undo.steps {
        let UndoAction::Run(Op { kind: OpKind::Create { side, fields, .. }, .. }) =
            &mut step.action
        else {
            continue;
        };
        let Some(entity) = entity(run, &step.entity) else { continue };
        let accepts = |rule: &crmsync_core::model::FieldRule| {
            rule.remote[*side].is_some() && rule.writable[*side]
        };
        fields.retain(|name, _| entity.field(name).is_some_and(accepts));
    }
}

/// What would be done, for the report and for consent; deletes and creates count against the caps.
async fn guarded(
    run: &RunContext<'_>,
    store: &RouteStore,
    undo: &UndoPlan,
) -> Result<Plan, ServiceError> {
    let mut plan = empty_plan(run);
    plan.rows.clone_from(&undo.rows);
    let since = run.now() - chrono::TimeDelta::hours(24);
    for entity in &run.route.entities {
        let own = undo.steps.iter().filter(|step| step.entity == entity.name);
        let ops = own.filter_map(|step| match &step.action {
            UndoAction::Run(op) => Some(op.clone()),
            UndoAction::Restore { .. } | UndoAction::Baseline => None,
        });
        let (recent_deletes, recent_creates) = store.recent(&entity.name, since).await?;
        let live_links = store.live_links(&entity.name).await?;
        let input =
            GuardInput { live_links, recent_deletes, recent_creates, ..GuardInput::default() };
        let (counters, limits) = (GuardCounters::default(), &run.settings.guards);
        let guarded = guard_ops(entity, ops.collect(), &input, &counters, limits);
        plan.ops.extend(guarded.ops);
        plan.guards.extend(guarded.trips);
    }
    plan.hash = plan.compute_hash();
    Ok(plan)
}

/// Carries an undo out.
struct Undoing<'a> {
    run: &'a RunContext<'a>,
    store: &'a RouteStore,
    /// What is taken back.
    effects: &'a [Effect],
    /// Records that their side would not bring back.
    refused: Vec<OpenRow>,
}

impl Undoing<'_> {
    async fn carry_out(mut self, undo: UndoPlan) -> Result<Tally, ServiceError> {
        let mut tally = Tally::default();
        let (mut ops, mut links) = (Vec::new(), BTreeSet::new());
        for step in &undo.steps {
            match &step.action {
                UndoAction::Run(op) => {
                    if !links.insert(op.link.clone()) {
                        self.apply(std::mem::take(&mut ops), &mut tally).await?;
                        links = BTreeSet::from([op.link.clone()]);
                    }
                    ops.push(op.clone());
                }
                UndoAction::Restore { side, id } => {
                    self.apply(std::mem::take(&mut ops), &mut tally).await?;
                    links.clear();
                    self.restore(step, *side, id, &mut tally).await?;
                }
                UndoAction::Baseline => {}
            }
        }
        self.apply(ops, &mut tally).await?;
        self.return_baselines(&undo).await?;
        self.report(undo.rows).await?;
        Ok(tally)
    }

    async fn apply(&self, ops: Vec<Op>, tally: &mut Tally) -> Result<(), ServiceError> {
        if ops.is_empty() {
            return Ok(());
        }
        let plan = Plan { ops, ..empty_plan(self.run) };
        tally.absorb(Applier::new(self.run, self.store).apply(&plan).await?);
        Ok(())
    }

    /// Takes a record out of the recycle bin. It is dirty from before the call: whatever becomes of the answer, it
    /// will be read by id, and a record that is back revives its link.
    async fn restore(
        &mut self,
        step: &UndoStep,
        side: Side,
        id: &RecordId,
        tally: &mut Tally,
    ) -> Result<(), ServiceError> {
        let Some(entity) = entity(self.run, &step.entity) else { return Ok(()) };
        if tally.paused[side].is_some() {
            tally.skipped += 1;
            return Ok(());
        }
        let hint = (id.clone(), "undo".to_owned());
        self.store.mark_dirty(&entity.name, side, &[hint], self.run.now()).await?;
        let op = Op {
            entity: entity.name.clone(),
            link: step.link.clone(),
            code: Code::Undo,
            kind: revive(side, id),
            later: Vec::new(),
        };
        let restored =
            Applier::new(self.run, self.store).restore(entity, side, id, op, tally).await?;
        if !restored && tally.paused[side].is_none() {
            self.refused.push(not_restored(step, side, id));
        }
        Ok(())
    }

    /// Baselines return where the step took effect: of the fields that an update took back, else of the whole link.
    async fn return_baselines(&self, undo: &UndoPlan) -> Result<(), ServiceError> {
        let mut done: BTreeMap<LinkId, Vec<Op>> = BTreeMap::new();
        for effect in self.store.effects(&self.run.id).await? {
            done.entry(effect.op.link.clone()).or_default().push(effect.op);
        }
        let took_effect = |step: &&UndoStep| {
            let ops = done.get(&step.link);
            match &step.action {
                UndoAction::Run(op) => ops.is_some_and(|ops| ops.contains(op)),
                UndoAction::Restore { side, id } => {
                    let kind = revive(*side, id);
                    ops.is_some_and(|ops| ops.iter().any(|op| op.kind == kind))
                }
                UndoAction::Baseline => true,
            }
        };
        let mut baselines: BTreeMap<LinkId, Baseline> = BTreeMap::new();
        let kept = self.kept_fields(&undo.rows);
        for step in undo.steps.iter().filter(took_effect) {
            let Some(link) = self.store.link(&step.link).await? else { continue };
            let baseline = baselines.entry(link.id).or_insert(link.baseline);
            match &step.action {
                UndoAction::Run(Op { kind: OpKind::Update { changes, .. }, .. }) => {
                    for field in changes.keys() {
                        return_field(baseline, &step.baseline, field);
                    }
                }
                UndoAction::Baseline => {
                    for field in self.agreed_fields(&step.link) {
                        let is_kept = kept.get(&step.link).is_some_and(|all| all.contains(field));
                        if !is_kept {
                            return_field(baseline, &step.baseline, field);
                        }
                    }
                }
                UndoAction::Run(_) | UndoAction::Restore { .. } => {
                    baseline.clone_from(&step.baseline);
                }
            }
        }
        for (link, baseline) in &baselines {
            self.store.restore_baseline(link, baseline).await?;
        }
        Ok(())
    }

    /// Fields of updates that stay because somebody edited them since: so do their baselines.
    fn kept_fields(&self, rows: &[OpenRow]) -> BTreeMap<LinkId, BTreeSet<FieldName>> {
        let mut kept: BTreeMap<LinkId, BTreeSet<FieldName>> = BTreeMap::new();
        for effect in self.effects {
            let OpKind::Update { side, id, changes, .. } = &effect.op.kind else { continue };
            let stays = |row: &OpenRow| {
                row.link.as_ref() == Some(&effect.op.link)
                    && row.records[*side].as_ref() == Some(id)
            };
            if rows.iter().any(stays) {
                kept.entry(effect.op.link.clone()).or_default().extend(changes.keys().cloned());
            }
        }
        kept
    }

    /// Fields whose baseline alone the run moved.
    fn agreed_fields(&self, link: &LinkId) -> BTreeSet<&FieldName> {
        let own = self.effects.iter().filter(|effect| effect.op.link == *link);
        let fields = own.filter_map(|effect| match &effect.op.kind {
            OpKind::Agree { fields, .. } => Some(fields.keys()),
            OpKind::Link { .. }
            | OpKind::Create { .. }
            | OpKind::Update { .. }
            | OpKind::Delete { .. }
            | OpKind::Archive { .. }
            | OpKind::Relate { .. }
            | OpKind::Revive { .. } => None,
        });
        fields.flatten().collect()
    }

    async fn report(self, rows: Vec<OpenRow>) -> Result<(), ServiceError> {
        let rows: Vec<_> = rows.into_iter().chain(self.refused).collect();
        for entity in &self.run.route.entities {
            let own: Vec<_> =
                rows.iter().filter(|row| row.entity == entity.name).cloned().collect();
            self.store.settle(&entity.name, &[], &own, &[], &self.run.id, self.run.now()).await?;
        }
        Ok(())
    }
}

fn return_field(baseline: &mut Baseline, before: &Baseline, field: &FieldName) {
    match before.get(field) {
        Some(known) => drop(baseline.insert(field.clone(), known.clone())),
        None => drop(baseline.remove(field)),
    }
}

fn revive(side: Side, id: &RecordId) -> OpKind {
    OpKind::Revive { side, id: id.clone() }
}

fn not_restored(step: &UndoStep, side: Side, id: &RecordId) -> OpenRow {
    let shown = format!("{}|{}|{side}|{id}|{}", step.entity, step.link, Code::UndoConflict);
    let print = blake3::hash(shown.as_bytes()).to_hex()[..16].to_owned();
    OpenRow {
        id: RowId(print.clone()),
        kind: RowKind::Conflict,
        code: Code::UndoConflict,
        entity: step.entity.clone(),
        link: Some(step.link.clone()),
        records: Pair::from_side(side, Some(id.clone()), None),
        field: None,
        base: None,
        left: None,
        right: None,
        modified_at: Pair::default(),
        changed_at: Pair::default(),
        winner: None,
        policy: None,
        evidence: None,
        message: format!("the {side} side did not bring the deleted record back"),
        fingerprint: print,
        candidates: Vec::new(),
    }
}

/// What accepting does to one link of the undone run: §16.
fn keep(run: &RunContext<'_>, link: &Link, effects: &[Effect], seen: &Seen) -> Option<Op> {
    let effect = effects.iter().find(|effect| effect.op.link == link.id)?;
    if !link.is_live() {
        let made = effects.iter().filter(|effect| effect.op.link == link.id);
        let mut ends = made.filter_map(|effect| match &effect.op.kind {
            OpKind::Link { ends, .. } => Some(ends.clone().map(Some)),
            OpKind::Create { .. }
            | OpKind::Update { .. }
            | OpKind::Delete { .. }
            | OpKind::Archive { .. }
            | OpKind::Agree { .. }
            | OpKind::Relate { .. }
            | OpKind::Revive { .. } => None,
        });
        // Both stay apart: what has been in a link that ended is not linked by itself again.
        return ends.next_back().map(|ends| close(effect, ends));
    }
    let end = |side: Side| {
        let key = keys_of(link).into_iter().find(|key| key.side == side)?;
        seen.get(&key).filter(|seen| seen.presence == Presence::Alive)
    };
    let (Some(left), Some(right)) = (end(Side::Left), end(Side::Right)) else {
        return Some(close(effect, link.ends.clone()));
    };
    let rules = entity(run, &link.entity)?.fields.iter();
    let both = rules.filter_map(|rule| {
        let pair = Pair::new(left.fields.get(&rule.name)?, right.fields.get(&rule.name)?);
        Some((rule.name.clone(), pair.map(Value::clone)))
    });
    Some(op(effect, OpKind::Agree { fields: both.collect(), pinned: true }))
}

/// Ends the pause: the ops first, then the rows of the undo, which nobody needs any more.
async fn settle(
    run: &RunContext<'_>,
    store: &RouteStore,
    mut meta: RouteMeta,
    effects: &[Effect],
    ops: Vec<Op>,
) -> Result<(Plan, Tally), ServiceError> {
    let mut plan = Plan { ops, ..empty_plan(run) };
    plan.hash = plan.compute_hash();
    let tally = Applier::new(run, store).apply(&plan).await?;
    let mut links: BTreeMap<&EntityName, BTreeSet<&LinkId>> = BTreeMap::new();
    for effect in effects {
        links.entry(&effect.op.entity).or_default().insert(&effect.op.link);
    }
    for (entity, links) in links {
        let subjects: Vec<_> =
            links.into_iter().map(|link| SubjectKey::Link(link.clone())).collect();
        store.settle(entity, &[], &[], &subjects, &run.id, run.now()).await?;
        store.touch(entity, &subjects).await?;
    }
    meta.paused = None;
    store.save_meta(&meta).await?;
    Ok((plan, tally))
}

async fn paused_by(
    run: &RunContext<'_>,
    store: &RouteStore,
    undone: &str,
) -> Result<RouteMeta, ServiceError> {
    let meta = store.meta().await?;
    match &meta.paused {
        Some(paused) if paused == undone => Ok(meta),
        Some(paused) => {
            Err(ServiceError::Paused { route: run.route.name.to_string(), run: paused.clone() })
        }
        None => Err(ServiceError::Config(format!(
            "route `{}` is not paused; `runs undo` takes a run back",
            run.route.name
        ))),
    }
}

async fn links_of(store: &RouteStore, effects: &[Effect]) -> Result<Vec<Link>, ServiceError> {
    let ids: BTreeSet<_> = effects.iter().map(|effect| &effect.op.link).collect();
    let mut links = Vec::new();
    for id in ids {
        links.extend(store.link(id).await?);
    }
    Ok(links)
}

fn keys_of(link: &Link) -> Vec<RecordKey> {
    let key = |side: Side| {
        let id = link.ends[side].clone()?;
        Some(RecordKey { entity: link.entity.clone(), side, id })
    };
    Side::BOTH.into_iter().filter_map(key).collect()
}

fn close(effect: &Effect, ends: Pair<Option<RecordId>>) -> Op {
    let (state, tombstones) = (LinkState::Closed, Vec::new());
    op(effect, OpKind::Relate { state, ends, tombstones, keep_baseline: true })
}

fn op(effect: &Effect, kind: OpKind) -> Op {
    let (entity, link) = (effect.op.entity.clone(), effect.op.link.clone());
    Op { entity, link, code: Code::Undo, kind, later: Vec::new() }
}

fn entity<'r>(run: &RunContext<'r>, name: &EntityName) -> Option<&'r Entity> {
    run.route.entities.iter().find(|entity| entity.name == *name)
}
