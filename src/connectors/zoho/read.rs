//! Reading records: pages, records by id, one record, the deleted feed.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use crmsync_core::model::{ModuleName, RecordId, RemoteField, RemoteRecord};
use futures_util::future::try_join_all;
use serde_json::Value as Json;

use super::Zoho;
use super::auth::module_scope;
use super::client::{Call, Reply};
use super::codec::{Decoded, Depth, Shape, decode_row};
use super::encode::zoho_time;
use super::schema::Metadata;
use super::slices::{Slices, merge, tokens};
use super::whole::Row;
use super::wire::{Rows, id_text};
use crate::connectors::pacing::Weight;
use crate::connectors::{
    DeletedPage, DeletedRow, ErrorKind, ListRequest, Order, Page, PageKey, Probe, Undecodable,
};

impl Zoho {
    pub(super) async fn read_list(&self, request: &ListRequest<'_>) -> Result<Page, ErrorKind> {
        let metadata = self.metadata(request.module).await?;
        let slices = Slices::of(request.module, &metadata, request.fields);
        let tokens = tokens(request.page, slices.slices.len())?;
        let pages = slices.slices.iter().zip(&tokens).map(|(fields, token)| {
            let call = self.list_call(request, &slices, fields, token.as_deref());
            let has_ended = request.page.is_some() && token.is_none();
            async move { if has_ended { Ok(None) } else { self.client.call(&call).await.map(Some) } }
        });
        let replies: Vec<Option<Reply>> = try_join_all(pages).await?;
        let (merged, next) = merge(&replies)?;
        let mut page = self.page_of(&replies);
        page.next = next;
        page.undecodable = merged.undecodable;
        let mut rows: Vec<Row> = merged.rows.into_iter().map(Row::cut).collect();
        self.tell_modules(&metadata, request.fields, &mut rows).await?;
        for row in &rows {
            place(&mut page, &metadata, request.fields, &row.json);
        }
        Ok(page)
    }

    pub(super) fn list_call(
        &self,
        request: &ListRequest<'_>,
        slices: &Slices,
        fields: &[String],
        token: Option<&str>,
    ) -> Call {
        let sort_by = match request.order {
            Order::Id => "id",
            Order::Modified => "Modified_Time",
        };
        let module = request.module.as_str();
        let mut call = Call::get(&[module], module_scope(module, "READ"))
            .query("fields", fields.join(","))
            .query("per_page", self.settings.page_rows.to_string())
            .query("sort_by", sort_by)
            .query("sort_order", "asc")
            .weight(Weight::Heavy);
        if let Some(since) = request.since {
            call = call.header("if-modified-since", zoho_time(since));
        }
        // A conversion shows in a delta only; a full list of leads is a list of leads.
        if slices.has_conversion && request.since.is_some() {
            call = call.query("converted", "both");
        }
        match token {
            Some(token) => call.query("page_token", token),
            None => call,
        }
    }

    fn page_of(&self, replies: &[Option<Reply>]) -> Page {
        let first = replies.iter().flatten().next();
        Page {
            server_time: first.and_then(|reply| reply.answer.server_time),
            received_at: first
                .map_or_else(|| self.client.http.clock().now(), |reply| reply.answer.received_at),
            ..Page::default()
        }
    }

    pub(super) async fn read_by_ids(
        &self,
        module: &ModuleName,
        ids: &[RecordId],
        fields: &[RemoteField],
    ) -> Result<Page, ErrorKind> {
        let metadata = self.metadata(module).await?;
        let slices = Slices::of(module, &metadata, fields);
        let ids = ids.iter().map(RecordId::as_str).collect::<Vec<_>>().join(",");
        let calls = slices.slices.iter().map(|slice| {
            let name = module.as_str();
            let call = Call::get(&[name], module_scope(name, "READ"))
                .query("ids", ids.clone())
                .query("fields", slice.join(","));
            let call = if slices.has_conversion { call.query("converted", "both") } else { call };
            async move { self.client.call(&call).await.map(Some) }
        });
        let replies: Vec<Option<Reply>> = try_join_all(calls).await?;
        let (merged, _) = merge(&replies)?;
        let mut page = self.page_of(&replies);
        page.undecodable = merged.undecodable;
        let alive = merged.rows.into_iter().filter(|row| !is_converted(row));
        let mut rows: Vec<Row> = alive.map(Row::cut).collect();
        self.complete_rich_text(module, &metadata, fields, &mut rows).await?;
        self.tell_modules(&metadata, fields, &mut rows).await?;
        for row in rows {
            self.place_whole(&mut page, module, &metadata, fields, row).await?;
        }
        Ok(page)
    }

    /// Decodes a row that was read by id; where it does not tell all, the record is read alone.
    async fn place_whole(
        &self,
        page: &mut Page,
        module: &ModuleName,
        metadata: &Metadata,
        fields: &[RemoteField],
        row: Row,
    ) -> Result<(), ErrorKind> {
        let id = row.json.get("id").and_then(id_text).map(RecordId::new);
        match decode_row(&metadata.forms, fields, &row.json, row.depth) {
            Ok(decoded) if decoded.partial.is_empty() => {
                page.records.push(RemoteRecord { raw: Some(row.json), ..decoded.record });
            }
            Ok(decoded) => match self.read_one(module, &decoded.record.id, metadata, fields).await?
            {
                Some(Ok(record)) => page.records.push(record),
                Some(Err(undecodable)) => page.undecodable.push(undecodable),
                // Deleted since the call before: not in the answer, so not proven absent.
                None => {}
            },
            Err(error) => page.undecodable.push(Undecodable { id, reason: error.to_string() }),
        }
        Ok(())
    }

