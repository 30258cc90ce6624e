//! Reads of records: lists, ids, one record, deletions.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use crmsync_core::model::row::Evidence;
use crmsync_core::model::{RecordId, RemoteField, RemoteRecord};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::super::{
    DeletedPage, DeletedRow, ErrorKind, ListRequest, Order, Page, PageKey, Probe, Undecodable,
};
use super::Pipedrive;
use super::client::Reply;
use super::codec::{parse_time, time_text};
use super::module::{CHANGELOG_UNITS, Dialect, FETCH_BATCH, Module, RECENTS_UNITS};
use super::record::{self, Keep};
use super::schema::Shapes;
use super::wire;

/// Where a list goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    /// In the list of archived records, which follows the main one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    archived: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
    /// v1: rows from this time on; what stands before it has been read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    since: Option<DateTime<Utc>>,
    /// v1: rows to pass over.
    #[serde(default)]
    start: usize,
}

impl Place {
    fn read(key: Option<&PageKey>) -> Result<Self, ErrorKind> {
        key.map_or_else(
            || Ok(Self::default()),
            |key| serde_json::from_str(&key.0).map_err(|_| ErrorKind::PageExpired),
        )
    }

    fn key(&self) -> PageKey {
        PageKey(
            serde_json::to_string(self).expect("a struct of texts, times and numbers serializes"),
        )
    }

    const fn is_first(&self) -> bool {
        !self.archived && self.cursor.is_none() && self.start == 0 && self.since.is_none()
    }
}

impl Pipedrive {
    /// One page of alive records; a full scan goes on into the archived ones, because absence from the main list
    /// does not tell archived from deleted.
    pub(super) async fn list_page(
        &self,
        module: &'static Module,
        request: &ListRequest<'_>,
    ) -> Result<Page, ErrorKind> {
        let shapes = self.shapes(module).await?;
        let place = Place::read(request.page)?;
        let path = match module.archived_path {
            Some(path) if place.archived => path,
            Some(_) | None => module.path,
        };
        let query = match module.dialect {
            Dialect::V2 => v2_query(module, request, &place, self.settings.page),
            Dialect::V1 => v1_query(request, &place, self.settings.page),
        };
        let units = if place.archived { module.archived_units() } else { module.list_units() };
        let reply = match self.client.get(path, &query, units).await {
            // Companies without archiving have no such list.
            Err(ErrorKind::Gone) if place.archived => return Ok(self.no_page()),
            Err(kind) => return Err(expired(kind, &place)),
            Ok(reply) => reply,
        };
        let (more, server_time, received_at) =
            (reply.more.more(), reply.server_time, reply.received_at);
        let cursor = reply.more.next_cursor.clone();
        let rows = reply.rows()?;
        let next = match module.dialect {
            Dialect::V2 => cursor.map(|cursor| Place { cursor: Some(cursor), ..place.clone() }),
            Dialect::V1 if more.unwrap_or(rows.len() >= self.settings.page) => {
                Some(v1_next(&place, request.since, &rows))
            }
            Dialect::V1 => None,
        };
        let archived_next =
            (!place.archived && module.archived_path.is_some() && request.since.is_none())
                .then(|| Place { archived: true, ..Place::default() });
        let mut page = decode_page(&shapes, request.fields, rows, Keep::Fields);
        page.next = next.or(archived_next).map(|place| place.key());
        (page.server_time, page.received_at) = (server_time, received_at);
        if place.archived {
            page.records.iter_mut().for_each(|record| record.archived = true);
        }
        Ok(page)
    }

    fn no_page(&self) -> Page {
        Page { received_at: self.client.now(), ..Page::default() }
    }

