//! HTTP for the CRM connectors: one client a connection, paced, within budget, repeated only where that is safe.
//!
//! [`Http::send`] knows nothing of a vendor: a judge tells it what an answer means. What surely had no effect
//! (never connected, throttled) is told from what may have had one, and only reads are repeated blindly.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Method, StatusCode};
use serde::de::DeserializeOwned;
use tracing::Instrument;
use url::Url;

use super::memory::Remembered;
use super::pacing::{BudgetGate, Meter, Pace, Pacer, Weight};
use super::retry::{self, Failure, Jitter, Policy};
use super::{ConnectorError, Cost, ErrorKind};
use crate::clock::{Carrier, Clock, Lost, Wire};

/// How one connection speaks HTTP.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// Name of the connection in the configuration.
    pub connection: String,
    pub connect_timeout: Duration,
    /// Longest silence while an answer is awaited or read.
    pub read_timeout: Duration,
    /// Longest answer, in bytes after unpacking.
    pub max_answer: usize,
    /// Proxy for all calls; the environment is not asked.
    pub proxy: Option<Url>,
    pub pace: Pace,
    pub retry: Policy,
    /// Seed of the pauses' jitter.
    pub seed: u64,
    pub wire: Wire,
}

impl HttpSettings {
    pub fn new(connection: impl Into<String>, pace: Pace, seed: u64) -> Self {
        Self {
            connection: connection.into(),
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_mins(1),
            max_answer: 64 << 20,
            proxy: None,
            pace,
            retry: Policy::default(),
            seed,
            wire: Wire::Sockets,
        }
    }
}

/// Whether sending a call twice does more than sending it once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idempotence {
    Read,
    /// Without an answer the effect is in doubt: [`ErrorKind::ReplyLost`].
    Write,
}

impl Idempotence {
    /// What an answer that says nothing usable means: a failed read, or a write in doubt.
    #[must_use]
    pub fn unreadable(self, kind: ErrorKind) -> ErrorKind {
        match self {
            Self::Read => kind,
            Self::Write => ErrorKind::ReplyLost(kind.to_string()),
        }
    }
}

/// One call, complete but for what [`Http`] adds.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: Method,
    pub url: Url,
    pub headers: HeaderMap,
    pub body: Option<Bytes>,
    /// Price, reserved before each attempt.
    pub units: u64,
    pub weight: Weight,
    pub idempotence: Idempotence,
}

impl Request {
    /// A read that costs `units`.
    pub fn read(url: Url, units: u64) -> Self {
        Self {
            method: Method::GET,
            url,
            headers: HeaderMap::new(),
            body: None,
            units,
            weight: Weight::Light,
            idempotence: Idempotence::Read,
        }
    }

    /// A write without a body that costs `units`.
    pub fn write(method: Method, url: Url, units: u64) -> Self {
        Self { method, idempotence: Idempotence::Write, ..Self::read(url, units) }
    }

    #[must_use]
    pub fn json(mut self, body: &serde_json::Value) -> Self {
        self.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.body = Some(body.to_string().into());
        self
    }

    #[must_use]
    pub fn heavy(mut self) -> Self {
        self.weight = Weight::Heavy;
        self
    }

    /// Adds a header; one that carries a secret is kept out of debug output.
    ///
    /// # Errors
    /// [`ErrorKind::Misconfigured`] when the value holds control characters.
    pub fn header(mut self, name: &'static str, value: &str) -> Result<Self, ErrorKind> {
        let mut header = HeaderValue::from_str(value)
            .map_err(|_| ErrorKind::Misconfigured(format!("header `{name}` is not valid")))?;
        header.set_sensitive(name.eq_ignore_ascii_case("authorization"));
        self.headers.insert(name, header);
        Ok(self)
    }
}

/// An answer, read whole.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// The answer's `Date`.
    pub server_time: Option<DateTime<Utc>>,
    /// Our clock when the answer's head came.
    pub received_at: DateTime<Utc>,
}