    /// Reads one record with all its fields. `None`: not there for us.
    async fn read_one(
        &self,
        module: &ModuleName,
        id: &RecordId,
        metadata: &Metadata,
        fields: &[RemoteField],
    ) -> Result<Option<Result<RemoteRecord, Undecodable>>, ErrorKind> {
        let call =
            Call::get(&[module.as_str(), id.as_str()], module_scope(module.as_str(), "READ"));
        let reply = self.client.call(&call).await?;
        let found: Option<Rows> = reply.decode()?;
        let mut rows: Vec<Row> =
            found.into_iter().flat_map(|rows| rows.data).take(1).map(Row::cut).collect();
        self.complete_rich_text(module, metadata, fields, &mut rows).await?;
        let Some(row) = rows.pop() else { return Ok(None) };
        let unread = |reason: String| Undecodable { id: Some(id.clone()), reason };
        Ok(Some(match decode_row(&metadata.forms, fields, &row.json, row.depth) {
            Ok(Decoded { record, partial }) if partial.is_empty() => {
                Ok(RemoteRecord { raw: Some(row.json), ..record })
            }
            Ok(Decoded { partial, .. }) => Err(unread(reason_of(metadata, &partial))),
            Err(error) => Err(unread(error.to_string())),
        }))
    }

    pub(super) async fn find_out(
        &self,
        module: &ModuleName,
        id: &RecordId,
        fields: &[RemoteField],
    ) -> Result<Probe, ErrorKind> {
        let metadata = self.metadata(module).await?;
        match self.read_one(module, id, &metadata, fields).await {
            Ok(Some(Ok(record))) => Ok(match record.raw.as_ref().filter(|row| is_converted(row)) {
                Some(row) => conversion(row),
                None => Probe::Present(Box::new(record)),
            }),
            Ok(Some(Err(undecodable))) => Ok(Probe::Unknown(undecodable.reason)),
            Ok(None) | Err(ErrorKind::Gone) => Ok(Probe::NotFound),
            Err(ErrorKind::Forbidden(_)) => Ok(Probe::Forbidden),
            Err(kind) => Err(kind),
        }
    }

    /// Newest first. Zoho keeps 60 days of the recycle bin and 120 of permanent deletions.
    pub(super) async fn read_deleted(
        &self,
        module: &ModuleName,
        since: DateTime<Utc>,
        page: Option<&PageKey>,
    ) -> Result<DeletedPage, ErrorKind> {
        let number = page.map_or(Ok(1), |key| key.0.parse::<u32>());
        let number = number.map_err(|_| ErrorKind::PageExpired)?;
        let name = module.as_str();
        let call = Call::get(&[name, "deleted"], module_scope(name, "READ"))
            .query("type", "all")
            .query("page", number.to_string())
            .query("per_page", self.settings.page_rows.to_string())
            .header("if-modified-since", zoho_time(since))
            .units(super::DELETED_CREDITS);
        let reply = self.client.call(&call).await?;
        let server_time = reply.answer.server_time;
        let Some(rows) = reply.decode::<Rows>()? else {
            return Ok(DeletedPage { server_time, ..DeletedPage::default() });
        };
        let next = rows.info.more_records.then(|| PageKey((number + 1).to_string()));
        let rows: Result<Vec<_>, _> = rows.data.iter().map(deleted_row).collect();
        Ok(DeletedPage { rows: rows?, next, server_time })
    }
}

fn deleted_row(row: &Json) -> Result<DeletedRow, ErrorKind> {
    let id = row.get("id").and_then(id_text);
    let id = id.ok_or_else(|| ErrorKind::Undecodable("a deleted row without an id".into()))?;
    let at = row.get("deleted_time").and_then(Json::as_str);
    let at = at.and_then(|text| DateTime::parse_from_rfc3339(text).ok());
    Ok(DeletedRow { id: RecordId::new(id), at: at.map(|at| at.to_utc()) })
}

fn place(page: &mut Page, metadata: &Metadata, fields: &[RemoteField], row: &Json) {
    let id = row.get("id").and_then(id_text).map(RecordId::new);
    let unread = |reason: String| Undecodable { id, reason };
    match decode_row(&metadata.forms, fields, row, Depth::List) {
        _ if is_converted(row) => page.undecodable.push(unread("converted".into())),
        Ok(decoded) if decoded.partial.is_empty() => page.records.push(decoded.record),
        Ok(decoded) => {
            let reason = reason_of(metadata, &decoded.partial);
            page.undecodable.push(unread(reason));
        }
        Err(error) => page.undecodable.push(unread(error.to_string())),
    }
}

fn reason_of(metadata: &Metadata, partial: &BTreeSet<RemoteField>) -> String {
    let is_text = |field: &RemoteField| {
        metadata.forms.get(field.base()).is_some_and(|form| form.shape == Shape::RichText)
    };
    let field = partial.first().map(RemoteField::as_str).unwrap_or_default();
    if partial.iter().any(is_text) {
        format!("cut text in `{field}`")
    } else {
        format!("`{field}` does not tell which module it points to")
    }
}

fn is_converted(row: &Json) -> bool {
    row.get("Converted__s").and_then(Json::as_bool).unwrap_or(false)
}

/// A converted lead is gone, and known by the contact it became, else its account or deal.
fn conversion(row: &Json) -> Probe {
    let target = ["Converted_Contact", "Converted_Account", "Converted_Deal"]
        .into_iter()
        .find_map(|name| row.get(name)?.get("id").and_then(id_text));
    let at = row.get("Converted_Date_Time").and_then(Json::as_str);
    let at = at.and_then(|text| DateTime::parse_from_rfc3339(text).ok());
    Probe::Deleted {
        at: at.map(|at| at.to_utc()),
        merged_into: None,
        converted_to: target.map(RecordId::new),
    }
}
