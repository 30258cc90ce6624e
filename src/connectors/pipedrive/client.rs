//! Calls: where, with which token, at what price; what came back, unwrapped.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use reqwest::{Method, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use serde_json::value::RawValue;
use url::Url;

use super::super::http::{Answer, Http, HttpSettings, Idempotence, Request};
use super::super::memory::{Memory, Remembered};
use super::super::pacing::BudgetGate;
use super::super::{ConnectorError, Cost, ErrorKind};
use super::auth::Credential;
use super::wire::{AdditionalData, Envelope};
use super::{Settings, refusal};
use crate::clock::Clock;

/// One company's API.
pub(super) struct Client {
    http: Arc<Http>,
    api: Url,
    credential: Credential,
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

/// A successful list whose rows are not read yet.
#[derive(Debug)]
pub(super) struct RawReply {
    /// A JSON array.
    pub(super) data: Bytes,
    pub(super) more: AdditionalData,
    pub(super) server_time: Option<DateTime<Utc>>,
}

impl RawReply {
    pub(super) fn rows<T: DeserializeOwned>(&self) -> Result<Vec<T>, ErrorKind> {
        serde_json::from_slice(&self.data)
            .map_err(|_| ErrorKind::Undecodable("expected a list of records".into()))
    }
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
        let http = Arc::new(Http::new(http, clock, gate)?);
        let credential = Credential::new(&settings.sign_in);
        let credential = credential.map_err(|kind| http.error("connect", kind))?;
        Ok(Self {
            http,
            api: settings.api_url.clone(),
            credential,
            share_percent: settings.budget_share,
            memory: Arc::clone(&settings.memory),
            burst_window: settings.burst_window,
        })
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        self.http.clock().now()
    }

    pub(super) fn take_spent(&self) -> Cost {
        self.http.take_spent()
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

    /// Reads a list without looking at its rows.
    pub(super) async fn get_raw(
        &self,
        path: &str,
        query: &[(&str, String)],
        units: u64,
    ) -> Result<RawReply, ErrorKind> {
        let mut url = self.url(path)?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let answer = self.answer(Request::read(url, units)).await?;
        let shape = |_| ErrorKind::Undecodable("expected a list of records".into());
        let light: Light<'_> = serde_json::from_slice(&answer.body).map_err(shape)?;
        let rows = light.data.map_or("[]", RawValue::get);
        if light.success != Some(true) || !matches!(rows.as_bytes().first(), Some(b'[' | b'n')) {
            // The slow way says what is wrong.
            unwrap(&answer, Idempotence::Read)?;
            return Err(ErrorKind::Undecodable("expected a list of records".into()));
        }
        // v1 writes an empty list as `null`.
        let data = if rows == "[]" || rows == "null" {
            Bytes::from_static(b"[]")
        } else {
            answer.body.slice_ref(rows.as_bytes())
        };
        let more = light.additional_data.unwrap_or_default();
        Ok(RawReply { data, more, server_time: answer.server_time })
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

    /// Reads the first page of a list, newest rows first where the side has it so: the server's time, ours, rows.
    pub(super) async fn get_first_page<T: DeserializeOwned>(
        &self,
        path: &str,
        units: u64,
    ) -> Result<(Option<DateTime<Utc>>, DateTime<Utc>, Vec<T>), ErrorKind> {
        let reply = self.get(path, &[("limit", "500".to_owned())], units).await?;
        Ok((reply.server_time, reply.received_at, decode_rows(reply)?))
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

    async fn send(&self, request: Request) -> Result<Reply, ErrorKind> {
        let idempotence = request.idempotence;
        unwrap(&self.answer(request).await?, idempotence)
    }

    /// Sends under the present sign-in, and once more under a new one when that is refused.
    async fn answer(&self, mut request: Request) -> Result<Answer, ErrorKind> {
        let pass = self.credential.pass(&self.http).await?;
        pass.put_into(&mut request.headers);
        match self.attempt(&request).await {
            Err(ErrorKind::Unauthorized(reason)) => {
                match self.credential.after(&self.http, &pass).await? {
                    Some(pass) => pass.put_into(&mut request.headers),
                    None => return Err(ErrorKind::Unauthorized(reason)),
                }
                self.attempt(&request).await
            }
            outcome => outcome,
        }
    }

    async fn attempt(&self, request: &Request) -> Result<Answer, ErrorKind> {
        self.http
            .send(request, |answer| {
                self.observe(answer);
                refusal::judge(answer, self.burst_window)
            })
            .await
    }

    /// Others' share of the day is not ours to see.
    fn observe(&self, answer: &Answer) {
        let Some(left) = refusal::tokens_left(answer) else { return };
        let a_day = refusal::tokens_a_day(answer).unwrap_or(0);
        let others = a_day.saturating_mul(100_u64.saturating_sub(self.share_percent)) / 100;
        self.http.gate().observe_remaining(left.saturating_sub(others));
    }
}

/// An answer of which only the frame is read.
#[derive(serde::Deserialize)]
struct Light<'a> {
    success: Option<bool>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    additional_data: Option<AdditionalData>,
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
