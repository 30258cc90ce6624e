//! When fields in conflict changed last, by the sides' own histories: semantics §8.4. Asked for records in conflict
//! only, and once: an open row keeps what was told.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use crmsync_core::engine::plan::EntityPlan;
use crmsync_core::model::mapping::EvidenceSource;
use crmsync_core::model::row::RowKind;
use crmsync_core::model::state::EntityState;
use crmsync_core::model::{
    Code, Entity, FieldName, LinkId, OpenRow, Pair, RecordId, RemoteField, Side,
};
use futures_util::{StreamExt, stream};

use super::error::ServiceError;
use super::run::RunContext;
use crate::connectors::History;
use crate::store::RouteReader;

/// Tells the subjects of `state` when their fields in conflict changed. Answers whether anything is known now that
/// `plan` was made without.
pub(super) async fn tell_field_times(
    run: &RunContext<'_>,
    store: &RouteReader,
    entity: &Entity,
    plan: &EntityPlan,
    state: &mut EntityState,
) -> Result<bool, ServiceError> {
    if entity.conflicts.evidence != EvidenceSource::FieldHistory {
        return Ok(false);
    }
    let (mut told, mut unknown) = (BTreeMap::new(), Vec::new());
    for row in plan.rows.iter().filter(|row| is_decided_by_time(row)) {
        match remembered(store, row).await? {
            Some(times) => drop(told.insert(place(row), times)),
            None => unknown.push(row),
        }
    }
    let asked =
        unknown.into_iter().map(|row| async move { (place(row), ask(run, entity, row).await) });
    let at_once = Side::BOTH
        .map(|side| run.route.connectors[side].capabilities(&entity.modules[side]).concurrency);
    let at_once = at_once.into_iter().min().unwrap_or(1).max(1);
    told.extend(stream::iter(asked).buffered(at_once).collect::<Vec<_>>().await);
    for subject in &mut state.subjects {
        let Some(link) = subject.link.as_ref().map(|link| link.id.clone()) else { continue };
        let own = told
            .range((Some(link.clone()), None)..)
            .take_while(|(at, _)| at.0.as_ref() == Some(&link));
        let times = own.filter_map(|((_, field), times)| Some((field.clone()?, times.clone())));
        subject.field_times.extend(times);
    }
    Ok(!told.is_empty())
}

type Place = (Option<LinkId>, Option<FieldName>);

fn place(row: &OpenRow) -> Place {
    (row.link.clone(), row.field.clone())
}

/// Whether modified times decided the row, or could not.
fn is_decided_by_time(row: &OpenRow) -> bool {
    row.kind == RowKind::Conflict && row.code == Code::Conflict && row.evidence.is_some()
}

/// What an earlier run was told about the same conflict.
async fn remembered(
    store: &RouteReader,
    row: &OpenRow,
) -> Result<Option<Pair<Option<DateTime<Utc>>>>, ServiceError> {
    let known = store
        .row(&row.id.0)
        .await?
        .filter(|known| known.closed_at.is_none() && known.row.fingerprint == row.fingerprint);
    let times = known.map(|known| known.row.changed_at);
    Ok(times.filter(|times| times.left.is_some() || times.right.is_some()))
}

/// Asks both sides. One that does not answer tells nothing: the records' times decide then.
async fn ask(run: &RunContext<'_>, entity: &Entity, row: &OpenRow) -> Pair<Option<DateTime<Utc>>> {
    let mut times = Pair::default();
    for side in Side::BOTH {
        let Some(id) = &row.records[side] else { continue };
        times[side] = last_change(run, entity, side, id, &remote_fields(entity, row, side)).await;
    }
    times
}

fn remote_fields(entity: &Entity, row: &OpenRow, side: Side) -> Vec<RemoteField> {
    let Some(name) = &row.field else { return Vec::new() };
    let group = name.as_str().strip_prefix("group:").and_then(|group| entity.groups.get(group));
    let names = group.map_or_else(|| std::slice::from_ref(name), Vec::as_slice);
    let rules = names.iter().filter_map(|name| entity.field(name));
    rules.filter_map(|rule| rule.remote[side].clone()).collect()
}

async fn last_change(
    run: &RunContext<'_>,
    entity: &Entity,
    side: Side,
    id: &RecordId,
    fields: &[RemoteField],
) -> Option<DateTime<Utc>> {
    let history = run.route.connectors[side].history(&entity.modules[side], id, fields).await;
    match history {
        Ok(history) => history.and_then(|history| newest(&history)),
        Err(error) => {
            tracing::warn!(%side, entity = %entity.name, %error, "no history; the record's time decides");
            None
        }
    }
}

/// The newest change by our clock.
fn newest(history: &History) -> Option<DateTime<Utc>> {
    let at = history.changes.iter().map(|change| change.at).max()?;
    let ahead = history.server_time.map(|server| server - history.received_at);
    Some(ahead.map_or(at, |ahead| at - ahead))
}