impl Answer {
    /// An answer of an earlier process: its status, and no clock to compare with.
    pub fn recalled(known: &Remembered) -> Self {
        Self {
            status: StatusCode::from_u16(known.status).unwrap_or_default(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            server_time: None,
            received_at: known.at,
        }
    }

    /// Decodes the body.
    ///
    /// # Errors
    /// [`ErrorKind::Undecodable`] naming the status, and never quoting the body: it may hold personal data.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, ErrorKind> {
        if !self.is_json() {
            let what = self.content_type().unwrap_or("no content type").to_owned();
            return Err(ErrorKind::Undecodable(format!(
                "expected JSON, got {what} with status {}",
                self.status.as_u16()
            )));
        }
        serde_json::from_slice(&self.body).map_err(|error| {
            ErrorKind::Undecodable(format!(
                "JSON with status {} breaks off or has another shape at line {} column {} ({:?})",
                self.status.as_u16(),
                error.line(),
                error.column(),
                error.classify()
            ))
        })
    }

    /// Whether the content type says JSON; servers that leave it out are taken at their first byte.
    pub fn is_json(&self) -> bool {
        match self.content_type() {
            Some(kind) => kind.contains("json"),
            None => matches!(self.body.trim_ascii_start().first(), Some(b'{' | b'[')),
        }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// `Retry-After`, in seconds or as a date by the server's clock.
    pub fn retry_after(&self) -> Option<Duration> {
        let text = self.headers.get(RETRY_AFTER)?.to_str().ok()?;
        if let Ok(seconds) = text.trim().parse() {
            return Some(Duration::from_secs(seconds));
        }
        let at = http_date(text)?;
        (at - self.server_time.unwrap_or(self.received_at)).to_std().ok()
    }

    fn content_type(&self) -> Option<&str> {
        self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok())
    }
}

/// What an answer means to the connector that asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The caller takes it from here.
    Accept,
    /// Surely without effect; wait and call again.
    Throttled(Option<Duration>),
    /// The server failed in the middle: a read is repeated, a write is in doubt.
    Broken(String),
    /// Surely without effect, and calling again does not help.
    Refused(ErrorKind),
}

/// Judges by status alone, as both CRMs mean it: 429 throttles, 5xx and non-JSON pages are broken answers.
pub fn judge_by_status(answer: &Answer) -> Verdict {
    let status = answer.status.as_u16();
    let page = !answer.body.is_empty() && !answer.is_json();
    match status {
        429 => Verdict::Throttled(answer.retry_after()),
        500..=599 if page => Verdict::Broken(format!("status {status} with an HTML page or text")),
        500..=599 => Verdict::Broken(format!("status {status}")),
        _ if page => Verdict::Broken(format!("a page instead of JSON, status {status}")),
        _ => Verdict::Accept,
    }
}

/// What [`Wire`] comes to for one connection.
enum Line {
    Sockets(reqwest::Client),
    Carried(Arc<dyn Carrier>),
}

/// One connection's HTTP.
pub struct Http {
    settings: HttpSettings,
    line: Line,
    clock: Clock,
    pacer: Pacer,
    gate: Arc<dyn BudgetGate>,
    meter: Meter,
    jitter: Jitter,
}

impl Http {
    /// Opens no connection yet. A TLS provider must be installed before.
    ///
    /// # Errors
    /// [`ErrorKind::Misconfigured`] when the client cannot be built: no CA roots, a bad proxy.
    pub fn new(
        settings: HttpSettings,
        clock: Clock,
        gate: Arc<dyn BudgetGate>,
    ) -> Result<Self, ConnectorError> {
        let line = line(&settings).map_err(|error| ConnectorError {
            connection: settings.connection.clone(),
            operation: "connect".into(),
            kind: ErrorKind::Misconfigured(describe(&error)),
        })?;
        let pacer = Pacer::new(settings.pace, clock.clone());
        let jitter = Jitter::new(settings.seed);
        Ok(Self { settings, line, clock, pacer, gate, meter: Meter::default(), jitter })
    }

