//! Reading records: pages, records by id, one record, the deleted feed.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use crmsync_core::model::{ModuleName, RecordId, RemoteField, RemoteRecord};
use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::Zoho;
use super::auth::module_scope;
use super::client::{Call, Reply};
use super::codec::{
    Decoded, Depth, Naming, RICH_TEXT_CUT, Shape, decode_row, module_of, reference_id,
};
use super::encode::zoho_time;
use super::schema::Metadata;
use super::wire::{Rows, id_text};
use crate::connectors::pacing::Weight;
use crate::connectors::{
    DeletedPage, DeletedRow, ErrorKind, ListRequest, Order, Page, PageKey, Probe, Undecodable,
};

/// Fields that one list call may name.
///
/// Source: Zoho CRM API v8, "Get Records".
const MAX_FIELDS: usize = 50;

/// Where a scan goes on: one token a slice of fields, `None` for a slice that has ended.
#[derive(Debug, Serialize, Deserialize)]
struct ScanKey {
    tokens: Vec<Option<String>>,
}

/// The fields of one read, cut into calls.
struct Slices {
    slices: Vec<Vec<String>>,
    has_conversion: bool,
}

impl Slices {
    /// `Modified_Time` is in every slice: rows that differ in it were changed between two calls.
    fn of(module: &ModuleName, metadata: &Metadata, fields: &[RemoteField]) -> Self {
        let mut names = BTreeSet::new();
        for field in fields {
            match metadata.forms.get(field.base()).map(|form| &form.shape) {
                None | Some(Shape::Unsupported | Shape::Id) => {}
                Some(Shape::Polymorphic(Naming::Beside)) => {
                    names.extend([field.base(), "$se_module"]);
                }
                Some(_) => {
                    names.insert(field.base());
                }
            }
        }
        let has_conversion = module.as_str() == "Leads";
        let mut always = vec!["Modified_Time".to_owned()];
        always.extend(has_conversion.then(|| "Converted__s".to_owned()));
        let own: Vec<&str> =
            names.into_iter().filter(|name| !always.iter().any(|other| other == name)).collect();
        let slice = |own: &[&str]| {
            let own = own.iter().map(|name| (*name).to_owned());
            always.iter().cloned().chain(own).collect::<Vec<_>>()
        };
        let slices: Vec<_> = own.chunks(MAX_FIELDS - always.len()).map(slice).collect();
        let slices = if slices.is_empty() { vec![always] } else { slices };
        Self { slices, has_conversion }
    }
}

/// Rows of all slices, put together by id.
#[derive(Default)]
struct Merged {
    /// In the order of the first slice.
    rows: Vec<Json>,
    undecodable: Vec<Undecodable>,
}

/// A row, and whether its rich text may be cut.
struct Row {
    json: Json,
    depth: Depth,
}

impl Row {
    fn cut(json: Json) -> Self {
        Self { json, depth: Depth::List }
    }

    /// Takes the named texts over, when all of them are there.
    fn take(&mut self, names: &[&str], full: &Json) {
        if names.iter().all(|name| full.get(name).is_some()) {
            for name in names {
                self.json[*name] = full[*name].clone();
            }
            self.depth = Depth::Whole;
        }
    }
}

/// The record that a lookup points to, while its module is not known.
fn untold(row: &Json, name: &str) -> Option<String> {
    let lookup = row.get(name).filter(|lookup| !lookup.is_null())?;
    let is_told = module_of(lookup, row.as_object()?).is_some();
    reference_id(lookup).filter(|_| !is_told)
}

