//! Calls: address, token, price, and what an answer means.

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use reqwest::{Method, StatusCode};
use secrecy::ExposeSecret as _;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Value as Json;
use url::Url;

use super::auth::{Token, Tokens};
use super::refusal::kind_of;
use super::wire::Status;
use crate::connectors::ErrorKind;
use crate::connectors::http::{Answer, Http, Idempotence, Request, Verdict, judge_by_status};
use crate::connectors::memory::{Memory, Remembered};
use crate::connectors::pacing::Weight;

/// Speaks to one organization.
pub(super) struct Client {
    pub(super) http: Arc<Http>,
    pub(super) tokens: Tokens,
    pub(super) version: String,
    pub(super) memory: Arc<Memory>,
}

/// One call, without address and token.
#[derive(Clone, Debug)]
pub(super) struct Call {
    method: Method,
    /// Below `/crm/v8/`, segments not yet encoded.
    path: Vec<String>,
    query: Vec<(&'static str, String)>,
    headers: Vec<(&'static str, String)>,
    body: Option<Json>,
    units: u64,
    weight: Weight,
    /// Scope to name when Zoho says that one is missing, as it does not say which.
    scope: String,
}

impl Call {
    pub(super) fn get(path: &[&str], scope: impl Into<String>) -> Self {
        Self::new(Method::GET, path, scope)
    }

    pub(super) fn new(method: Method, path: &[&str], scope: impl Into<String>) -> Self {
        Self {
            method,
            path: path.iter().map(|segment| (*segment).to_owned()).collect(),
            query: Vec::new(),
            headers: Vec::new(),
            body: None,
            units: 1,
            weight: Weight::Light,
            scope: scope.into(),
        }
    }

    pub(super) fn query(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.query.push((key, value.into()));
        self
    }

    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn body(mut self, body: Json) -> Self {
        self.body = Some(body);
        self
    }

    pub(super) fn units(mut self, units: u64) -> Self {
        self.units = units;
        self
    }

    pub(super) fn weight(mut self, weight: Weight) -> Self {
        self.weight = weight;
        self
    }

    /// Metadata is kept between processes; `None` for everything else.
    fn memorable(&self) -> Option<String> {
        let root = self.path.first().map(String::as_str);
        let metadata =
            self.method == Method::GET && matches!(root, Some("settings" | "users" | "org"));
        let query: Vec<_> =
            self.query.iter().map(|(key, value)| format!("{key}={value}")).collect();
        metadata.then(|| format!("{}?{}", self.path.join("/"), query.join("&")))
    }

    fn idempotence(&self) -> Idempotence {
        if self.method == Method::GET { Idempotence::Read } else { Idempotence::Write }
    }
}

/// An answer that is no refusal of the whole call: `body` is null for 204 and 304.
pub(super) struct Reply {
    pub(super) answer: Answer,
    pub(super) body: Json,
}

impl Reply {
    /// Decodes the body; `None` when there is none.
    pub(super) fn decode<T: DeserializeOwned>(&self) -> Result<Option<T>, ErrorKind> {
        if self.body.is_null() {
            return Ok(None);
        }
        T::deserialize(&self.body)
            .map(Some)
            .map_err(|error| ErrorKind::Undecodable(format!("JSON of another shape: {error}")))
    }
}

impl Client {
    /// Makes a call; a refused token is renewed once.
    ///
    /// # Errors
    /// What Zoho refuses the whole call with; rows that are refused one by one are in the reply.
    pub(super) fn call<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<Reply, ErrorKind>> {
        self.call_or_recall(call).boxed()
    }

    async fn call_or_recall(&self, call: &Call) -> Result<Reply, ErrorKind> {
        let Some(key) = call.memorable() else { return self.call_with_token(call).await };
        let now = self.http.clock().now();
        if let Some(known) = self.memory.recall(&key, now) {
            return Ok(Reply { answer: Answer::recalled(&known), body: known.body });
        }
        let reply = self.call_with_token(call).await?;
        let status = reply.answer.status.as_u16();
        self.memory.keep(&key, Remembered { at: now, status, body: reply.body.clone() });
        Ok(reply)
    }

    async fn call_with_token(&self, call: &Call) -> Result<Reply, ErrorKind> {
        let token = self.tokens.current(&self.http).await?;
        let answer = self.attempt(call, &token).await?;
        if !refuses_token(&answer) {
            return settle(call, answer);
        }
        let token = self.tokens.after(&self.http, token.generation).await?;
        let answer = self.attempt(call, &token).await?;
        if refuses_token(&answer) {
            return Err(ErrorKind::Unauthorized("a fresh access token is refused too".into()));
        }
        settle(call, answer)
    }

    async fn attempt(&self, call: &Call, token: &Token) -> Result<Answer, ErrorKind> {
        let mut request = Request {
            method: call.method.clone(),
            weight: call.weight,
            idempotence: call.idempotence(),
            ..Request::read(self.address(call, &token.api)?, call.units)
        };
        if let Some(body) = &call.body {
            request = request.json(body);
        }
        let secret = format!("Zoho-oauthtoken {}", token.access.expose_secret());
        request = request.header("authorization", &secret)?;
        for (name, value) in &call.headers {
            request = request.header(name, value)?;
        }
        self.http.send(&request, |answer| self.judge(answer)).await
    }

    fn address(&self, call: &Call, api: &Url) -> Result<Url, ErrorKind> {
        let mut url = api.clone();
        url.path_segments_mut()
            .map_err(|()| ErrorKind::Misconfigured("the API address has no path".into()))?
            .pop_if_empty()
            .extend(["crm", self.version.as_str()])
            .extend(&call.path);
        if !call.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&call.query);
        }
        Ok(url)
    }

