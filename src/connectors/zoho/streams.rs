//! Every module of an organization, and what stands around them, as it is: what replication copies.

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use crmsync_core::model::schema::FieldKind;
use crmsync_core::model::{ModuleName, RemoteField};
use futures_util::future::try_join_all;
use serde_json::Value as Json;

use super::Zoho;
use super::client::{Call, Reply};
use super::slices::{Slices, merge, tokens};
use crate::connectors::streams::{Method, RawPage, RawRequest, Stream, Streams};
use crate::connectors::{
    Connector as _, ConnectorError, DeletedPage, ErrorKind, ListRequest, Order, PageKey,
};

/// Lists of the organization, read whole: name, path, scope, key of the answer's rows, whether they have pages.
///
/// Source: Zoho CRM API v8, "Get Organization Data", "Get Users", "Get Roles", "Get Profiles", "Get Currencies",
/// "Get Territories".
const SMALL: &[(&str, &[&str], &str, &str, bool)] = &[
    ("organization", &["org"], "ZohoCRM.org.READ", "org", false),
    ("users", &["users"], "ZohoCRM.users.READ", "users", true),
    ("roles", &["settings", "roles"], "ZohoCRM.settings.roles.READ", "roles", false),
    ("profiles", &["settings", "profiles"], "ZohoCRM.settings.profiles.READ", "profiles", false),
    ("currencies", &["org", "currencies"], "ZohoCRM.settings.currencies.READ", "currencies", false),
    (
        "territories",
        &["settings", "territories"],
        "ZohoCRM.settings.territories.READ",
        "territories",
        true,
    ),
];
const PAGE: u32 = 200;

#[async_trait]
impl Streams for Zoho {
    async fn streams(&self) -> Result<Vec<Stream>, ConnectorError> {
        let small = SMALL.iter().map(|(name, ..)| Stream {
            name: (*name).to_owned(),
            method: Method::FullTable,
            key: "id".to_owned(),
            cursor: None,
            module: None,
        });
        let modules = self.modules().await?.into_iter().map(|(module, _)| Stream {
            name: module.to_string(),
            method: Method::Changes,
            key: "id".to_owned(),
            cursor: Some("Modified_Time".to_owned()),
            module: Some(module),
        });
        Ok(small.chain(modules).collect())
    }

    async fn raw(&self, request: &RawRequest<'_>) -> Result<RawPage, ConnectorError> {
        let page = match &request.stream.module {
            Some(module) => self.raw_module(module, request).await,
            None => self.raw_small(&request.stream.name, request.page).await,
        };
        page.map_err(|kind| ConnectorError {
            connection: self.settings.http.connection.clone(),
            operation: format!("copy {}", request.stream.name),
            kind,
        })
    }

    async fn gone(
        &self,
        stream: &Stream,
        since: DateTime<Utc>,
        page: Option<&PageKey>,
    ) -> Result<DeletedPage, ConnectorError> {
        match &stream.module {
            Some(module) => self.deleted(module, since, page).await,
            None => Ok(DeletedPage::default()),
        }
    }
}

impl Zoho {
    /// All readable fields; more than a call may name come in several calls, put together by id.
    async fn raw_module(
        &self,
        module: &ModuleName,
        request: &RawRequest<'_>,
    ) -> Result<RawPage, ErrorKind> {
        let metadata = self.metadata(module).await?;
        let readable = metadata
            .schema
            .fields
            .iter()
            .filter(|field| field.readable && field.kind != FieldKind::Unsupported);
        let fields: Vec<RemoteField> = readable.map(|field| field.name.clone()).collect();
        // By time, since one walk by page token ends after 100,000 rows and goes on from the last time seen.
        let list = ListRequest {
            module,
            fields: &fields,
            since: request.since,
            order: Order::Modified,
            page: request.page,
        };
        let slices = Slices::of(module, &metadata, &fields);
        let tokens = tokens(request.page, slices.slices.len())?;
        let pages = slices.slices.iter().zip(&tokens).map(|(fields, token)| {
            let call = self.list_call(&list, &slices, fields, token.as_deref());
            let has_ended = request.page.is_some() && token.is_none();
            async move { if has_ended { Ok(None) } else { self.client.call(&call).await.map(Some) } }
        });
        let replies: Vec<Option<Reply>> = try_join_all(pages).await?;
        let server_time = replies.iter().flatten().next().and_then(|it| it.answer.server_time);
        let (merged, next) = merge(&replies)?;
        if let Some(torn) = merged.undecodable.first() {
            // Changed between two of the calls: the next run reads it again.
            tracing::debug!(reason = %torn.reason, "rows changed while they were read");
        }
        Ok(RawPage { rows: array(&merged.rows), next, server_time })
    }

    async fn raw_small(&self, name: &str, page: Option<&PageKey>) -> Result<RawPage, ErrorKind> {
        let known = SMALL.iter().find(|small| small.0 == name);
        let (_, path, scope, key, pages) =
            known.ok_or_else(|| ErrorKind::UnknownName(format!("stream `{name}`")))?;
        let number: u32 =
            page.map_or(Ok(1), |key| key.0.parse()).map_err(|_| ErrorKind::PageExpired)?;
        let mut call = Call::get(path, *scope);
        if *pages {
            call = call.query("page", number.to_string()).query("per_page", PAGE.to_string());
        }
        let reply = self.client.call(&call).await?;
        let rows = reply.body.get(*key).and_then(Json::as_array).cloned().unwrap_or_default();
        let more =
            reply.body.pointer("/info/more_records").and_then(Json::as_bool).unwrap_or(false);
        Ok(RawPage {
            rows: array(&rows),
            next: (*pages && more).then(|| PageKey((number + 1).to_string())),
            server_time: reply.answer.server_time,
        })
    }
}

fn array(rows: &[Json]) -> Bytes {
    serde_json::to_vec(rows).map_or_else(|_| Bytes::from_static(b"[]"), Bytes::from)
}
