//! What OAuth is on every side: tokens that outlive a process, and `oauth2`'s requests over our HTTP.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use oauth2::{HttpRequest, HttpResponse};
use secrecy::SecretString;
use url::Url;

use super::ErrorKind;
use super::http::{Http, Idempotence, Request, judge_by_status};

/// What a grant code was exchanged for.
#[derive(Clone, Debug)]
pub struct Grant {
    pub refresh_token: SecretString,
    pub scopes: Vec<String>,
    /// Base URL of the API, such as `https://www.zohoapis.eu`.
    pub api_domain: Option<Url>,
}

/// An access token as kept from one process to the next.
#[derive(Clone, Debug)]
pub struct StoredToken {
    pub access: SecretString,
    pub api_domain: Url,
    pub expires_at: DateTime<Utc>,
}

/// Keeps the tokens of a connection between processes: Zoho makes ten in ten minutes, and a person may well run
/// eleven commands in that time.
#[async_trait]
pub trait TokenStore: Send + Sync {
    async fn load(&self) -> Option<StoredToken>;
    async fn save(&self, token: StoredToken);

    /// Keeps a refresh token that came in the place of another.
    async fn save_refresh(&self, _token: &SecretString) {}
}

/// Carries `oauth2`'s requests over our HTTP. Tokens cost no credits anywhere.
pub(super) fn transport(
    http: &Arc<Http>,
    idempotence: Idempotence,
) -> impl Fn(HttpRequest) -> BoxFuture<'static, Result<HttpResponse, ErrorKind>> {
    let http = Arc::clone(http);
    move |request| {
        let http = Arc::clone(&http);
        async move { carry(&http, idempotence, request).await }.boxed()
    }
}

async fn carry(
    http: &Http,
    idempotence: Idempotence,
    request: HttpRequest,
) -> Result<HttpResponse, ErrorKind> {
    let (parts, body) = request.into_parts();
    let url = parts.uri.to_string().parse::<Url>();
    let url =
        url.map_err(|error| ErrorKind::Misconfigured(format!("the OAuth server: {error}")))?;
    let request = Request {
        method: parts.method,
        headers: parts.headers,
        body: Some(body.into()),
        idempotence,
        ..Request::read(url, 0)
    };
    let answer = http.send(&request, judge_by_status).await?;
    // Zoho answers a dead token with 200 and `{"error": …}`; a good answer has no such key anywhere.
    let failed = answer.status.is_success() && has_error_key(&answer.body);
    let mut response = http::Response::new(answer.body.to_vec());
    *response.status_mut() = if failed { http::StatusCode::BAD_REQUEST } else { answer.status };
    *response.headers_mut() = answer.headers;
    Ok(response)
}

fn has_error_key(body: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Value>(body).is_ok_and(|body| body.get("error").is_some())
}
