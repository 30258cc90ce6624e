//! What was: deletions, and when a field last changed.

use std::cmp::Reverse;

use chrono::{DateTime, TimeDelta, Utc};
use crmsync_core::model::{RecordId, RemoteField, Value};
use serde_json::Value as Json;

use super::super::{DeletedPage, DeletedRow, ErrorKind, History, PageKey, PastChange};
use super::Pipedrive;
use super::codec::{self, parse_time, time_text};
use super::module::{CHANGELOG_UNITS, Dialect, Module, RECENTS_UNITS};
use super::pages::{Place, expired};
use super::schema::Shapes;
use super::{record, wire};

impl Pipedrive {
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

    /// The newest page of the record's changelog. Source: "List updates about … field values".
    pub(super) async fn read_changelog(
        &self,
        module: &'static Module,
        id: &RecordId,
        fields: &[RemoteField],
    ) -> Result<Option<History>, ErrorKind> {
        if !module.changelog {
            return Ok(None);
        }
        let shapes = self.shapes(module).await?;
        let path = format!("/api/v1/{}/{id}/changelog", module.name);
        let (server_time, received_at, told) =
            self.client.get_first_page::<wire::Change>(&path, CHANGELOG_UNITS).await?;
        let mut changes: Vec<_> =
            told.iter().flat_map(|change| past_changes(&shapes, fields, change)).collect();
        changes.sort_by_key(|change| Reverse(change.at));
        Ok(Some(History { changes, server_time, received_at }))
    }
}

fn past_changes(shapes: &Shapes, fields: &[RemoteField], told: &wire::Change) -> Vec<PastChange> {
    let Some(at) = parse_time(&told.time) else { return Vec::new() };
    let own = fields.iter().filter(|field| changelog_keys(field).contains(&&*told.field_key));
    let change = |field: &RemoteField| PastChange {
        field: field.clone(),
        at,
        before: past_value(shapes, field, &told.old_value),
        after: past_value(shapes, field, &told.new_value),
    };
    own.map(change).collect()
}

/// Values are texts: of composite values, their JSON. What is no value of the field is not told.
fn past_value(shapes: &Shapes, field: &RemoteField, told: &Json) -> Option<Value> {
    let shape = shapes.shape(field).filter(|_| field.part().is_none())?;
    let whole = told.as_str().and_then(|text| serde_json::from_str::<Json>(text).ok());
    let composite = whole.filter(|json| json.is_array() || json.is_object());
    codec::decode(shape.kind, composite.as_ref().unwrap_or(told)).ok()
}

/// How far `/recents` looks back. Source: changelog of 2024-12-01.
const RECENTS_REACH: TimeDelta = TimeDelta::days(30);

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
