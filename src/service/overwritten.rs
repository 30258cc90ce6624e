//! Edits that came between our last look at a record and our write: semantics §10.2. The side's own history shows
//! what our write replaced.

use std::collections::BTreeMap;

use crmsync_core::model::row::{OpenRow, RowId, RowKind};
use crmsync_core::model::{
    Code, Entity, FieldName, LinkId, Pair, RecordId, RemoteField, Side, Value,
};

use super::run::RunContext;
use crate::connectors::PastChange;

/// One update as it was sent.
pub(super) struct Sent<'a> {
    pub link: &'a LinkId,
    pub record: &'a RecordId,
    /// Normal forms as last read before the write.
    pub before: &'a BTreeMap<FieldName, Value>,
    pub after: &'a BTreeMap<FieldName, Value>,
    /// The other side's values that were written.
    pub source: BTreeMap<FieldName, Value>,
}

/// Compares updates with the side's history: a row for each value that they overwrote unseen.
///
/// A history that cannot be read tells nothing; the write stands either way.
pub(super) async fn find_overwritten(
    run: &RunContext<'_>,
    entity: &Entity,
    side: Side,
    sent: &[Sent<'_>],
) -> Vec<OpenRow> {
    let connector = run.route.connectors[side].as_ref();
    let mut rows = Vec::new();
    for sent in sent {
        let fields = remote_fields(entity, side, sent.after);
        match connector.history(&entity.modules[side], sent.record, &fields).await {
            Ok(Some(history)) => rows.extend(overwritten(entity, side, sent, &history.changes)),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(%side, entity = %entity.name, %error, "a write could not be audited");
            }
        }
    }
    rows
}

fn remote_fields(
    entity: &Entity,
    side: Side,
    written: &BTreeMap<FieldName, Value>,
) -> Vec<RemoteField> {
    let rules = written.keys().filter_map(|name| entity.field(name));
    rules.filter_map(|rule| rule.remote[side].clone()).collect()
}

fn overwritten(
    entity: &Entity,
    side: Side,
    sent: &Sent<'_>,
    changes: &[PastChange],
) -> Vec<OpenRow> {
    let lost = sent.after.iter().filter_map(|(name, after)| {
        let rule = entity.field(name)?;
        let remote = rule.remote[side].as_ref()?;
        let normal = |value: &Value| rule.normalize(side, value);
        // Newest first: the first change to our value is ours.
        let own = changes.iter().find(|change| {
            change.field == *remote && change.after.as_ref().is_some_and(|it| normal(it) == *after)
        })?;
        let replaced = normal(own.before.as_ref()?);
        (sent.before.get(name) != Some(&replaced)).then(|| row(entity, side, sent, name, replaced))
    });
    lost.collect()
}

fn row(
    entity: &Entity,
    side: Side,
    sent: &Sent<'_>,
    field: &FieldName,
    replaced: Value,
) -> OpenRow {
    let base = sent.before.get(field).cloned().unwrap_or(Value::Empty);
    let source = sent.source.get(field).cloned().unwrap_or(Value::Empty);
    let code = Code::OverwrittenInWindow;
    let shown = (&entity.name, sent.link, field, code, &base, &replaced, &source);
    let shown = serde_json::to_vec(&shown).expect("values always serialize");
    let print = blake3::hash(&shown).to_hex()[..16].to_owned();
    let values = Pair::from_side(side, Some(replaced), Some(source.clone()));
    OpenRow {
        id: RowId(print.clone()),
        kind: RowKind::Conflict,
        code,
        entity: entity.name.clone(),
        link: Some(sent.link.clone()),
        records: Pair::from_side(side, Some(sent.record.clone()), None),
        field: Some(field.clone()),
        base: Some(Pair::from_side(side, base, source)),
        left: values.left,
        right: values.right,
        modified_at: Pair::default(),
        changed_at: Pair::default(),
        winner: Some(side.other()),
        policy: None,
        evidence: None,
        message: format!(
            "somebody edited this on the {side} side between our last look and our write; the edit was overwritten"
        ),
        fingerprint: print,
        candidates: Vec::new(),
    }
}
