//! Reads of records: lists, ids, one record.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use crmsync_core::model::{RecordId, RemoteField, RemoteRecord};
use serde_json::Value as Json;

use super::super::{ErrorKind, ListRequest, Page, Probe, Undecodable};
use super::Pipedrive;
use super::client::Reply;
use super::module::{Dialect, FETCH_BATCH, Module};
use super::pages::{Place, expired, include, v1_next, v1_query, v2_query};
use super::record::{self, Keep};
use super::schema::Shapes;

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
}

pub(super) fn record_path(module: &Module, id: &RecordId) -> String {
    format!("{}/{id}", module.path)
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
