//! Lists that can be copied as they are: what replication reads, beside the modules of a route.

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use crmsync_core::model::ModuleName;
use serde::Serialize;

use super::{ConnectorError, DeletedPage, PageKey};

/// How a stream is kept up to date.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// What changed since the last run.
    Changes,
    /// Everything, every run.
    FullTable,
}

/// One list of a side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stream {
    pub name: String,
    pub method: Method,
    /// Field that tells its rows apart.
    pub key: String,
    /// Field that says when a row was last changed.
    pub cursor: Option<String>,
    /// The module whose fields and deletions are its own.
    #[serde(skip)]
    pub module: Option<ModuleName>,
}

/// One page to read.
#[derive(Clone, Debug)]
pub struct RawRequest<'a> {
    pub stream: &'a Stream,
    /// Only rows modified at or after this instant, by the side's clock.
    pub since: Option<DateTime<Utc>>,
    /// Everything, by key; else by time of change.
    pub whole: bool,
    pub page: Option<&'a PageKey>,
}

/// One page as the side answered it.
#[derive(Clone, Debug, Default)]
pub struct RawPage {
    /// A JSON array of records.
    pub rows: Bytes,
    pub next: Option<PageKey>,
    pub server_time: Option<DateTime<Utc>>,
}

/// A side whose lists can be copied.
#[async_trait]
pub trait Streams: Send + Sync {
    /// All streams, parents first.
    async fn streams(&self) -> Result<Vec<Stream>, ConnectorError>;

    /// One page of a stream.
    async fn raw(&self, request: &RawRequest<'_>) -> Result<RawPage, ConnectorError>;

    /// Rows deleted since; empty where the side does not tell.
    async fn gone(
        &self,
        stream: &Stream,
        since: DateTime<Utc>,
        page: Option<&PageKey>,
    ) -> Result<DeletedPage, ConnectorError>;
}
