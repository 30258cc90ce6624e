//! Calls: where, with which token, at what price; what came back, unwrapped.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use http::HeaderValue;
use reqwest::{Method, StatusCode};
use secrecy::ExposeSecret;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use url::Url;

use super::super::http::{Answer, Http, HttpSettings, Idempotence, Request};
use super::super::memory::{Memory, Remembered};
use super::super::pacing::BudgetGate;
use super::super::{ConnectorError, Cost, ErrorKind};
use super::wire::{AdditionalData, Envelope};
use super::{Settings, refusal};
use crate::clock::Clock;

/// One company's API.
pub(super) struct Client {
    http: Http,
    api: Url,
    token: HeaderValue,
    /// Of the company's daily tokens, how many hundredths are ours.
    share_percent: u64,
    memory: Arc<Memory>,
    burst_window: Duration,
}

/// Paths of metadata, which is kept between processes.
const METADATA: [&str; 9] = [
    "Fields",
    "/pipelines",
    "/stages",
    "/activityTypes",
    "/users",
    "/currencies",
    "/leadLabels",
    "/leadSources",
    "/roles",
];

/// A successful answer without its envelope.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) data: Json,
    pub(super) more: AdditionalData,
    pub(super) server_time: Option<DateTime<Utc>>,
    pub(super) received_at: DateTime<Utc>,
}

impl Reply {
    /// An answer of an earlier process.
    fn recalled(mut known: Remembered) -> Self {
        let next_cursor = known.body["next_cursor"].as_str().map(str::to_owned);
        let more = AdditionalData { next_cursor, ..AdditionalData::default() };
        Self { data: known.body["data"].take(), more, server_time: None, received_at: known.at }
    }

    /// The rows of a list; v1 writes an empty one as `null`.
    pub(super) fn rows(self) -> Result<Vec<Json>, ErrorKind> {
        match self.data {
            Json::Array(rows) => Ok(rows),
            Json::Null => Ok(Vec::new()),
            Json::Bool(_) | Json::Number(_) | Json::String(_) | Json::Object(_) => {
                Err(ErrorKind::Undecodable("expected a list of records".into()))
            }
        }
    }
}

impl Client {
    pub(super) fn new(
        settings: &Settings,
        clock: Clock,
        gate: Arc<dyn BudgetGate>,
    ) -> Result<Self, ConnectorError> {
        let http = HttpSettings {
            connect_timeout: settings.connect_timeout,
            read_timeout: settings.read_timeout,
            max_answer: settings.max_answer,
            retry: settings.retry,
            proxy: settings.proxy.clone(),
            wire: settings.wire.clone(),
            ..HttpSettings::new(settings.connection.clone(), settings.pace(), settings.seed)
        };
        let http = Http::new(http, clock, gate)?;
        let token = HeaderValue::from_str(settings.api_token.expose_secret().trim());
        let mut token = token.map_err(|_| {
            let kind = ErrorKind::Misconfigured("the API token holds control characters".into());
            http.error("connect", kind)
        })?;
        token.set_sensitive(true);
        Ok(Self {
            http,
            api: settings.api_url.clone(),
            token,
            share_percent: settings.budget_share,
            memory: Arc::clone(&settings.memory),
            burst_window: settings.burst_window,
        })
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        self.http.clock().now()
    }

    pub(super) fn spent(&self) -> Cost {
        self.http.spent()
    }

    pub(super) fn error(&self, operation: impl Into<String>, kind: ErrorKind) -> ConnectorError {
        self.http.error(operation, kind)
    }

    /// Reads; `query` holds only what has a value.
    pub(super) async fn get(
        &self,
        path: &str,
        query: &[(&str, String)],
        units: u64,
    ) -> Result<Reply, ErrorKind> {
        let mut url = self.url(path)?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        if !METADATA.iter().any(|known| path.contains(known)) {
            return self.send(Request::read(url, units)).await;
        }
        let key = url[url::Position::BeforePath..].to_owned();
        if let Some(known) = self.memory.recall(&key, self.now()) {
            return Ok(Reply::recalled(known));
        }
        let reply = self.send(Request::read(url, units)).await?;
        let body = serde_json::json!({ "data": reply.data, "next_cursor": reply.more.next_cursor });
        self.memory.keep(&key, Remembered { at: self.now(), status: 200, body });
        Ok(reply)
    }

