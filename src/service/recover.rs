//! Recovery: what became of writes whose answer or commit is missing. Semantics §10.3.
//!
//! What lives here: which reads tell it, and their order. What they mean is said by `engine::recovery`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::TimeDelta;
use crmsync_core::engine::recovery::{Agreed, Outcome, created, judge_update};
use crmsync_core::model::plan::Change;
use crmsync_core::model::{
    Code, Entity, FieldName, Observation, OpKind, Presence, RecordId, RecordKey, Side, Value,
};

use super::error::ServiceError;
use super::observe::Observer;
use super::run::RunContext;
use crate::connectors::{Connector, ConnectorError, Probe};
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
    let is_ripe = |intent: &&Intent| run.now() - intent.armed_at >= run.settings.settle;
    let ripe: Vec<_> = open.iter().filter(is_ripe).collect();
    for entity in &run.route.entities {
        for side in Side::BOTH {
            let is_own = |intent: &&&Intent| intent.op.entity == entity.name && intent.side == side;
            let own: Vec<_> = ripe.iter().filter(is_own).copied().collect();
            Recovery::new(run, store, entity, side).settle(&own).await?;
        }
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

/// The lost writes to one side of one entity.
struct Recovery<'a> {
    run: &'a RunContext<'a>,
    store: &'a RouteStore,
    entity: &'a Entity,
    side: Side,
    connector: &'a dyn Connector,
    reader: Observer<'a>,
}

impl<'a> Recovery<'a> {
    fn new(run: &'a RunContext<'a>, store: &'a RouteStore, entity: &'a Entity, side: Side) -> Self {
        let connector = run.route.connectors[side].as_ref();
        let reader = Observer::new(run, store, entity, side);
        Self { run, store, entity, side, connector, reader }
    }

    /// One scan for all creates, one read by id for as many updates as it covers, one probe a deletion.
    ///
    /// # Errors
    /// A broken store, a side out of reach, or a person who asked to stop. What was settled before stays settled.
    async fn settle(&self, intents: &[&Intent]) -> Result<(), ServiceError> {
        let mut creates = Vec::new();
        let mut updates = Vec::new();
        for intent in intents {
            self.run.check_cancelled()?;
            match &intent.op.kind {
                OpKind::Create { source, fields, from, .. } => {
                    creates.push(Lost { intent, source, fields, from });
                }
                OpKind::Update { id, changes, .. } => updates.push((*intent, id, changes.clone())),
                OpKind::Archive { id, .. } => updates.push((*intent, id, BTreeMap::new())),
                OpKind::Delete { id, .. } => {
                    let ending = self.deletion(intent, id).await?;
                    self.end(vec![(*intent, ending)]).await?;
                }
                OpKind::Link { .. }
                | OpKind::Agree { .. }
                | OpKind::Relate { .. }
                | OpKind::Revive { .. } => {
                    self.end(vec![(*intent, Ending::Dropped { dirty: false })]).await?;
                }
            }
        }
        self.creates(&creates).await?;
        let batch = self.connector.capabilities(&self.entity.modules[self.side]).fetch_batch;
        for updates in updates.chunks(batch.max(1)) {
            self.run.check_cancelled()?;
            self.updates(updates).await?;
        }
        Ok(())
    }

    async fn end(&self, endings: Vec<(&Intent, Ending)>) -> Result<(), ServiceError> {
        let count = endings.len() as u64;
        let commit = |(intent, ending): (&Intent, Ending)| Commit {
            intent: Some(intent.id.clone()),
            op: intent.op.clone(),
            ending,
        };
        let commits: Vec<_> = endings.into_iter().map(commit).collect();
        self.store.commit(&self.run.id, &commits, self.run.now()).await?;
        self.run.progress.advance(count);
        Ok(())
    }

    /// A read that one record or one call refused leaves its writes in doubt; a side out of reach ends the run.
    fn tolerate<T>(&self, read: Result<T, ConnectorError>) -> Result<Option<T>, ServiceError> {
        match read {
            Ok(found) => Ok(Some(found)),
            Err(error) if ServiceError::is_side_down(&error.kind) => Err(error.into()),
            Err(error) => {
                tracing::warn!(side = %self.side, entity = %self.entity.name, %error, "writes stay in doubt");
                Ok(None)
            }
        }
    }

