//! Recovery: what became of writes whose answer or commit is missing. Semantics §10.3.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::TimeDelta;
use crmsync_core::model::plan::Change;
use crmsync_core::model::{Code, Entity, FieldName, OpKind, Pair, Presence, RecordId, Value};

use super::error::ServiceError;
use super::observe::Observer;
use super::run::RunContext;
use crate::connectors::Probe;
use crate::store::{Commit, Ending, Intent, Observed, RouteStore};

/// Settles every open intent older than `H`; younger ones stay frozen, or are waited for.
pub(super) async fn recover(run: &RunContext<'_>, store: &RouteStore) -> Result<(), ServiceError> {
    let open = store.open_intents().await?;
    if open.is_empty() {
        return Ok(());
    }
    run.progress.phase("settling interrupted writes", Some(open.len() as u64));
    if run.options.wait_for_settling {
        wait_until_ripe(run, &open).await?;
    }
    for intent in open.iter().filter(|intent| run.now() - intent.armed_at >= run.settings.settle) {
        run.check_cancelled()?;
        let Some(entity) = run.route.entities.iter().find(|entity| entity.name == intent.op.entity)
        else {
            continue;
        };
        let ending = settle(run, store, entity, intent).await?;
        let commit = Commit { intent: Some(intent.id.clone()), op: intent.op.clone(), ending };
        store.commit(&run.id, &[commit], run.now()).await?;
        run.progress.advance(1);
    }
    Ok(())
}

async fn wait_until_ripe(run: &RunContext<'_>, open: &[Intent]) -> Result<(), ServiceError> {
    let ripe_at = open.iter().map(|intent| intent.armed_at + run.settings.settle).max();
    let mut told = false;
    while let Some(left) = ripe_at.map(|at| at - run.now()).filter(|left| *left > TimeDelta::zero())
    {
        run.check_cancelled()?;
        if !told {
            told = true;
            run.progress.note(&format!(
                "{} write(s) of an interrupted run may still take effect: waiting {} s before reading them again",
                open.len(),
                left.num_seconds() + 1
            ));
        }
        let step = left.to_std().unwrap_or_default().min(Duration::from_secs(1));
        run.ambient.clock.sleep(step).await;
    }
    Ok(())
}

async fn settle(
    run: &RunContext<'_>,
    store: &RouteStore,
    entity: &Entity,
    intent: &Intent,
) -> Result<Ending, ServiceError> {
    match &intent.op.kind {
        OpKind::Create { source, fields, from, .. } => {
            settle_create(run, store, entity, intent, source, fields, from).await
        }
        OpKind::Update { id, changes, .. } => {
            settle_update(run, store, entity, intent, id, changes).await
        }
        OpKind::Archive { id, .. } => {
            settle_update(run, store, entity, intent, id, &BTreeMap::new()).await
        }
        OpKind::Delete { id, .. } => settle_delete(run, entity, intent, id).await,
        OpKind::Link { .. }
        | OpKind::Agree { .. }
        | OpKind::Relate { .. }
        | OpKind::Revive { .. } => Ok(Ending::Dropped { dirty: false }),
    }
}

/// Each field that holds the intended value was an agreement point: its baseline moves to it.
async fn settle_update(
    run: &RunContext<'_>,
    store: &RouteStore,
    entity: &Entity,
    intent: &Intent,
    id: &RecordId,
    changes: &BTreeMap<FieldName, Change>,
) -> Result<Ending, ServiceError> {
    let side = intent.side;
    let reader = Observer::new(run, store, entity, side);
    let fields = entity.remote_fields(side);
    let page =
        run.route.connectors[side].fetch(&intent.module, std::slice::from_ref(id), &fields).await?;
    let mut observed = reader.observed(&page).await?;
    let Some(now) = observed.pop() else { return unseen(run, store, entity, intent, id).await };
    let reached = changes.iter().filter_map(|(field, change)| {
        let kept = now.observation.fields.get(field).filter(|kept| **kept == change.after)?;
        Some((field.clone(), (Pair::from_side(side, kept.clone(), change.source.clone()), false)))
    });
    let baseline: BTreeMap<_, _> = reached.collect();
    let after: BTreeMap<_, _> =
        baseline.iter().map(|(field, (pair, _))| (field.clone(), pair[side].clone())).collect();
    let agrees = run.settings.safety.agrees_in_recovery;
    if agrees && !baseline.is_empty() {
        return Ok(done(Some(id.clone()), baseline, Some(now), intent.before.clone(), after));
    }
    let is_as_before = |(field, change): (&FieldName, &Change)| {
        now.observation.fields.get(field) == Some(&change.before)
    };
    if !agrees || changes.iter().all(is_as_before) {
        return Ok(Ending::Dropped { dirty: true });
    }
    // Somebody wrote over what may have been our write: nothing was agreed, but what it may have overwritten is kept.
    let before = intent.before.clone();
    let ending = done(Some(id.clone()), baseline, Some(now), before, after);
    let hint = (id.clone(), "written-over".to_owned());
    store.mark_dirty(&entity.name, side, &[hint], run.now()).await?;
    Ok(without_stamp(ending))
}

