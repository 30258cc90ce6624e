//! Calls, answers, and the HTTP server that carries them.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::body::Frame;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::fault::{Fault, Faults};
use crate::traffic::{Entry, Traffic};

/// One request, read whole.
#[derive(Clone, Debug)]
pub struct Call {
    pub method: String,
    /// Without the query; percent-decoding is left to the service.
    pub path: String,
    /// Decoded pairs in the order sent; a key may repeat.
    pub query: Vec<(String, String)>,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Scheme and authority under which the server was reached, such as `http://127.0.0.1:4711`.
    pub origin: String,
    /// Set by the host when a scripted fault concerns the rows inside a call.
    pub fault: Option<Fault>,
}

impl Call {
    pub fn query(&self, key: &str) -> Option<&str> {
        self.query.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Path segments, percent-decoded.
    pub fn segments(&self) -> Vec<String> {
        self.path.split('/').filter(|segment| !segment.is_empty()).map(decode).collect()
    }
}

/// What a service answers.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Bytes,
    /// Credits or tokens charged.
    pub cost: u64,
    /// Records written, for [`Traffic::written`].
    pub written: usize,
}

impl Reply {
    pub fn json(status: u16, body: &Value) -> Self {
        let headers =
            BTreeMap::from([("content-type".into(), "application/json;charset=utf-8".into())]);
        Self { status, headers, body: body.to_string().into(), cost: 0, written: 0 }
    }

    /// No body and no content type: 204 and 304.
    pub fn empty(status: u16) -> Self {
        Self { status, headers: BTreeMap::new(), body: Bytes::new(), cost: 0, written: 0 }
    }

    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.insert(name.into(), value.into());
        self
    }

    #[must_use]
    pub fn charged(mut self, cost: u64) -> Self {
        self.cost = cost;
        self
    }

    #[must_use]
    pub fn wrote(mut self, records: usize) -> Self {
        self.written = records;
        self
    }
}

/// A simulated CRM: a state machine behind a lock of its own.
pub trait Service: Send + Sync + 'static {
    /// Answers one call, with all its effects.
    fn answer(&self, call: &Call) -> Reply;
    /// Time for the `Date` header.
    fn now(&self) -> chrono::DateTime<chrono::Utc>;
    fn faults(&self) -> &Faults;
    fn traffic(&self) -> &Traffic;
}

/// What a call comes to under a fault, before any waiting.
#[derive(Clone, Debug)]
pub enum Outcome {
    Answered(Reply),
    /// The connection closes without an answer.
    Closed,
    /// The connection closes; the call is yet to take effect, this much later: [`take_effect`].
    Later(Duration),
}

/// What a call comes to under its scripted fault: an answer, or a closed connection.
pub async fn perform(service: &Arc<dyn Service>, mut call: Call) -> Option<Reply> {
    let fault = service.faults().strike(&call.method, &call.path);
    call.fault.clone_from(&fault);
    match meet(service.as_ref(), &call) {
        Outcome::Answered(reply) => {
            if let Some(Fault::Slow { by }) = fault {
                tokio::time::sleep(by).await;
            }
            Some(reply)
        }
        Outcome::Closed => None,
        Outcome::Later(after) => {
            let service = Arc::clone(service);
            tokio::spawn(async move {
                tokio::time::sleep(after).await;
                take_effect(service.as_ref(), &call);
            });
            None
        }
    }
}

/// Lets a call meet the fault that it carries, with all effects but the late ones.
pub fn meet(service: &dyn Service, call: &Call) -> Outcome {
    let fault = call.fault.as_ref();
    let reply = match fault {
        Some(Fault::Refused) => None,
        Some(Fault::Answer { status, content_type, body }) => Some(
            Reply { body: body.clone().into(), ..Reply::empty(*status) }
                .header("content-type", *content_type),
        ),
        Some(Fault::LateEffect { after }) => return Outcome::Later(*after),
        Some(
            Fault::ReplyLost
            | Fault::EffectThenStatus { .. }
            | Fault::Truncated
            | Fault::Slow { .. }
            | Fault::Huge { .. }
            | Fault::PartialRows { .. }
            | Fault::StatusesMissing { .. }
            | Fault::NoDate
            | Fault::Stale { .. },
        )
        | None => Some(timed(service, call)),
    };
    let status = reply.as_ref().map_or(0, |reply| reply.status);
    let status = if fault == Some(&Fault::ReplyLost) { 0 } else { status };
    record(service, call, status, reply.as_ref());
    reply
        .and_then(|reply| disturb(reply, fault, service.now()))
        .map_or(Outcome::Closed, Outcome::Answered)
}

/// Gives a call its effect after its connection was closed.
pub fn take_effect(service: &dyn Service, call: &Call) {
    let reply = service.answer(call);
    record(service, call, 0, Some(&reply));
}

fn record(service: &dyn Service, call: &Call, status: u16, reply: Option<&Reply>) {
    service.traffic().record(Entry {
        method: call.method.clone(),
        path: call.path.clone(),
        query: logged_query(call),
        status,
        cost: reply.map_or(0, |reply| reply.cost),
        written: reply.map_or(0, |reply| reply.written),
    });
}

fn timed(service: &dyn Service, call: &Call) -> Reply {
    let start = std::time::Instant::now();
    let reply = service.answer(call);
    service.traffic().add_busy(start.elapsed());
    reply
}