    /// Looks for created records in a scan that began after the settle horizon; never by search.
    async fn creates<'i>(&self, lost: &[Lost<'i>]) -> Result<(), ServiceError> {
        let Some(first) = lost.iter().map(|lost| lost.intent.armed_at).min() else { return Ok(()) };
        let external_id = self.entity.matching.external_id.as_ref();
        if external_id.is_none_or(|pair| pair[self.side].is_none()) {
            let ask = |lost: &Lost<'i>| (lost.intent, self.never_again(lost.intent));
            return self.end(lost.iter().map(ask).collect()).await;
        }
        let since = first - TimeDelta::seconds(self.run.settings.overlap_seconds);
        self.reader.scan_since(since).await?;
        let sources: Vec<_> = lost.iter().map(|lost| lost.source.clone()).collect();
        let holders = self.store.by_external_id(&self.entity.name, self.side, &sources).await?;
        // What cannot be seen may well have been made: without sight, not finding it proves nothing.
        let blind = sources.iter().any(|source| !holders.contains_key(source))
            && self.reader.canary_is_readable().await? == Some(false);
        let ending = |lost: &Lost<'i>| {
            let twins = holders.get(lost.source).into_iter().flatten();
            // Of several the lowest stays (semantics §6.4); the others are asked about.
            let Some(id) = twins.map(|holder| &holder.id).min() else {
                let nothing =
                    if blind { Ending::InDoubt } else { Ending::Dropped { dirty: false } };
                return (lost.intent, nothing);
            };
            let baseline = created(self.side, lost.fields, lost.from);
            let after = lost.fields.clone();
            (lost.intent, done(Some(id.clone()), baseline, None, BTreeMap::new(), after))
        };
        self.end(lost.iter().map(ending).collect()).await
    }

    /// Without an external-ID field a lost create cannot be told from one that never was: a person decides.
    fn never_again(&self, intent: &Intent) -> Ending {
        Ending::Refused {
            code: Code::InDoubtCreate,
            field: None,
            message: "the answer to this create was lost and the side has no external-ID field to find it by; \
                      link the record by hand, or choose `create` to make it again"
                .into(),
            fingerprint: super::apply::refused_payload(&intent.op, intent.side, None),
            retry_at: self.run.now() + TimeDelta::days(36_500),
        }
    }

    async fn updates(
        &self,
        updates: &[(&Intent, &RecordId, BTreeMap<FieldName, Change>)],
    ) -> Result<(), ServiceError> {
        let ids: Vec<_> = updates.iter().map(|(_, id, _)| (*id).clone()).collect();
        let fields = self.entity.remote_fields(self.side);
        let page = self.connector.fetch(&self.entity.modules[self.side], &ids, &fields).await;
        let Some(page) = self.tolerate(page)? else {
            let doubted = updates.iter().map(|(intent, ..)| (*intent, Ending::InDoubt));
            return self.end(doubted.collect()).await;
        };
        let known = self.last_seen(&ids).await?;
        let observed = self.reader.observed(&page).await?.into_iter();
        let mut found: BTreeMap<_, _> =
            observed.map(|seen| (seen.observation.key.id.clone(), seen)).collect();
        let mut endings = Vec::new();
        for (intent, id, changes) in updates {
            let ending = match found.remove(*id) {
                Some(now) => {
                    let before = replaced(&intent.before, changes, known.get(*id));
                    self.update(before, id, changes, now).await?
                }
                None => self.unseen(intent, id).await?,
            };
            endings.push((*intent, ending));
        }
        self.end(endings).await
    }

    async fn update(
        &self,
        before: BTreeMap<FieldName, Value>,
        id: &RecordId,
        changes: &BTreeMap<FieldName, Change>,
        now: Observed,
    ) -> Result<Ending, ServiceError> {
        if !self.run.settings.safety.agrees_in_recovery {
            return Ok(Ending::Dropped { dirty: true });
        }
        match judge_update(self.side, changes, &now.observation.fields) {
            Outcome::Happened(agreed) => {
                let written = agreed.keys().filter_map(|field| changes.get_key_value(field));
                let after = written.map(|(field, to)| (field.clone(), to.after.clone())).collect();
                Ok(done(Some(id.clone()), agreed, Some(now), before, after))
            }
            Outcome::Absent => Ok(Ending::Dropped { dirty: true }),
            Outcome::WrittenOver => {
                // Nothing was agreed, but what our write may have overwritten is kept.
                let ending =
                    done(Some(id.clone()), Agreed::new(), Some(now), before, BTreeMap::new());
                self.read_again(id, "written-over").await?;
                Ok(without_stamp(ending))
            }
        }
    }

    /// What these records were last seen to hold.
    async fn last_seen(
        &self,
        ids: &[RecordId],
    ) -> Result<BTreeMap<RecordId, Observation>, ServiceError> {
        let (entity, side) = (&self.entity.name, self.side);
        let key = |id: &RecordId| RecordKey { entity: entity.clone(), side, id: id.clone() };
        let keys: Vec<_> = ids.iter().map(key).collect();
        let seen = self.store.observations(&keys).await?;
        Ok(seen.into_iter().map(|seen| (seen.key.id.clone(), seen)).collect())
    }

    /// The record cannot be read. Unless it is gone, its write stays in doubt: to forget it would let our own value
    /// pass for an edit once it can be read again.
    async fn unseen(&self, intent: &Intent, id: &RecordId) -> Result<Ending, ServiceError> {
        let ids = BTreeSet::from([id.clone()]);
        let known = self.store.presence(&self.entity.name, self.side, &ids).await?;
        // Gone, and with it the answer; what the write may have overwritten is kept.
        let (before, nothing) = (intent.before.clone(), BTreeMap::new());
        let gone = done(Some(id.clone()), BTreeMap::new(), None, before, nothing);
        if known.get(id).is_some_and(|(presence, _)| *presence == Presence::Deleted) {
            return Ok(gone);
        }
        let probe = self.probe(id).await?;
        self.read_again(id, "in-doubt").await?;
        Ok(match probe {
            Some(Probe::Deleted { .. }) => gone,
            Some(Probe::Present(_) | Probe::NotFound | Probe::Forbidden | Probe::Unknown(_))
            | None => Ending::InDoubt,
        })
    }

    async fn deletion(&self, intent: &Intent, id: &RecordId) -> Result<Ending, ServiceError> {
        let before = intent.before.clone();
        Ok(match self.probe(id).await? {
            Some(Probe::Deleted { .. } | Probe::NotFound) => {
                done(Some(id.clone()), BTreeMap::new(), None, before, BTreeMap::new())
            }
            Some(Probe::Present(_) | Probe::Forbidden | Probe::Unknown(_)) => {
                Ending::Dropped { dirty: true }
            }
            None => Ending::InDoubt,
        })
    }

    async fn probe(&self, id: &RecordId) -> Result<Option<Probe>, ServiceError> {
        let fields = self.entity.remote_fields(self.side);
        let module = &self.entity.modules[self.side];
        self.tolerate(self.connector.probe(module, id, &fields).await)
    }

    async fn read_again(&self, id: &RecordId, why: &str) -> Result<(), ServiceError> {
        let hint = (id.clone(), why.to_owned());
        Ok(self.store.mark_dirty(&self.entity.name, self.side, &[hint], self.run.now()).await?)
    }
}

/// What a lost write may have replaced: an edit that was seen after it was sent, for it may have come late; else
/// what the record held before.
fn replaced(
    before: &BTreeMap<FieldName, Value>,
    changes: &BTreeMap<FieldName, Change>,
    seen: Option<&Observation>,
) -> BTreeMap<FieldName, Value> {
    let mut replaced = before.clone();
    for (field, change) in changes {
        let now = seen.and_then(|seen| seen.fields.get(field));
        if let Some(edit) = now.filter(|now| **now != change.after && **now != change.before) {
            replaced.insert(field.clone(), edit.clone());
        }
    }
    replaced
}

/// A create without an answer.
struct Lost<'a> {
    intent: &'a Intent,
    source: &'a RecordId,
    fields: &'a BTreeMap<FieldName, Value>,
    from: &'a BTreeMap<FieldName, Value>,
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

fn done(
    id: Option<RecordId>,
    baseline: Agreed,
    observed: Option<Observed>,
    before: BTreeMap<FieldName, Value>,
    after: BTreeMap<FieldName, Value>,
) -> Ending {
    let stamp = observed.as_ref().and_then(|seen| seen.observation.modified_at);
    Ending::Done { id, stamp, baseline, observed: observed.map(Box::new), before, after }
}
