//! Where a list goes on: cursors of v2, and offsets of v1 turned into a walk through time.

use chrono::{DateTime, TimeDelta, Utc};
use crmsync_core::model::RemoteField;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::super::{ErrorKind, ListRequest, Order, PageKey};
use super::codec::time_text;
use super::module::{Dialect, Module};
use super::record;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    /// In the list of archived records, which follows the main one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) archived: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) cursor: Option<String>,
    /// v1: rows from this time on; what stands before it has been read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) since: Option<DateTime<Utc>>,
    /// v1: rows to pass over.
    #[serde(default)]
    pub(super) start: usize,
}

impl Place {
    pub(super) fn read(key: Option<&PageKey>) -> Result<Self, ErrorKind> {
        key.map_or_else(
            || Ok(Self::default()),
            |key| serde_json::from_str(&key.0).map_err(|_| ErrorKind::PageExpired),
        )
    }

    pub(super) fn key(&self) -> PageKey {
        PageKey(
            serde_json::to_string(self).expect("a struct of texts, times and numbers serializes"),
        )
    }

    const fn is_first(&self) -> bool {
        !self.archived && self.cursor.is_none() && self.start == 0 && self.since.is_none()
    }
}

/// Fields that an answer holds only when asked for.
pub(super) fn include(module: &Module, fields: &[RemoteField]) -> Option<(&'static str, String)> {
    let wanted =
        fields.iter().map(RemoteField::as_str).filter(|field| module.optional.contains(field));
    let wanted: Vec<_> = wanted.collect();
    (!wanted.is_empty()).then(|| ("include_fields", wanted.join(",")))
}

pub(super) fn v2_query(
    module: &Module,
    request: &ListRequest<'_>,
    place: &Place,
    page: usize,
) -> Vec<(&'static str, String)> {
    let sort_by = match request.order {
        Order::Id => "id",
        Order::Modified => "update_time",
    };
    let mut query = vec![
        ("limit", page.to_string()),
        ("sort_by", sort_by.to_owned()),
        ("sort_direction", "asc".to_owned()),
    ];
    if module.is_deals() && !place.archived {
        query.push(("status", "open,won,lost".to_owned()));
    }
    query.extend(request.since.map(|since| ("updated_since", time_text(Dialect::V2, since))));
    query.extend(include(module, request.fields));
    query.extend(place.cursor.clone().map(|cursor| ("cursor", cursor)));
    query
}

pub(super) fn v1_query(
    request: &ListRequest<'_>,
    place: &Place,
    page: usize,
) -> Vec<(&'static str, String)> {
    let mut query = vec![
        ("limit", page.to_string()),
        ("start", place.start.to_string()),
        ("sort", "update_time ASC".to_owned()),
    ];
    if !place.archived {
        let since = place.since.or(request.since);
        query.extend(since.map(|since| ("updated_since", time_text(Dialect::V2, since))));
    }
    query
}

/// v1 pages by offset, which loses rows while others are deleted: so the walk seeks by time wherever the rows
/// come in its order, and counts only within one time.
pub(super) fn v1_next(place: &Place, since: Option<DateTime<Utc>>, rows: &[Json]) -> Place {
    let times: Vec<_> = rows.iter().filter_map(record::modified_at).collect();
    let on = Place { start: place.start + rows.len(), ..place.clone() };
    if place.archived || times.len() < rows.len() || !times.is_sorted() {
        return on;
    }
    // A second back: nobody says whether the limit itself is included.
    let Some(last) = times.last().map(|last| *last - TimeDelta::seconds(1)) else { return on };
    match place.since.or(since) {
        Some(from) if last <= from => on,
        Some(_) | None => Place { since: Some(last), start: 0, ..Place::default() },
    }
}

/// A page key that the side no longer takes answers with one of several statuses.
pub(super) fn expired(kind: ErrorKind, place: &Place) -> ErrorKind {
    let refused =
        matches!(kind, ErrorKind::Refused(_) | ErrorKind::Invalid { .. } | ErrorKind::Gone);
    if refused && !place.is_first() { ErrorKind::PageExpired } else { kind }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::codec::parse_time;
    use super::*;

    fn rows(times: &[&str]) -> Vec<Json> {
        times.iter().map(|time| json!({ "id": 1, "update_time": time })).collect()
    }

    fn at(text: &str) -> DateTime<Utc> {
        parse_time(text).unwrap()
    }

    #[test]
    fn given_a_v1_page_when_more_follow_then_the_walk_seeks_by_time_and_never_stands_still() {
        let seek = |since, start| Place { since: Some(at(since)), start, ..Place::default() };
        let (nine, ten) = ("2026-05-15 09:00:00", "2026-05-15 10:00:00");
        let cases = [
            (
                "first page",
                Place::default(),
                None,
                rows(&[nine, ten]),
                seek("2026-05-15 09:59:59", 0),
            ),
            ("later page", seek(nine, 0), None, rows(&[nine, ten]), seek("2026-05-15 09:59:59", 0)),
            (
                "over-full second",
                seek("2026-05-15 09:59:59", 0),
                None,
                rows(&[ten, ten]),
                seek("2026-05-15 09:59:59", 2),
            ),
            (
                "within the overlap",
                Place::default(),
                Some(at(ten)),
                rows(&[ten]),
                Place { start: 1, ..Place::default() },
            ),
            (
                "not in order",
                Place::default(),
                None,
                rows(&[ten, nine]),
                Place { start: 2, ..Place::default() },
            ),
        ];

        for (name, place, since, rows, expected) in cases {
            assert_eq!(v1_next(&place, since, &rows), expected, "{name}");
        }
    }

    #[test]
    fn given_a_page_key_when_written_then_it_reads_back_and_garbage_has_expired() {
        let place = Place { archived: true, cursor: Some("abc".into()), since: None, start: 3 };

        assert_eq!(Place::read(Some(&place.key())), Ok(place));
        assert_eq!(Place::read(Some(&PageKey("%".into()))), Err(ErrorKind::PageExpired));
    }
}