/// The record cannot be read. Unless it is gone, its write stays in doubt: to forget it would let our own value pass
/// for an edit once it can be read again.
async fn unseen(
    run: &RunContext<'_>,
    store: &RouteStore,
    entity: &Entity,
    intent: &Intent,
    id: &RecordId,
) -> Result<Ending, ServiceError> {
    let ids = BTreeSet::from([id.clone()]);
    let known = store.presence(&entity.name, intent.side, &ids).await?;
    // Gone, and with it the answer; what the write may have overwritten is kept.
    let (before, nothing) = (intent.before.clone(), BTreeMap::new());
    let gone = done(Some(id.clone()), BTreeMap::new(), None, before, nothing);
    if known.get(id).is_some_and(|(presence, _)| *presence == Presence::Deleted) {
        return Ok(gone);
    }
    let fields = entity.remote_fields(intent.side);
    let probe = run.route.connectors[intent.side].probe(&intent.module, id, &fields).await?;
    let hint = (id.clone(), "in-doubt".to_owned());
    store.mark_dirty(&entity.name, intent.side, &[hint], run.now()).await?;
    Ok(match probe {
        Probe::Deleted { .. } => gone,
        Probe::Present(_) | Probe::NotFound | Probe::Forbidden | Probe::Unknown(_) => {
            Ending::InDoubt
        }
    })
}

/// The record's time is somebody else's.
fn without_stamp(ending: Ending) -> Ending {
    match ending {
        Ending::Done { id, baseline, observed, before, after, .. } => {
            Ending::Done { id, stamp: None, baseline, observed, before, after }
        }
        other @ (Ending::InDoubt | Ending::Dropped { .. } | Ending::Refused { .. }) => other,
    }
}

async fn settle_delete(
    run: &RunContext<'_>,
    entity: &Entity,
    intent: &Intent,
    id: &RecordId,
) -> Result<Ending, ServiceError> {
    let fields = entity.remote_fields(intent.side);
    Ok(match run.route.connectors[intent.side].probe(&intent.module, id, &fields).await? {
        Probe::Deleted { .. } | Probe::NotFound => {
            done(Some(id.clone()), BTreeMap::new(), None, intent.before.clone(), BTreeMap::new())
        }
        Probe::Present(_) | Probe::Forbidden | Probe::Unknown(_) => Ending::Dropped { dirty: true },
    })
}

/// Looks for the created record in a scan that began after the settle horizon; never by search.
async fn settle_create(
    run: &RunContext<'_>,
    store: &RouteStore,
    entity: &Entity,
    intent: &Intent,
    source: &RecordId,
    fields: &BTreeMap<FieldName, Value>,
    from: &BTreeMap<FieldName, Value>,
) -> Result<Ending, ServiceError> {
    let side = intent.side;
    let has_external_id =
        entity.matching.external_id.as_ref().is_some_and(|pair| pair[side].is_some());
    if !has_external_id {
        return Ok(never_again(run, intent));
    }
    let since = intent.armed_at - TimeDelta::seconds(run.settings.overlap_seconds);
    Observer::new(run, store, entity, side).scan_since(since).await?;
    let holders = store.by_external_id(&entity.name, side, std::slice::from_ref(source)).await?;
    let mut ids: Vec<_> = holders.into_values().flatten().map(|holder| holder.id).collect();
    ids.sort();
    let Some(id) = ids.into_iter().next() else { return Ok(Ending::Dropped { dirty: false }) };
    let baseline = fields.iter().filter_map(|(field, value)| {
        let origin = from.get(field)?;
        let written = match value {
            Value::Link(_) => return None,
            Value::Empty
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Text(_)
            | Value::Date(_)
            | Value::Timestamp(_)
            | Value::Set(_)
            | Value::List(_)
            | Value::Reference(_) => value.clone(),
        };
        Some((field.clone(), (Pair::from_side(side, written, origin.clone()), false)))
    });
    Ok(done(Some(id), baseline.collect(), None, BTreeMap::new(), fields.clone()))
}

/// Without an external-ID field a lost create cannot be told from one that never was: a person decides.
fn never_again(run: &RunContext<'_>, intent: &Intent) -> Ending {
    Ending::Refused {
        code: Code::InDoubtCreate,
        field: None,
        message: "the answer to this create was lost and the side has no external-ID field to find it by; \
                  link the record by hand, or choose `create` to make it again"
            .into(),
        fingerprint: super::apply::refused_payload(&intent.op, intent.side, None),
        retry_at: run.now() + TimeDelta::days(36_500),
    }
}

fn done(
    id: Option<RecordId>,
    baseline: BTreeMap<FieldName, (Pair<Value>, bool)>,
    observed: Option<Observed>,
    before: BTreeMap<FieldName, Value>,
    after: BTreeMap<FieldName, Value>,
) -> Ending {
    let stamp = observed.as_ref().and_then(|seen| seen.observation.modified_at);
    Ending::Done { id, stamp, baseline, observed: observed.map(Box::new), before, after }
}