    /// Sends `request` and answers what the judge accepted.
    ///
    /// # Errors
    /// Reads, after the policy's tries: [`ErrorKind::Unavailable`] or [`ErrorKind::Undecodable`]. Writes:
    /// [`ErrorKind::ReplyLost`] on anything that may have had an effect. Both: [`ErrorKind::RateLimited`],
    /// [`ErrorKind::BudgetExhausted`], and what the judge refuses with.
    pub fn send<'a>(
        &'a self,
        request: &'a Request,
        judge: impl Fn(&Answer) -> Verdict + Send + Sync + 'a,
    ) -> BoxFuture<'a, Result<Answer, ErrorKind>> {
        let sending = async move {
            let attempt = || self.attempt(request, &judge);
            retry::retry(&self.settings.retry, &self.jitter, &self.clock, attempt).await
        };
        // Boxed: callers in traits could not prove that the nested closures' future is `Send`.
        sending.boxed()
    }

    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    pub fn gate(&self) -> &dyn BudgetGate {
        self.gate.as_ref()
    }

    pub fn spent(&self) -> Cost {
        self.meter.total()
    }

    /// What was spent since the last call.
    pub fn take_spent(&self) -> Cost {
        self.meter.take()
    }

    /// Names the connection and the operation for an error.
    pub fn error(&self, operation: impl Into<String>, kind: ErrorKind) -> ConnectorError {
        let connection = self.settings.connection.clone();
        ConnectorError { connection, operation: operation.into(), kind }
    }

    async fn attempt(
        &self,
        request: &Request,
        judge: &(dyn Fn(&Answer) -> Verdict + Send + Sync),
    ) -> Result<Answer, Failure> {
        let _slot = self.pacer.admit(request.weight).await.map_err(Failure::Final)?;
        self.gate.reserve(request.units).map_err(Failure::Final)?;
        let answer = self.exchange(request).await?;
        match judge(&answer) {
            Verdict::Accept => Ok(answer),
            Verdict::Throttled(retry_after) => {
                self.pacer.pause(retry_after.unwrap_or(Duration::from_millis(250)));
                Err(Failure::Throttled(retry_after))
            }
            Verdict::Broken(reason) => Err(broken(request.idempotence, &answer, reason)),
            Verdict::Refused(kind) => Err(Failure::Final(kind)),
        }
    }

    /// One request and its whole answer, measured and traced.
    async fn exchange(&self, request: &Request) -> Result<Answer, Failure> {
        let span = tracing::debug_span!(
            "http",
            method = %request.method,
            path = request.url.path(),
            units = request.units,
            status = tracing::field::Empty,
            duration_ms = tracing::field::Empty,
        );
        let start = tokio::time::Instant::now();
        let outcome = self.transfer(request).instrument(span.clone()).await;
        span.record("duration_ms", u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX));
        if let Ok(answer) = &outcome {
            span.record("status", answer.status.as_u16());
        }
        span.in_scope(|| tracing::debug!(ok = outcome.is_ok(), "called"));
        outcome
    }

    async fn transfer(&self, request: &Request) -> Result<Answer, Failure> {
        match &self.line {
            Line::Sockets(client) => self.transfer_by(client, request).await,
            Line::Carried(carrier) => self.hand_over(carrier.as_ref(), request).await,
        }
    }

    async fn hand_over(&self, carrier: &dyn Carrier, request: &Request) -> Result<Answer, Failure> {
        let mut call = http::Request::new(request.body.clone().unwrap_or_default());
        *call.method_mut() = request.method.clone();
        *call.headers_mut() = request.headers.clone();
        *call.uri_mut() = request.url.as_str().parse().map_err(|_| {
            Failure::Final(ErrorKind::Misconfigured("the address of a call is not valid".into()))
        })?;
        match carrier.carry(call).await {
            Ok(response) => {
                self.meter.add(request.units);
                let (head, body) = response.into_parts();
                Ok(answer(head.status, head.headers, body, self.clock.now()))
            }
            Err(Lost::Unsent(reason)) => {
                self.gate.refund(request.units);
                Err(Failure::Passing(ErrorKind::Unavailable(reason)))
            }
            Err(Lost::Unanswered(reason)) => {
                self.meter.add(request.units);
                Err(lost(request.idempotence, reason))
            }
        }
    }

    async fn transfer_by(
        &self,
        client: &reqwest::Client,
        request: &Request,
    ) -> Result<Answer, Failure> {
        let built = client.request(request.method.clone(), request.url.clone());
        let mut built = built.headers(request.headers.clone());
        if let Some(body) = &request.body {
            built = built.body(body.clone());
        }
        match built.send().await {
            Ok(response) => {
                self.meter.add(request.units);
                self.read(request, response).await
            }
            Err(error) if error.is_connect() || error.is_builder() => {
                self.gate.refund(request.units);
                Err(Failure::Passing(ErrorKind::Unavailable(describe(&error))))
            }
            Err(error) => {
                self.meter.add(request.units);
                Err(lost(request.idempotence, describe(&error)))
            }
        }
    }

    async fn read(
        &self,
        request: &Request,
        mut response: reqwest::Response,
    ) -> Result<Answer, Failure> {
        let received_at = self.clock.now();
        let (status, headers) = (response.status(), response.headers().clone());
        let limit = self.settings.max_answer;
        let mut body = BytesMut::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if body.len() + chunk.len() > limit => {
                    let kind = ErrorKind::Undecodable(format!("answer larger than {limit} bytes"));
                    return Err(Failure::Final(request.idempotence.unreadable(kind)));
                }
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => break,
                Err(error) => return Err(lost(request.idempotence, describe(&error))),
            }
        }
        Ok(answer(status, headers, body.freeze(), received_at))
    }
}