    fn judge(&self, answer: &Answer) -> Verdict {
        let remaining = answer.header("x-api-credits-remaining").and_then(|text| text.parse().ok());
        if let Some(remaining) = remaining {
            self.http.gate().observe_remaining(remaining);
        }
        let is_spent = answer.status == StatusCode::TOO_MANY_REQUESTS
            && (remaining == Some(0) || speaks_of_the_day(answer));
        if is_spent {
            return Verdict::Refused(ErrorKind::BudgetExhausted { resets_at: None });
        }
        let verdict = judge_by_status(answer);
        if verdict == Verdict::Accept && !is_whole(answer) {
            let status = answer.status.as_u16();
            return Verdict::Broken(format!("JSON that breaks off, status {status}"));
        }
        verdict
    }
}

/// Whether the body is JSON to its end: one that was cut within its announced length shows only here.
fn is_whole(answer: &Answer) -> bool {
    answer.body.is_empty() || serde_json::from_slice::<IgnoredAny>(&answer.body).is_ok()
}

/// 429 has one code for bursts and for the day; only the message tells them apart.
///
/// Source: none; Zoho does not document the texts.
fn speaks_of_the_day(answer: &Answer) -> bool {
    let message = answer.json::<Status>().map(|status| status.message.to_lowercase());
    let words = ["credit", "24 hours", "per day", "the day", "daily"];
    message.is_ok_and(|message| words.iter().any(|word| message.contains(word)))
}

/// An expired token is called by three names: one of them by mistake, one only in the documents.
fn refuses_token(answer: &Answer) -> bool {
    answer.status == StatusCode::UNAUTHORIZED
        && answer.json::<Status>().is_ok_and(|status| status.code != "OAUTH_SCOPE_MISMATCH")
}

/// Tells an answer from a refusal of the whole call.
fn settle(call: &Call, answer: Answer) -> Result<Reply, ErrorKind> {
    let is_empty = matches!(answer.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if is_empty && answer.body.is_empty() {
        return Ok(Reply { answer, body: Json::Null });
    }
    let body = answer.json::<Json>().map_err(|kind| call.idempotence().unreadable(kind))?;
    let rows = body.as_object().is_some_and(|object| object.values().any(Json::is_array));
    let status: Option<Status> = Status::deserialize_if_refusal(&body);
    match status {
        Some(status) if !rows => Err(refusal(call, &status)),
        None if !answer.status.is_success() && call.idempotence() == Idempotence::Read => {
            let row = body.get("data").and_then(|rows| rows.get(0));
            let refused = row.and_then(Status::deserialize_if_refusal);
            let unknown = format!("status {} without a code", answer.status.as_u16());
            Err(refused.map_or(ErrorKind::Undecodable(unknown), |status| refusal(call, &status)))
        }
        None if !rows && !answer.status.is_success() => {
            let kind = format!("status {} without a code", answer.status.as_u16());
            Err(call.idempotence().unreadable(ErrorKind::Undecodable(kind)))
        }
        Some(_) | None => Ok(Reply { answer, body }),
    }
}

fn refusal(call: &Call, status: &Status) -> ErrorKind {
    if status.code == "OAUTH_SCOPE_MISMATCH" {
        return ErrorKind::ScopeMissing(call.scope.clone());
    }
    match (kind_of(status), call.idempotence()) {
        // Nothing was written, so nothing can be in doubt.
        (ErrorKind::ReplyLost(reason), Idempotence::Read) => ErrorKind::Unavailable(reason),
        (kind, _) => kind,
    }
}

impl Status {
    /// The refusal that `body` is; `None` for anything else.
    fn deserialize_if_refusal(body: &Json) -> Option<Self> {
        let refused = body.get("code").is_some() && body.get("status") != Some(&"success".into());
        refused.then(|| serde_json::from_value(body.clone()).ok()).flatten()
    }
}