    /// Reads records by id. One id is a tenth of the price of a list; from two on, a list is one call.
    pub(super) async fn fetch_page(
        &self,
        module: &'static Module,
        ids: &[RecordId],
        fields: &[RemoteField],
    ) -> Result<Page, ErrorKind> {
        let shapes = self.shapes(module).await?;
        let mut page = self.no_page();
        if ids.len() == 1 || module.dialect == Dialect::V1 {
            for id in ids {
                if let Some(reply) = self.get_one(module, id, fields).await? {
                    let rows = vec![reply.data];
                    page = merged(
                        page,
                        decode_page(&shapes, fields, rows, Keep::Raw),
                        reply.server_time,
                    );
                }
            }
        } else {
            for ids in ids.chunks(FETCH_BATCH) {
                let reply =
                    self.get_ids(module, module.path, ids, fields, module.list_units()).await?;
                let server_time = reply.server_time;
                page = merged(
                    page,
                    decode_page(&shapes, fields, reply.rows()?, Keep::Raw),
                    server_time,
                );
            }
        }
        self.fetch_archived(&shapes, ids, fields, page).await
    }

    /// Deals that are archived are left out of `ids=`, and perhaps of reads by id.
    async fn fetch_archived(
        &self,
        shapes: &Shapes,
        ids: &[RecordId],
        fields: &[RemoteField],
        page: Page,
    ) -> Result<Page, ErrorKind> {
        let Some(path) =
            shapes.module.archived_path.filter(|_| shapes.module.dialect == Dialect::V2)
        else {
            return Ok(page);
        };
        let read: BTreeSet<_> = page.records.iter().map(|record| record.id.clone()).collect();
        let sick: BTreeSet<_> = page.undecodable.iter().filter_map(|row| row.id.clone()).collect();
        let missing: Vec<_> =
            ids.iter().filter(|id| !read.contains(*id) && !sick.contains(*id)).cloned().collect();
        if missing.is_empty() {
            return Ok(page);
        }
        let mut page = page;
        for ids in missing.chunks(FETCH_BATCH) {
            let reply = self
                .get_ids(shapes.module, path, ids, fields, shapes.module.archived_units())
                .await;
            let reply = match reply {
                Err(ErrorKind::Gone) => return Ok(page),
                other => other?,
            };
            let server_time = reply.server_time;
            let mut archived = decode_page(shapes, fields, reply.rows()?, Keep::Raw);
            archived.records.iter_mut().for_each(|record| record.archived = true);
            page = merged(page, archived, server_time);
        }
        Ok(page)
    }

    async fn get_ids(
        &self,
        module: &Module,
        path: &str,
        ids: &[RecordId],
        fields: &[RemoteField],
        units: u64,
    ) -> Result<Reply, ErrorKind> {
        let ids: Vec<_> = ids.iter().map(RecordId::as_str).collect();
        let mut query = vec![("ids", ids.join(",")), ("limit", FETCH_BATCH.to_string())];
        query.extend(include(module, fields));
        self.client.get(path, &query, units).await
    }

    /// `None` when the side says that it is not there for us.
    async fn get_one(
        &self,
        module: &Module,
        id: &RecordId,
        fields: &[RemoteField],
    ) -> Result<Option<Reply>, ErrorKind> {
        let query: Vec<_> = include(module, fields).into_iter().collect();
        match self.client.get(&record_path(module, id), &query, module.get_units()).await {
            Ok(reply) => Ok(Some(reply)),
            Err(ErrorKind::Gone) => Ok(None),
            Err(kind) => Err(kind),
        }
    }

    /// What became of a record: only a deleted flag proves a deletion.
    pub(super) async fn probe_one(
        &self,
        module: &'static Module,
        id: &RecordId,
        fields: &[RemoteField],
    ) -> Result<Probe, ErrorKind> {
        let shapes = self.shapes(module).await?;
        let raw = match self.get_one(module, id, fields).await {
            Err(ErrorKind::Forbidden(_)) => return Ok(Probe::Forbidden),
            Err(kind) => return Err(kind),
            Ok(Some(reply)) => Some(reply.data),
            Ok(None) if module.is_deals() => self.probe_deal_lists(&shapes, id, fields).await?,
            Ok(None) => None,
        };
        let Some(raw) = raw else { return Ok(Probe::NotFound) };
        if record::id(&raw).as_ref() != Some(id) {
            // Perhaps the survivor of a merge; only a webhook would prove it.
            return Ok(Probe::Unknown("the answer is about another record".into()));
        }
        if record::is_deleted(&raw) {
            let at = record::modified_at(&raw);
            return Ok(Probe::Deleted { at, merged_into: None, converted_to: None });
        }
        Ok(match record::decode(&shapes, fields, raw, Keep::Raw) {
            Ok(record) => Probe::Present(Box::new(record)),
            Err(undecodable) => Probe::Unknown(undecodable.reason),
        })
    }