fn answer(
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    received_at: DateTime<Utc>,
) -> Answer {
    let server_time = headers.get(DATE).and_then(|date| date.to_str().ok()).and_then(http_date);
    Answer { status, headers, body, server_time, received_at }
}

fn line(settings: &HttpSettings) -> Result<Line, reqwest::Error> {
    Ok(match &settings.wire {
        Wire::Sockets => Line::Sockets(client(settings)?),
        Wire::Carried(carrier) => Line::Carried(Arc::clone(carrier)),
    })
}

fn client(settings: &HttpSettings) -> Result<reqwest::Client, reqwest::Error> {
    let builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(settings.connect_timeout)
        .read_timeout(settings.read_timeout)
        // Servers close idle connections after a minute or so; a write that meets the closing would be in doubt.
        .pool_idle_timeout(Duration::from_secs(20))
        .gzip(true)
        .no_proxy()
        .user_agent(concat!("crmsync/", env!("CARGO_PKG_VERSION")));
    match &settings.proxy {
        Some(proxy) => builder.proxy(reqwest::Proxy::all(proxy.as_str())?).build(),
        None => builder.build(),
    }
}

/// The request was sent and no whole answer came.
fn lost(idempotence: Idempotence, reason: String) -> Failure {
    match idempotence {
        Idempotence::Read => Failure::Passing(ErrorKind::Unavailable(reason)),
        Idempotence::Write => Failure::Final(ErrorKind::ReplyLost(reason)),
    }
}

fn broken(idempotence: Idempotence, answer: &Answer, reason: String) -> Failure {
    match idempotence {
        Idempotence::Read if answer.status.is_server_error() => {
            Failure::Passing(ErrorKind::Unavailable(reason))
        }
        Idempotence::Read => Failure::Passing(ErrorKind::Undecodable(reason)),
        Idempotence::Write => Failure::Final(ErrorKind::ReplyLost(reason)),
    }
}

/// The error and its causes in one line, without the URL: a query may hold a token.
pub fn describe(error: &reqwest::Error) -> String {
    let mut text = match () {
        () if error.is_timeout() => "timed out".to_owned(),
        () if error.is_connect() => "cannot connect".to_owned(),
        () if error.is_body() || error.is_decode() => "the answer broke off".to_owned(),
        () => "the connection failed".to_owned(),
    };
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if cause.source().is_none() {
            text = format!("{text}: {cause}");
        }
        source = cause.source();
    }
    text
}

