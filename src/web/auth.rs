//! Who asks, and whether they may: a cookie or a token becomes a [`Visitor`], or the request ends here.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, ORIGIN};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum_extra::extract::CookieJar;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use super::problem::Problem;
use super::{App, frame};
use crate::service::people::digest;
use crate::store::{Role, StoreError};
use crate::web::router::Access;

/// The cookie of a sign-in.
pub(super) const COOKIE: &str = "crmsync_session";
/// The field of a form that shows it is one of ours.
pub(super) const PROOF: &str = "proof";
/// Guesses a minute, for one name and for one address.
const GUESSES: NonZeroU32 = NonZeroU32::new(5).expect("five is not zero");
const GUESSES_BY_ADDRESS: NonZeroU32 = NonZeroU32::new(20).expect("twenty is not zero");
/// Bytes of a form.
const LARGEST_FORM: usize = 1_000_000;

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Visitor {
    pub(super) name: String,
    pub(super) role: Role,
    /// What forms of this sign-in must carry; empty for programs, whose token no browser sends by itself.
    pub(super) proof: String,
}

/// How often names and addresses were tried.
pub(super) struct Attempts {
    names: DefaultKeyedRateLimiter<String>,
    addresses: DefaultKeyedRateLimiter<IpAddr>,
}

impl Default for Attempts {
    fn default() -> Self {
        Self {
            names: RateLimiter::keyed(Quota::per_minute(GUESSES)),
            addresses: RateLimiter::keyed(Quota::per_minute(GUESSES_BY_ADDRESS)),
        }
    }
}

impl Attempts {
    /// Whether one more guess is allowed now.
    pub(super) fn may_try(&self, name: &str, address: IpAddr) -> bool {
        self.names.retain_recent();
        self.addresses.retain_recent();
        self.names.check_key(&name.to_lowercase()).is_ok()
            && self.addresses.check_key(&address).is_ok()
    }
}

/// Lets a request through to its handler, with its visitor where there is one.
pub(super) async fn guard(
    State((app, access)): State<(Arc<App>, Access)>,
    jar: CookieJar,
    mut request: Request,
    next: Next,
) -> Response {
    let is_api = request.uri().path().starts_with("/api/") || request.uri().path() == "/metrics";
    let visitor = match visitor(&app, &jar, request.headers()).await {
        Ok(visitor) => visitor,
        Err(error) => return Problem::store(&error).answer(is_api),
    };
    let Access::Only(role) = access else {
        request.extensions_mut().insert(visitor);
        return next.run(request).await;
    };
    let Some(visitor) = visitor else {
        return if is_api {
            Problem::new(
                StatusCode::UNAUTHORIZED,
                "sign in with a token: `Authorization: Bearer …`",
            )
            .answer(true)
        } else if request.method() == Method::GET {
            let place = request.uri().path_and_query().map_or("/", |it| it.as_str());
            Redirect::to(&format!("/sign-in?next={}", frame::escaped(place))).into_response()
        } else {
            Redirect::to("/sign-in").into_response()
        };
    };
    if visitor.role < role {
        let needed = format!("this takes the role {role}; {} is {}", visitor.name, visitor.role);
        return Problem::new(StatusCode::FORBIDDEN, needed).answer(is_api);
    }
    if !request.method().is_safe() && !visitor.proof.is_empty() {
        request = match proven(&visitor, request).await {
            Ok(request) => request,
            Err(problem) => return problem.answer(is_api),
        };
    }
    request.extensions_mut().insert(visitor.clone());
    request.extensions_mut().insert(Some(visitor));
    next.run(request).await
}

/// Who a request comes from; `None`: nobody we know.
async fn visitor(
    app: &App,
    jar: &CookieJar,
    headers: &HeaderMap,
) -> Result<Option<Visitor>, StoreError> {
    let bearer = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    if let Some(token) = bearer.and_then(|value| value.strip_prefix("Bearer ")) {
        let token = app.store().api_token(&digest(token.trim())).await?;
        return Ok(token.map(|token| Visitor {
            name: token.name,
            role: token.role,
            proof: String::new(),
        }));
    }
    let Some(cookie) = jar.get(COOKIE) else { return Ok(None) };
    let person = app.store().signed_in(&digest(cookie.value()), app.now()).await?;
    Ok(person.map(|person| Visitor {
        name: person.name,
        role: person.role,
        proof: proof(cookie.value()),
    }))
}

/// What forms of a sign-in carry: derived from its cookie, so that nothing more is kept, and nobody else can make it.
fn proof(cookie: &str) -> String {
    blake3::Hash::from(blake3::derive_key("crmsync 2026 proof of a form", cookie.as_bytes()))
        .to_hex()
        .to_string()
}

/// A request of a browser that changes something must be from one of our own pages.
async fn proven(visitor: &Visitor, request: Request) -> Result<Request, Problem> {
    let foreign = || {
        Problem::new(
            StatusCode::FORBIDDEN,
            "this form is not from a page of this sign-in; go back, reload the page, send it again",
        )
    };
    let (parts, body) = request.into_parts();
    let form = parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if !form.is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded")) {
        return Err(foreign());
    }
    let bytes = to_bytes(body, LARGEST_FORM)
        .await
        .map_err(|_| Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "the form is larger than 1 MB"))?;
    let given = url::form_urlencoded::parse(&bytes).find(|(name, _)| name == PROOF);
    // Hashes compare in constant time.
    let same = given.is_some_and(|(_, given)| {
        blake3::hash(given.as_bytes()) == blake3::hash(visitor.proof.as_bytes())
    });
    if same { Ok(Request::from_parts(parts, Body::from(bytes))) } else { Err(foreign()) }
}

/// Where a request comes from.
pub(super) fn address(request: &ConnectInfo<SocketAddr>) -> IpAddr {
    request.0.ip()
}

/// Whether a form that needs no sign-in was sent by a page of this server, as far as the browser tells.
pub(super) fn is_same_origin(headers: &HeaderMap) -> bool {
    if let Some(site) = headers.get("sec-fetch-site").and_then(|value| value.to_str().ok()) {
        return matches!(site, "same-origin" | "none");
    }
    let text =
        |name| headers.get(name).and_then(|value: &axum::http::HeaderValue| value.to_str().ok());
    let origin = text(ORIGIN).and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
    origin.is_none_or(|origin| text(axum::http::header::HOST) == Some(origin))
}