fn may_be_cut(row: &Json, name: &str) -> bool {
    let text = row.get(name).and_then(Json::as_str);
    text.is_some_and(|text| text.chars().count() >= RICH_TEXT_CUT)
}

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

    fn list_call(
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

    /// Replaces rich text that may be cut by what the call made for it answers, one call for all rows.
    ///
    /// Source: Zoho CRM API v8, "Get Rich Text Records".
    async fn complete_rich_text(
        &self,
        module: &ModuleName,
        metadata: &Metadata,
        fields: &[RemoteField],
        rows: &mut [Row],
    ) -> Result<(), ErrorKind> {
        let is_rich = |name: &&str| {
            metadata.forms.get(*name).is_some_and(|form| form.shape == Shape::RichText)
        };
        let rich: BTreeSet<&str> = fields.iter().map(RemoteField::base).filter(is_rich).collect();
        let is_cut = |row: &&Row| rich.iter().any(|name| may_be_cut(&row.json, name));
        let ids: Vec<String> = rows
            .iter()
            .filter(is_cut)
            .filter_map(|row| row.json.get("id").and_then(id_text))
            .collect();
        if ids.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = rich.iter().copied().collect();
        let scope = module_scope(module.as_str(), "READ");
        let call = Call::get(&[module.as_str(), "actions", "fetch_full_data"], scope)
            .query("ids", ids.join(","))
            .query("fields", names.join(","));
        let full = self.client.call(&call).await?.decode::<Rows>()?;
        for full in full.into_iter().flat_map(|rows| rows.data) {
            let same = |row: &&mut Row| row.json.get("id") == full.get("id");
            if let Some(row) = rows.iter_mut().find(same) {
                row.take(&names, &full);
            }
        }
        Ok(())
    }

    /// Finds out which module `What_Id` points to, where rows do not say `$se_module`: asks each module that is
    /// mapped which of the records are its own, one call a module.
    async fn tell_modules(
        &self,
        metadata: &Metadata,
        fields: &[RemoteField],
        rows: &mut [Row],
    ) -> Result<(), ErrorKind> {
        for field in fields {
            let shape = metadata.forms.get(field.base()).map(|form| &form.shape);
            let (Some(Shape::Polymorphic(Naming::Beside)), Some(module)) = (shape, field.part())
            else {
                continue;
            };
            let ids: BTreeSet<String> =
                rows.iter().filter_map(|row| untold(&row.json, field.base())).collect();
            let ids: Vec<String> = ids.into_iter().collect();
            for ids in ids.chunks(super::BATCH) {
                let own = self.own_ids(module, ids).await?;
                let pointing = |row: &&mut Row| {
                    untold(&row.json, field.base()).is_some_and(|id| own.contains(&id))
                };
                for row in rows.iter_mut().filter(pointing) {
                    row.json["$se_module"] = module.into();
                }
            }
        }
        Ok(())
    }

    /// Those of `ids` that are records of `module`; none when we may not see it.
    async fn own_ids(&self, module: &str, ids: &[String]) -> Result<BTreeSet<String>, ErrorKind> {
        let call = Call::get(&[module], module_scope(module, "READ"))
            .query("ids", ids.join(","))
            .query("fields", "Modified_Time");
        let rows = match self.client.call(&call).await {
            Ok(reply) => reply.decode::<Rows>()?,
            Err(ErrorKind::Gone | ErrorKind::Forbidden(_)) => None,
            Err(kind) => return Err(kind),
        };
        let data = rows.into_iter().flat_map(|rows| rows.data);
        Ok(data.filter_map(|row| row.get("id").and_then(id_text)).collect())
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

fn tokens(page: Option<&PageKey>, slices: usize) -> Result<Vec<Option<String>>, ErrorKind> {
    let Some(key) = page else { return Ok(vec![None; slices]) };
    let key: ScanKey = serde_json::from_str(&key.0).map_err(|_| ErrorKind::PageExpired)?;
    // The mapping grew or shrank: the old tokens are bound to other fields.
    if key.tokens.len() == slices { Ok(key.tokens) } else { Err(ErrorKind::PageExpired) }
}

/// Puts the slices of one page together. Rows that not all slices show alike are to be read by id.
fn merge(replies: &[Option<Reply>]) -> Result<(Merged, Option<PageKey>), ErrorKind> {
    let mut pages = Vec::new();
    let mut tokens = Vec::new();
    for reply in replies {
        let rows = reply.as_ref().map(Reply::decode::<Rows>).transpose()?.flatten();
        let (data, info) = rows.map(|rows| (rows.data, rows.info)).unwrap_or_default();
        if info.more_records && info.next_page_token.is_none() && replies_page(reply.as_ref()) {
            let reason = "more records are told of, and no page token";
            return Err(ErrorKind::Undecodable(reason.into()));
        }
        tokens.push(info.next_page_token.filter(|_| info.more_records));
        pages.push(data);
    }
    let next = tokens.iter().any(Option::is_some).then_some(ScanKey { tokens });
    let next = next.map(|key| serde_json::to_string(&key).map(PageKey)).transpose();
    let next = next.map_err(|error| ErrorKind::Undecodable(error.to_string()))?;
    Ok((merge_rows(pages), next))
}

fn replies_page(reply: Option<&Reply>) -> bool {
    reply.is_some_and(|reply| !reply.body.is_null())
}

fn merge_rows(mut pages: Vec<Vec<Json>>) -> Merged {
    if pages.len() == 1 {
        return Merged { rows: pages.remove(0), undecodable: Vec::new() };
    }
    let mut by_id: BTreeMap<String, (usize, Map<String, Json>)> = BTreeMap::new();
    let (mut order, mut merged) = (Vec::new(), Merged::default());
    let mut torn = BTreeSet::new();
    let count = pages.len();
    for row in pages.into_iter().flatten() {
        let Json::Object(row) = row else { continue };
        let Some(id) = row.get("id").and_then(id_text) else { continue };
        if !by_id.contains_key(&id) {
            order.push(id.clone());
        }
        let (seen, whole) = by_id.entry(id.clone()).or_default();
        if *seen > 0 && whole.get("Modified_Time") != row.get("Modified_Time") {
            torn.insert(id);
        }
        *seen += 1;
        whole.extend(row);
    }
    for id in order {
        match by_id.remove(&id) {
            Some((seen, row)) if seen == count && !torn.contains(&id) => {
                merged.rows.push(Json::Object(row));
            }
            Some(_) | None => merged.undecodable.push(Undecodable {
                id: Some(RecordId::new(id)),
                reason: "changed between two calls for its fields".into(),
            }),
        }
    }
    merged
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn given_two_slices_when_a_row_changed_between_them_then_it_is_read_again_and_not_mixed() {
        let row = |id: &str, time: &str, field: &str| json!({ "id": id, "Modified_Time": time, field: "x" });
        let first = vec![row("1", "t1", "A"), row("2", "t1", "A"), row("3", "t1", "A")];
        let second = vec![row("1", "t1", "B"), row("2", "t2", "B"), row("4", "t1", "B")];

        let merged = merge_rows(vec![first, second]);

        assert_eq!(merged.rows.len(), 1);
        assert_eq!(merged.rows[0]["A"], merged.rows[0]["B"]);
        let torn: Vec<_> = merged.undecodable.iter().map(|row| row.id.clone().unwrap()).collect();
        assert_eq!(torn, ["2", "3", "4"].map(RecordId::from));
    }

    #[test]
    fn given_a_page_key_of_other_fields_when_used_then_the_scan_starts_again() {
        let key = PageKey(r#"{"tokens":["a",null]}"#.into());

        assert_eq!(tokens(Some(&key), 2), Ok(vec![Some("a".to_owned()), None]));
        assert_eq!(tokens(Some(&key), 1), Err(ErrorKind::PageExpired));
        assert_eq!(tokens(Some(&PageKey("?".into())), 1), Err(ErrorKind::PageExpired));
    }
}
