//! How nouns stand in columns: times as microseconds, enums as small numbers, maps as JSON text.

use chrono::{DateTime, Utc};
use crmsync_core::model::plan::OpKind;
use crmsync_core::model::state::SubjectKey;
use crmsync_core::model::{EntityName, LinkId, LinkState, Presence, RecordId, RecordKey, Side};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::StoreError;

/// Side column of an effect that wrote to no side.
pub(super) const NO_SIDE: i16 = -1;

pub(super) const fn micros(at: DateTime<Utc>) -> i64 {
    at.timestamp_micros()
}

pub(super) fn time(micros: i64) -> Result<DateTime<Utc>, StoreError> {
    DateTime::from_timestamp_micros(micros)
        .ok_or_else(|| StoreError::Corrupt("a time".into(), micros.to_string()))
}

pub(super) fn maybe_time(micros: Option<i64>) -> Result<Option<DateTime<Utc>>, StoreError> {
    micros.map(time).transpose()
}

/// A count or epoch as a column holds it; beyond its range it stays at the end of it.
pub(super) fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A column that only ever holds counts.
pub(super) fn unsigned(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}

pub(super) const fn side_code(side: Side) -> i16 {
    match side {
        Side::Left => 0,
        Side::Right => 1,
    }
}

pub(super) fn side(code: i16) -> Result<Side, StoreError> {
    match code {
        0 => Ok(Side::Left),
        1 => Ok(Side::Right),
        other => Err(StoreError::Corrupt("a side".into(), other.to_string())),
    }
}

pub(super) const fn presence_code(presence: Presence) -> i16 {
    match presence {
        Presence::Alive => 0,
        Presence::Deleted => 1,
        Presence::Invisible => 2,
    }
}

pub(super) fn presence(code: i16) -> Result<Presence, StoreError> {
    match code {
        0 => Ok(Presence::Alive),
        1 => Ok(Presence::Deleted),
        2 => Ok(Presence::Invisible),
        other => Err(StoreError::Corrupt("a presence".into(), other.to_string())),
    }
}

pub(super) const fn state_code(state: LinkState) -> i16 {
    match state {
        LinkState::Creating => 0,
        LinkState::Live => 1,
        LinkState::Held => 2,
        LinkState::HalfDeleted => 3,
        LinkState::Merged => 4,
        LinkState::Closed => 5,
    }
}

pub(super) fn state(code: i16) -> Result<LinkState, StoreError> {
    Ok(match code {
        0 => LinkState::Creating,
        1 => LinkState::Live,
        2 => LinkState::Held,
        3 => LinkState::HalfDeleted,
        4 => LinkState::Merged,
        5 => LinkState::Closed,
        other => return Err(StoreError::Corrupt("a link's state".into(), other.to_string())),
    })
}

/// States of [`Link::is_live`](crmsync_core::model::Link::is_live).
pub(super) const LIVE: &[i16] = &[0, 1, 2, 3];
pub(super) const CREATES: &[i16] = &[1];
pub(super) const DELETES: &[i16] = &[3, 4];

pub(super) const fn kind_code(kind: &OpKind) -> i16 {
    match kind {
        OpKind::Link { .. } => 0,
        OpKind::Create { .. } => 1,
        OpKind::Update { .. } => 2,
        OpKind::Delete { .. } => 3,
        OpKind::Archive { .. } => 4,
        OpKind::Agree { .. } => 5,
        OpKind::Relate { .. } => 6,
        OpKind::Revive { .. } => 7,
    }
}

pub(super) fn encode(what: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(what)
        .map_err(|error| StoreError::Corrupt("a value to be stored".into(), error.to_string()))
}

pub(super) fn decode<T: DeserializeOwned>(what: &str, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text)
        .map_err(|error| StoreError::Corrupt(what.to_owned(), error.to_string()))
}

/// The column form of a subject. Its order is the order of [`SubjectKey`]: links, then left, then right records.
pub(super) fn subject_text(subject: &SubjectKey) -> String {
    match subject {
        SubjectKey::Link(link) => link_text(link.0.as_str()),
        SubjectKey::Record(key) => record_text(key.side, key.id.as_str()),
    }
}

pub(super) fn link_text(link: &str) -> String {
    format!("a{link}")
}

pub(super) fn record_text(side: Side, id: &str) -> String {
    match side {
        Side::Left => format!("b{id}"),
        Side::Right => format!("c{id}"),
    }
}

pub(super) fn subject_key(entity: &EntityName, text: &str) -> Result<SubjectKey, StoreError> {
    let record = |side, id: &str| {
        SubjectKey::Record(RecordKey { entity: entity.clone(), side, id: RecordId::new(id) })
    };
    match text.split_at_checked(1) {
        Some(("a", link)) => Ok(SubjectKey::Link(LinkId(link.to_owned()))),
        Some(("b", id)) => Ok(record(Side::Left, id)),
        Some(("c", id)) => Ok(record(Side::Right, id)),
        Some(_) | None => Err(StoreError::Corrupt("a subject".into(), text.to_owned())),
    }
}
