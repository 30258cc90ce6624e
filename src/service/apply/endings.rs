//! What each row's answer means for the store.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use crmsync_core::engine::fields::payload_fingerprint;
use crmsync_core::engine::normalize::normalize;
use crmsync_core::model::{
    Code, Entity, FieldName, LinkState, Observation, Op, OpKind, Pair, RecordId, RemoteField,
    RemoteRecord, Side, Value,
};

use super::Applier;
use super::sending::Ready;
use crate::connectors::{ConnectorError, ErrorKind, RowResult, Written};
use crate::store::{Commit, Ending, Observed};

impl Applier<'_> {
    pub(super) fn endings(
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
            if let Some(halfway) = ready.op.halfway(field) {
                return Some((field.clone(), halfway.agreement(side, intended)));
            }
            let source = ready.op.source_value(field)?;
            let kept = stored(field).unwrap_or(intended);
            let pair = Pair::from_side(side, kept.clone(), source.clone());
            Some((field.clone(), (pair, kept != intended)))
        });
        let left_empty = ready.op.left_empty().map(|(field, source)| {
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
                let source = ready.op.source_value(name)?;
                Some((name.clone(), (Pair::from_side(side, value.clone(), source.clone()), false)))
            })
            .collect(),
        observed: None,
        before: BTreeMap::new(),
        after: ready.values.clone(),
    })
}

pub(super) fn local_commit(op: &Op) -> Commit {
    let ending = Ending::Done {
        id: None,
        stamp: None,
        baseline: BTreeMap::new(),
        observed: None,
        before: BTreeMap::new(),
        after: BTreeMap::new(),
    };
    Commit { intent: None, op: op.clone(), ending }
}

/// Whether a pair that could not be merged in this plan can be merged from now on.
pub(super) const fn lives_anew(op: &Op) -> bool {
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

/// Fingerprint of a refused payload, as the planner will compute it again.
pub(in crate::service) fn refused_payload(
    op: &Op,
    side: Side,
    field: Option<&FieldName>,
) -> String {
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

fn canonical(entity: &Entity, side: Side, remote: &str) -> Option<FieldName> {
    let is_it = |field: &RemoteField| field.as_str() == remote || field.base() == remote;
    let rule = entity.fields.iter().find(|rule| rule.remote[side].as_ref().is_some_and(is_it));
    rule.map(|rule| rule.name.clone())
}