    /// A deal may stand in the list of archived or of deleted ones.
    async fn probe_deal_lists(
        &self,
        shapes: &Shapes,
        id: &RecordId,
        fields: &[RemoteField],
    ) -> Result<Option<Json>, ErrorKind> {
        let (module, ids) = (shapes.module, [id.clone()]);
        if let Some(path) = module.archived_path {
            let reply = self.get_ids(module, path, &ids, fields, module.archived_units()).await;
            let found = match reply {
                Err(ErrorKind::Gone) => None,
                other => other?.rows()?.into_iter().next(),
            };
            if let Some(Json::Object(mut deal)) = found {
                deal.insert("is_archived".into(), Json::Bool(true));
                return Ok(Some(Json::Object(deal)));
            }
        }
        let query = [("ids", id.to_string()), ("status", "deleted".into()), ("limit", "1".into())];
        let reply = self.client.get(module.path, &query, module.list_units()).await?;
        Ok(reply.rows()?.into_iter().next())
    }

    pub(super) async fn deleted_page(
        &self,
        module: &'static Module,
        since: DateTime<Utc>,
        page: Option<&PageKey>,
    ) -> Result<DeletedPage, ErrorKind> {
        let place = Place::read(page)?;
        match module {
            module if module.is_deals() => self.deleted_deals(module, since, &place).await,
            module if module.in_recents && self.settings.deletes_from_recents => {
                self.deleted_in_recents(module, since, &place).await
            }
            _ => Ok(DeletedPage::default()),
        }
    }

    /// Source: "Get all deals", status `deleted`: deals deleted within 30 days.
    async fn deleted_deals(
        &self,
        module: &Module,
        since: DateTime<Utc>,
        place: &Place,
    ) -> Result<DeletedPage, ErrorKind> {
        let mut query = vec![
            ("status", "deleted".to_owned()),
            ("updated_since", time_text(Dialect::V2, since)),
            ("sort_by", "update_time".to_owned()),
            ("sort_direction", "asc".to_owned()),
            ("limit", self.settings.page.to_string()),
        ];
        query.extend(place.cursor.clone().map(|cursor| ("cursor", cursor)));
        let reply = self.client.get(module.path, &query, module.list_units()).await;
        let reply = reply.map_err(|kind| expired(kind, place))?;
        let next = reply.more.next_cursor.clone();
        let next = next.map(|cursor| Place { cursor: Some(cursor), ..Place::default() }.key());
        let server_time = reply.server_time;
        let row =
            |raw: &Json| Some(DeletedRow { id: record::id(raw)?, at: record::modified_at(raw) });
        Ok(DeletedPage { rows: reply.rows()?.iter().filter_map(row).collect(), next, server_time })
    }

    /// Reads `/recents`, whose rows of deleted records say so in their v1 form. Reported, not promised: the rows
    /// are hints, which the caller probes.
    async fn deleted_in_recents(
        &self,
        module: &Module,
        since: DateTime<Utc>,
        place: &Place,
    ) -> Result<DeletedPage, ErrorKind> {
        // Older times are answered as if they were a month back.
        let since = since.max(self.client.now() - RECENTS_REACH);
        let query = [
            ("since_timestamp", time_text(Dialect::V1, since)),
            ("items", module.singular.to_owned()),
            ("start", place.start.to_string()),
            ("limit", self.settings.page.to_string()),
        ];
        let reply = self.client.get("/api/v1/recents", &query, RECENTS_UNITS).await;
        let reply = reply.map_err(|kind| expired(kind, place))?;
        let (more, server_time) = (reply.more.more(), reply.server_time);
        let rows = reply.rows()?;
        let more = more.unwrap_or(rows.len() >= self.settings.page) && !rows.is_empty();
        let next =
            more.then(|| Place { start: place.start + rows.len(), ..Place::default() }.key());
        Ok(DeletedPage {
            rows: rows.into_iter().filter_map(deleted_recent).collect(),
            next,
            server_time,
        })
    }

