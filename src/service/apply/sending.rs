//! From ops to calls: what is re-read, what is armed, what is sent.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use crmsync_core::engine::normalize::{denormalize, normalize};
use crmsync_core::model::{
    Entity, FieldName, LinkId, ModuleName, Op, OpKind, Presence, RecordId, RemoteField,
    RemoteRecord, Side, Value,
};
use futures_util::{StreamExt, stream};

use super::stages::Kind;
use super::{Applier, Tally};
use crate::connectors::{RowResult, UpdateRow};
use crate::service::error::ServiceError;
use crate::service::overwritten::Sent;
use crate::store::{Intent, IntentState};

/// An op that is ready to be sent.
pub(super) struct Ready<'p> {
    pub(super) op: &'p Op,
    pub(super) intent: Intent,
    pub(super) current: Option<RemoteRecord>,
    /// Values in canonical names, with links resolved to IDs.
    pub(super) values: BTreeMap<FieldName, Value>,
    pub(super) remote: BTreeMap<RemoteField, Value>,
}

impl Ready<'_> {
    /// Whether the record had been changed shortly before: somebody may be at work on it.
    pub(super) fn is_fresh(&self, within: TimeDelta) -> bool {
        let changed = self.current.as_ref().and_then(|current| current.modified_at);
        changed.is_some_and(|changed| self.intent.armed_at - changed < within)
    }

    /// The update as it was sent; nothing for other writes.
    pub(super) fn sent(&self) -> Option<Sent<'_>> {
        let OpKind::Update { id, changes, .. } = &self.op.kind else { return None };
        let source = changes.iter().map(|(field, change)| (field.clone(), change.source.clone()));
        Some(Sent {
            link: &self.op.link,
            record: id,
            before: &self.intent.before,
            after: &self.values,
            source: source.collect(),
        })
    }
}

impl Applier<'_> {
    pub(super) fn prepare_creates<'p>(
        &self,
        entity: &Entity,
        side: Side,
        ops: &[&'p Op],
    ) -> Vec<Ready<'p>> {
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
    pub(super) async fn with_cause<'p>(
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
    pub(super) async fn prepare_changes<'p>(
        &self,
        entity: &Entity,
        side: Side,
        ops: &[&'p Op],
        tally: &mut Tally,
    ) -> Result<Vec<Ready<'p>>, ServiceError> {
        let ids: Vec<_> = ops.iter().filter_map(|op| op.target()).cloned().collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let fields = entity.remote_fields(side);
        let page =
            self.run.route.connectors[side].fetch(&entity.modules[side], &ids, &fields).await?;
        let mut current: BTreeMap<_, _> =
            page.records.into_iter().map(|record| (record.id.clone(), record)).collect();
        let (mut ready, mut moved) = (Vec::new(), Vec::new());
        for op in ops {
            let Some(id) = op.target() else { continue };
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

    pub(super) fn intent(&self, op: &Op, side: Side, module: &ModuleName) -> Intent {
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

    pub(super) async fn send(
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
                        rows.iter().filter_map(|row| row.op.target()).cloned().collect();
                    connector.delete(module, &ids).await
                }
            }
        });
        let answers: Vec<Vec<RowResult>> =
            stream::iter(calls).buffered(capabilities.concurrency.max(1)).collect().await;
        answers.into_iter().flatten().collect()
    }
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
