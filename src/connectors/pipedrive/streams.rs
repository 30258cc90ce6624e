//! Every list of a company, as it is: what replication copies.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use crmsync_core::model::ModuleName;
use serde_json::Value as Json;

use super::super::streams::{Method, RawPage, RawRequest, Stream, Streams};
use super::super::{
    Connector as _, ConnectorError, DeletedPage, ErrorKind, ListRequest, Order, PageKey,
};
use super::Pipedrive;
use super::module::{Dialect, MODULES, Module, PAGE};
use super::pages::{Place, expired, v1_next, v1_query, v2_query};

/// A list without changes of its own: read whole each time.
struct Small {
    name: &'static str,
    path: &'static str,
    key: &'static str,
    units: u64,
    paging: Paging,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Paging {
    Cursor,
    /// By offset, with the largest page there is.
    Start(usize),
    /// One page holds all.
    None,
}

const fn small(
    name: &'static str,
    path: &'static str,
    key: &'static str,
    units: u64,
    paging: Paging,
) -> Small {
    Small { name, path, key, units, paging }
}

/// Source: Pipedrive API v2 and v1 references, paths and `x-token-cost`.
const SMALL: &[Small] = &[
    small("users", "/api/v1/users", "id", 20, Paging::None),
    small("roles", "/api/v1/roles", "id", 20, Paging::Start(PAGE)),
    small("currencies", "/api/v1/currencies", "id", 20, Paging::None),
    small("pipelines", "/api/v2/pipelines", "id", 5, Paging::Cursor),
    small("stages", "/api/v2/stages", "id", 5, Paging::Cursor),
    small("activity_types", "/api/v1/activityTypes", "id", 10, Paging::None),
    small("lead_labels", "/api/v1/leadLabels", "id", 10, Paging::None),
    small("lead_sources", "/api/v1/leadSources", "name", 2, Paging::None),
    small("filters", "/api/v1/filters", "id", 20, Paging::None),
    small("files", "/api/v1/files", "id", 20, Paging::Start(100)),
    small("organization_fields", "/api/v2/organizationFields", "field_code", 10, Paging::Cursor),
    small("person_fields", "/api/v2/personFields", "field_code", 10, Paging::Cursor),
    small("product_fields", "/api/v2/productFields", "field_code", 10, Paging::Cursor),
    small("deal_fields", "/api/v2/dealFields", "field_code", 10, Paging::Cursor),
    small("activity_fields", "/api/v2/activityFields", "field_code", 10, Paging::Cursor),
    small("note_fields", "/api/v1/noteFields", "key", 20, Paging::None),
];

#[async_trait]
impl Streams for Pipedrive {
    async fn streams(&self) -> Result<Vec<Stream>, ConnectorError> {
        let small = SMALL.iter().map(|small| Stream {
            name: small.name.to_owned(),
            method: Method::FullTable,
            key: small.key.to_owned(),
            cursor: None,
            module: None,
        });
        let modules = MODULES.iter().map(|module| {
            // Leads tell neither deletions nor when they were archived.
            let whole = module.name == "leads";
            Stream {
                name: module.name.to_owned(),
                method: if whole { Method::FullTable } else { Method::Changes },
                key: "id".to_owned(),
                cursor: (!whole).then(|| "update_time".to_owned()),
                module: Some(ModuleName::from(module.name)),
            }
        });
        Ok(small.chain(modules).collect())
    }

    async fn raw(&self, request: &RawRequest<'_>) -> Result<RawPage, ConnectorError> {
        let page = match Module::named(&request.stream.name) {
            Ok(module) => self.raw_module(module, request).await,
            Err(unknown) => match SMALL.iter().find(|small| small.name == request.stream.name) {
                Some(small) => self.raw_small(small, request.page).await,
                None => Err(unknown),
            },
        };
        page.map_err(|kind| self.client.error(format!("copy {}", request.stream.name), kind))
    }

    async fn gone(
        &self,
        stream: &Stream,
        since: DateTime<Utc>,
        page: Option<&PageKey>,
    ) -> Result<DeletedPage, ConnectorError> {
        match &stream.module {
            Some(module) if self.capabilities(module).deletion_feed => {
                self.deleted(module, since, page).await
            }
            Some(_) | None => Ok(DeletedPage::default()),
        }
    }
}

impl Pipedrive {
    async fn raw_module(
        &self,
        module: &'static Module,
        request: &RawRequest<'_>,
    ) -> Result<RawPage, ErrorKind> {
        let place = Place::read(request.page)?;
        let name = ModuleName::from(module.name);
        let order = if request.whole { Order::Id } else { Order::Modified };
        let list = ListRequest {
            module: &name,
            fields: &[],
            since: request.since,
            order,
            page: request.page,
        };
        let path = match module.archived_path {
            Some(path) if place.archived => path,
            Some(_) | None => module.path,
        };
        let query = match module.dialect {
            Dialect::V2 => v2_query(module, &list, &place, self.settings.page),
            Dialect::V1 => v1_query(&list, &place, self.settings.page),
        };
        let units = if place.archived { module.archived_units() } else { module.list_units() };
        let reply = match self.client.get_raw(path, &query, units).await {
            // Companies without archiving have no such list.
            Err(ErrorKind::Gone) if place.archived => {
                return Ok(RawPage { rows: "[]".into(), ..RawPage::default() });
            }
            Err(kind) => return Err(expired(kind, &place)),
            Ok(reply) => reply,
        };
        let next = match module.dialect {
            Dialect::V2 => {
                let cursor = reply.more.next_cursor.clone();
                cursor.map(|cursor| Place { cursor: Some(cursor), ..place.clone() })
            }
            Dialect::V1 => {
                let rows: Vec<Json> = reply.rows()?;
                let more = reply.more.more().unwrap_or(rows.len() >= self.settings.page);
                more.then(|| v1_next(&place, request.since, &rows))
            }
        };
        let archived_next = (!place.archived && module.archived_path.is_some() && request.whole)
            .then(|| Place { archived: true, ..Place::default() });
        Ok(RawPage {
            rows: reply.data,
            next: next.or(archived_next).map(|place| place.key()),
            server_time: reply.server_time,
        })
    }

    async fn raw_small(&self, small: &Small, page: Option<&PageKey>) -> Result<RawPage, ErrorKind> {
        let most = match small.paging {
            Paging::Start(most) => most,
            Paging::Cursor | Paging::None => PAGE,
        };
        let limit = ("limit", self.settings.page.min(most).to_string());
        let query = match (small.paging, page) {
            (Paging::None, _) => Vec::new(),
            (_, None) => vec![limit],
            (Paging::Cursor, Some(key)) => vec![limit, ("cursor", key.0.clone())],
            (Paging::Start(_), Some(key)) => vec![limit, ("start", key.0.clone())],
        };
        let reply = self.client.get_raw(small.path, &query, small.units).await?;
        let next = match small.paging {
            Paging::Cursor => reply.more.next_cursor.clone(),
            Paging::Start(_) if reply.more.more() == Some(true) => {
                let read: usize = page.and_then(|key| key.0.parse().ok()).unwrap_or(0);
                Some((read + reply.rows::<Json>()?.len()).to_string())
            }
            Paging::None | Paging::Start(_) => None,
        };
        Ok(RawPage { rows: reply.data, next: next.map(PageKey), server_time: reply.server_time })
    }
}
