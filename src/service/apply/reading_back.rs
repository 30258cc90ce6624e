//! What the side made of a write: rewrites are pinned, edits that fell into the window are found.

use std::collections::BTreeMap;

use crmsync_core::engine::rewrite::{LastChange, ReadBack, is_rewrite};
use crmsync_core::model::mapping::AuditWrites;
use crmsync_core::model::row::{OpenRow, RowId, RowKind};
use crmsync_core::model::{
    Code, Entity, FieldName, LinkId, Op, OpKind, Pair, RecordId, Side, Value,
};

use super::endings::local_commit;
use super::sending::Ready;
use super::{Applier, SUSPECT_WINDOW_MS, Tally};
use crate::connectors::{Page, RowResult, Written};
use crate::service::error::ServiceError;
use crate::service::observe::Observer;
use crate::service::overwritten::find_overwritten;
use crate::store::{Observed, PageCommit};

impl Applier<'_> {
    /// Reads written records by id unless the answers carried them, and pins what the server rewrote (W1).
    pub(super) async fn read_back(
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

    /// Compares updates with the side's own history, as far as the mapping asks for it: semantics §10.2.
    pub(super) async fn audit(
        &self,
        entity: &Entity,
        side: Side,
        ready: &[Ready<'_>],
        results: &[RowResult],
        window_ms: i64,
        tally: &mut Tally,
    ) -> Result<(), ServiceError> {
        let done = ready.iter().zip(results).filter(|(_, result)| result.is_ok());
        let audited = done.filter(|(ready, _)| match entity.audit_writes {
            AuditWrites::Off => false,
            AuditWrites::Suspect => {
                window_ms > SUSPECT_WINDOW_MS || ready.is_fresh(self.run.settings.settle)
            }
            AuditWrites::All => true,
        });
        let sent: Vec<_> = audited.filter_map(|(ready, _)| ready.sent()).collect();
        let rows = find_overwritten(self.run, entity, side, &sent).await;
        tally.overwritten += rows.len() as u64;
        if rows.is_empty() {
            return Ok(());
        }
        Ok(self.store.settle(&entity.name, &[], &rows, &[], &self.run.id, self.run.now()).await?)
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
        let last = match written.stored {
            Some(_) => LastChange::Ours,
            None => LastChange::between(written.modified_at, now.modified_at),
        };
        let fields: BTreeMap<_, _> = ready
            .values
            .iter()
            .filter_map(|(field, intended)| {
                let before = ready.intent.before.get(field);
                let kept = now.fields.get(field)?;
                if !is_rewrite(ReadBack { before, intended, kept }, last) {
                    return None;
                }
                let source = ready.op.source_value(field)?;
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
        changed_at: Pair::default(),
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