    /// Reads a list to its end, 500 rows a call.
    pub(super) async fn get_all<T: DeserializeOwned>(
        &self,
        path: &str,
        units: u64,
    ) -> Result<Vec<T>, ErrorKind> {
        let mut all = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let mut query = vec![("limit", "500".to_owned())];
            query.extend(cursor.take().map(|cursor| ("cursor", cursor)));
            let reply = self.get(path, &query, units).await?;
            cursor.clone_from(&reply.more.next_cursor);
            all.append(&mut decode_rows(reply)?);
            if cursor.is_none() {
                return Ok(all);
            }
        }
    }

    /// Reads a list that has no pages.
    pub(super) async fn get_list<T: DeserializeOwned>(
        &self,
        path: &str,
        units: u64,
    ) -> Result<Vec<T>, ErrorKind> {
        decode_rows(self.get(path, &[], units).await?)
    }

    /// Reads the first page of a list, newest rows first where the side has it so.
    pub(super) async fn get_first_page<T: DeserializeOwned>(
        &self,
        path: &str,
        units: u64,
    ) -> Result<Vec<T>, ErrorKind> {
        decode_rows(self.get(path, &[("limit", "500".to_owned())], units).await?)
    }

    /// Writes. The answer is the stored record.
    pub(super) async fn write(
        &self,
        method: Method,
        path: &str,
        body: Option<&Json>,
        units: u64,
    ) -> Result<Reply, ErrorKind> {
        let request = Request::write(method, self.url(path)?, units);
        self.send(match body {
            Some(body) => request.json(body),
            None => request,
        })
        .await
    }

    fn url(&self, path: &str) -> Result<Url, ErrorKind> {
        self.api
            .join(path)
            .map_err(|error| ErrorKind::Misconfigured(format!("`api_url` and `{path}`: {error}")))
    }

    async fn send(&self, mut request: Request) -> Result<Reply, ErrorKind> {
        request.headers.insert("x-api-token", self.token.clone());
        let answer = self
            .http
            .send(&request, |answer| {
                self.observe(answer);
                refusal::judge(answer, self.burst_window)
            })
            .await?;
        unwrap(&answer, request.idempotence)
    }

    /// Others' share of the day is not ours to see.
    fn observe(&self, answer: &Answer) {
        let Some(left) = refusal::tokens_left(answer) else { return };
        let a_day = refusal::tokens_a_day(answer).unwrap_or(0);
        let others = a_day.saturating_mul(100_u64.saturating_sub(self.share_percent)) / 100;
        self.http.gate().observe_remaining(left.saturating_sub(others));
    }
}

/// A 2xx is a success only if the body says so.
fn unwrap(answer: &Answer, idempotence: Idempotence) -> Result<Reply, ErrorKind> {
    if answer.status == StatusCode::NO_CONTENT {
        let (server_time, received_at) = (answer.server_time, answer.received_at);
        return Ok(Reply {
            data: Json::Null,
            more: AdditionalData::default(),
            server_time,
            received_at,
        });
    }
    let envelope: Envelope = answer.json().map_err(|kind| idempotence.unreadable(kind))?;
    match envelope.success {
        Some(true) => Ok(Reply {
            data: envelope.data,
            more: envelope.additional_data.unwrap_or_default(),
            server_time: answer.server_time,
            received_at: answer.received_at,
        }),
        Some(false) => Err(refusal::refuse(400, &envelope)),
        None => {
            let kind =
                ErrorKind::Undecodable("the answer does not say whether it is a success".into());
            Err(idempotence.unreadable(kind))
        }
    }
}

fn decode_rows<T: DeserializeOwned>(reply: Reply) -> Result<Vec<T>, ErrorKind> {
    let decode = |row| {
        serde_json::from_value(row)
            .map_err(|error| ErrorKind::Undecodable(format!("a row of metadata: {error}")))
    };
    reply.rows()?.into_iter().map(decode).collect()
}