/// Applies the part of a fault that strikes after the effect.
fn disturb(
    mut reply: Reply,
    fault: Option<&Fault>,
    now: chrono::DateTime<chrono::Utc>,
) -> Option<Reply> {
    let date = now.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    if fault != Some(&Fault::NoDate) {
        reply.headers.entry("date".into()).or_insert(date);
    }
    match fault {
        Some(Fault::ReplyLost) => return None,
        Some(Fault::EffectThenStatus { status }) => {
            let page = "<html><body>Service unavailable</body></html>";
            reply = Reply { status: *status, body: page.into(), ..reply }
                .header("content-type", "text/html");
        }
        Some(Fault::Huge { bytes }) => {
            let mut body = vec![b' '; bytes.saturating_sub(reply.body.len())];
            body.extend_from_slice(&reply.body);
            reply.body = body.into();
        }
        Some(Fault::Truncated) => {
            reply.headers.insert("x-simulator-truncated".into(), "1".into());
        }
        Some(
            Fault::Refused
            | Fault::LateEffect { .. }
            | Fault::Answer { .. }
            | Fault::PartialRows { .. }
            | Fault::StatusesMissing { .. }
            | Fault::Slow { .. }
            | Fault::NoDate
            | Fault::Stale { .. },
        )
        | None => {}
    }
    Some(reply)
}

/// Answers a call, or closes the connection.
pub type Handler = Arc<dyn Fn(Call) -> BoxFuture<'static, Option<Reply>> + Send + Sync>;

/// A service listening on loopback; stops when dropped.
pub struct Host {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Host {
    /// Listens on `127.0.0.1:port`; 0 picks a free one.
    ///
    /// # Errors
    /// When the port is taken.
    pub async fn start(service: Arc<dyn Service>, port: u16) -> io::Result<Self> {
        let answer = move |call| {
            let service = Arc::clone(&service);
            perform_owned(service, call).boxed()
        };
        Self::serve(Arc::new(answer), port).await
    }

    /// Lets `handler` answer on `127.0.0.1:port`; 0 picks a free one.
    ///
    /// # Errors
    /// When the port is taken.
    pub async fn serve(handler: Handler, port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(accept(listener, handler, format!("http://{address}")));
        Ok(Self { address, task })
    }

    /// Scheme, host and port, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn perform_owned(service: Arc<dyn Service>, call: Call) -> Option<Reply> {
    perform(&service, call).await
}

async fn accept(listener: TcpListener, answer: Handler, origin: String) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let (answer, origin) = (Arc::clone(&answer), origin.clone());
        tokio::spawn(async move {
            let handler = hyper::service::service_fn(move |request| {
                handle(Arc::clone(&answer), origin.clone(), request)
            });
            // An error here is a closed connection: a fault, or a client that went away.
            let _ = hyper::server::conn::http1::Builder::new()
                // hyper would put the machine's time where a fault took the simulated one away.
                .auto_date_header(false)
                .serve_connection(TokioIo::new(stream), handler)
                .await;
        });
    }
}

type Body = BoxBody<Bytes, io::Error>;

async fn handle(
    answer: Handler,
    origin: String,
    request: Request<hyper::body::Incoming>,
) -> Result<Response<Body>, io::Error> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let origin = parts
        .headers
        .get(http::header::HOST)
        .and_then(|host| host.to_str().ok())
        .map_or(origin, |host| format!("http://{host}"));
    let call = Call {
        method: parts.method.as_str().to_owned(),
        path: parts.uri.path().to_owned(),
        query: pairs(parts.uri.query().unwrap_or_default()),
        headers: parts.headers,
        body,
        origin,
        fault: None,
    };
    let reply =
        answer(call).await.ok_or_else(|| io::Error::other("fault: closed without an answer"))?;
    response(reply)
}

fn response(mut reply: Reply) -> Result<Response<Body>, io::Error> {
    let truncated = reply.headers.remove("x-simulator-truncated").is_some();
    let body = if truncated {
        let half = reply.body.slice(..reply.body.len() / 2);
        let frames = [Ok(Frame::data(half)), Err(io::Error::other("fault: truncated"))];
        BodyExt::boxed(StreamBody::new(futures_util::stream::iter(frames)))
    } else {
        Full::new(reply.body).map_err(|never: Infallible| match never {}).boxed()
    };
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(reply.status).map_err(io::Error::other)?;
    for (name, value) in &reply.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(io::Error::other)?;
        response
            .headers_mut()
            .insert(name, HeaderValue::from_str(value).map_err(io::Error::other)?);
    }
    Ok(response)
}

/// Decodes an `application/x-www-form-urlencoded` query or body.
pub fn pairs(text: &str) -> Vec<(String, String)> {
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(key, value)| (decode(&key.replace('+', " ")), decode(&value.replace('+', " "))))
        .collect()
}

/// Undoes percent-encoding; invalid sequences stay as they are.
pub fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        if let Some(byte) = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            decoded.push(byte);
            at += 3;
        } else {
            decoded.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

fn logged_query(call: &Call) -> String {
    let secret = |key: &str| {
        matches!(key, "api_token" | "refresh_token" | "client_secret" | "code" | "token")
    };
    let shown = call.query.iter().map(|(key, value)| {
        let value = if secret(key) { "…" } else { value.as_str() };
        format!("{key}={value}")
    });
    shown.collect::<Vec<_>>().join("&")
}