/// Decodes `Sun, 06 Nov 1994 08:49:37 GMT`.
fn http_date(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc2822(text.trim()).ok().map(|date| date.to_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, kind: &str, body: &str, headers: &[(&'static str, &str)]) -> Answer {
        let mut map = HeaderMap::new();
        map.insert(CONTENT_TYPE, HeaderValue::from_str(kind).unwrap());
        for (name, value) in headers {
            map.insert(*name, HeaderValue::from_str(value).unwrap());
        }
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: map,
            body: Bytes::copy_from_slice(body.as_bytes()),
            server_time: http_date("Sun, 06 Nov 1994 08:49:37 GMT"),
            received_at: DateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn given_answers_when_judged_by_status_then_only_json_below_500_is_accepted() {
        let json = "application/json;charset=utf-8";
        let cases = [
            ("a list", answer(200, json, "{}", &[]), "accept"),
            ("nothing found", answer(204, "text/plain", "", &[]), "accept"),
            ("a refusal", answer(400, json, "{}", &[]), "accept"),
            ("a gateway's page", answer(502, "text/html", "<html>", &[]), "broken"),
            ("a sign-in page", answer(200, "text/html", "<html>", &[]), "broken"),
            ("a server error", answer(500, json, "{}", &[]), "broken"),
            ("too many", answer(429, json, "{}", &[]), "throttled"),
        ];

        for (name, answer, expected) in cases {
            let verdict = match judge_by_status(&answer) {
                Verdict::Accept => "accept",
                Verdict::Throttled(_) => "throttled",
                Verdict::Broken(_) => "broken",
                Verdict::Refused(_) => "refused",
            };
            assert_eq!(verdict, expected, "{name}");
        }
    }

    #[test]
    fn given_retry_after_when_read_then_seconds_and_dates_mean_the_same() {
        let cases = [
            ("seconds", "30", Some(30)),
            ("a date by the server's clock", "Sun, 06 Nov 1994 08:50:07 GMT", Some(30)),
            ("a date that has passed", "Sun, 06 Nov 1994 08:00:00 GMT", None),
            ("neither", "soon", None),
        ];

        for (name, text, expected) in cases {
            let read = answer(429, "application/json", "", &[("retry-after", text)]).retry_after();
            assert_eq!(read, expected.map(Duration::from_secs), "{name}");
        }
    }

    #[tokio::test]
    async fn given_nobody_listening_when_written_then_nothing_was_done_or_spent() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let pace = Pace {
            burst: std::num::NonZeroU32::MIN,
            per: Duration::from_millis(1),
            concurrency: 1,
            heavy: 1,
        };
        let mut settings = HttpSettings::new("side", pace, 7);
        settings.retry.first = Duration::from_millis(1);
        let clock = Clock::new(|| DateTime::UNIX_EPOCH);
        let window = super::super::pacing::Window::Rolling;
        let budget = super::super::pacing::Budget::new(Some(9), 100, window, clock.clone());
        let budget = Arc::new(budget);
        let http = Http::new(settings, clock, budget.clone()).unwrap();
        // Bound and closed: nobody listens there now.
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let url = format!("http://{address}/x").parse().unwrap();

        let outcome = http.send(&Request::write(Method::POST, url, 9), judge_by_status).await;

        assert!(matches!(outcome, Err(ErrorKind::Unavailable(_))), "{outcome:?}");
        assert_eq!((budget.used(), http.spent()), (0, Cost::default()));
    }

    #[test]
    fn given_a_body_that_does_not_decode_when_reported_then_its_content_is_not_quoted() {
        let page = answer(200, "text/html", "<p>ada@example.com</p>", &[]);
        let short = answer(200, "application/json", r#"{"Email":"ada@example.com""#, &[]);

        for answer in [page, short] {
            let error = answer.json::<serde_json::Value>().unwrap_err().to_string();
            assert!(error.contains("200") && !error.contains("ada"), "{error}");
        }
    }
}