    /// Newest change of a field in the record's changelog. Source: "List updates about … field values".
    pub(super) async fn last_change(
        &self,
        module: &'static Module,
        id: &RecordId,
        field: &RemoteField,
    ) -> Result<(Option<DateTime<Utc>>, Evidence), ErrorKind> {
        if !module.changelog {
            return Ok((None, Evidence::None));
        }
        let path = format!("/api/v1/{}/{id}/changelog", module.name);
        let changes: Vec<wire::Change> = self.client.get_first_page(&path, CHANGELOG_UNITS).await?;
        let keys = changelog_keys(field);
        let newest = changes.iter().filter(|change| keys.contains(&change.field_key.as_str()));
        let newest = newest.filter_map(|change| parse_time(&change.time)).max();
        let grade = if newest.is_some() { Evidence::FieldHistory } else { Evidence::None };
        Ok((newest, grade))
    }
}

/// How far `/recents` looks back. Source: changelog of 2024-12-01.
const RECENTS_REACH: TimeDelta = TimeDelta::days(30);

pub(super) fn record_path(module: &Module, id: &RecordId) -> String {
    format!("{}/{id}", module.path)
}

/// The changelog uses v1's names.
fn changelog_keys(field: &RemoteField) -> Vec<&str> {
    let base = field.base();
    let old = super::fields::ALIASES.iter().filter(|(_, key)| *key == base).map(|(old, _)| *old);
    std::iter::once(base).chain(old).collect()
}

fn deleted_recent(row: Json) -> Option<DeletedRow> {
    let recent: wire::Recent = serde_json::from_value(row).ok()?;
    if !record::is_deleted(&recent.data) {
        return None;
    }
    let id = record::id(&serde_json::json!({ "id": recent.id }))?;
    Some(DeletedRow { id, at: record::modified_at(&recent.data) })
}

/// Fields that an answer holds only when asked for.
fn include(module: &Module, fields: &[RemoteField]) -> Option<(&'static str, String)> {
    let wanted =
        fields.iter().map(RemoteField::as_str).filter(|field| module.optional.contains(field));
    let wanted: Vec<_> = wanted.collect();
    (!wanted.is_empty()).then(|| ("include_fields", wanted.join(",")))
}

fn v2_query(
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

fn v1_query(request: &ListRequest<'_>, place: &Place, page: usize) -> Vec<(&'static str, String)> {
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
fn v1_next(place: &Place, since: Option<DateTime<Utc>>, rows: &[Json]) -> Place {
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
fn expired(kind: ErrorKind, place: &Place) -> ErrorKind {
    let refused =
        matches!(kind, ErrorKind::Refused(_) | ErrorKind::Invalid { .. } | ErrorKind::Gone);
    if refused && !place.is_first() { ErrorKind::PageExpired } else { kind }
}

/// Rows that are deleted are no records; rows that do not decode are named.
fn decode_page(shapes: &Shapes, fields: &[RemoteField], rows: Vec<Json>, keep: Keep) -> Page {
    let alive = rows.into_iter().filter(|raw| !record::is_deleted(raw));
    let (mut records, mut undecodable): (Vec<RemoteRecord>, Vec<Undecodable>) =
        (Vec::new(), Vec::new());
    for raw in alive {
        match record::decode(shapes, fields, raw, keep) {
            Ok(record) => records.push(record),
            Err(row) => undecodable.push(row),
        }
    }
    Page { records, undecodable, ..Page::default() }
}

/// Adds a page; times are the first answer's.
fn merged(mut page: Page, mut more: Page, server_time: Option<DateTime<Utc>>) -> Page {
    page.records.append(&mut more.records);
    page.undecodable.append(&mut more.undecodable);
    page.server_time = page.server_time.or(server_time);
    page
}

#[cfg(test)]
mod tests {
    use serde_json::json;

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
