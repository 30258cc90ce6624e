//! Every address with who may use it: the one table, and what guards it.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use axum::http::{HeaderName, HeaderValue, Method};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{MethodRouter, delete, get, post};
use tower_http::catch_panic::CatchPanicLayer;

use super::{
    App, api, auth, conflicts, connections, failures, frame, health, overview, records, runs,
    sign_in, trail, webhook,
};
use crate::store::Role;

/// Bytes of a form or a JSON body.
const LARGEST_BODY: usize = 1_000_000;

/// Who may use an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Everybody,
    /// Those with this role, or one above it.
    Only(Role),
}

/// One address.
pub struct Address {
    pub method: Method,
    pub path: &'static str,
    pub access: Access,
    handler: MethodRouter<Arc<App>>,
}

const VIEWER: Access = Access::Only(Role::Viewer);
const REVIEWER: Access = Access::Only(Role::Reviewer);
const OPERATOR: Access = Access::Only(Role::Operator);

/// The table.
#[rustfmt::skip]
pub fn listing() -> Vec<Address> {
    use Access::Everybody;
    let row = |method, path, access, handler| Address { method, path, access, handler };
    vec![
        row(Method::GET,    "/healthz", Everybody, get(health::alive)),
        row(Method::GET,    "/readyz", Everybody, get(health::ready)),
        row(Method::GET,    "/metrics", VIEWER, get(health::metrics)),
        row(Method::GET,    "/static/{file}", Everybody, get(frame::asset)),
        row(Method::GET,    "/sign-in", Everybody, get(sign_in::form)),
        row(Method::POST,   "/sign-in", Everybody, post(sign_in::sign_in)),
        row(Method::POST,   "/sign-out", VIEWER, post(sign_in::sign_out)),
        row(Method::GET,    "/", VIEWER, get(overview::page)),
        row(Method::POST,   "/routes/{route}/runs", OPERATOR, post(overview::run_now)),
        row(Method::GET,    "/conflicts", VIEWER, get(conflicts::page)),
        row(Method::POST,   "/conflicts", REVIEWER, post(conflicts::decide)),
        row(Method::GET,    "/failures", VIEWER, get(failures::page)),
        row(Method::POST,   "/failures", REVIEWER, post(failures::retry)),
        row(Method::GET,    "/runs", VIEWER, get(runs::page)),
        row(Method::GET,    "/runs/{run}", VIEWER, get(runs::one)),
        row(Method::POST,   "/runs/{run}", OPERATOR, post(runs::review)),
        row(Method::GET,    "/records", VIEWER, get(records::page)),
        row(Method::GET,    "/connections", VIEWER, get(connections::page)),
        row(Method::GET,    "/trail", OPERATOR, get(trail::page)),
        row(Method::GET,    "/webhooks/{connection}", Everybody, get(webhook::probe)),
        row(Method::POST,   "/webhooks/{connection}", Everybody, post(webhook::receive)),
        row(Method::GET,    "/api/v1/openapi.json", Everybody, get(api::openapi)),
        row(Method::GET,    "/api/v1/routes", VIEWER, get(api::routes)),
        row(Method::POST,   "/api/v1/routes/{route}/runs", OPERATOR, post(api::run_now)),
        row(Method::GET,    "/api/v1/runs", VIEWER, get(api::runs)),
        row(Method::GET,    "/api/v1/runs/{run}", VIEWER, get(api::run)),
        row(Method::GET,    "/api/v1/routes/{route}/conflicts", VIEWER, get(api::conflicts)),
        row(Method::POST,   "/api/v1/routes/{route}/conflicts/{row}/decision", REVIEWER, post(api::decide)),
        row(Method::DELETE, "/api/v1/routes/{route}/conflicts/{row}/decision", REVIEWER, delete(api::take_back)),
        row(Method::GET,    "/api/v1/routes/{route}/failures", VIEWER, get(api::failures)),
        row(Method::POST,   "/api/v1/routes/{route}/failures/retry", REVIEWER, post(api::retry)),
        row(Method::GET,    "/api/v1/routes/{route}/records/{entity}/{id}", VIEWER, get(api::record)),
        row(Method::GET,    "/api/v1/trail", OPERATOR, get(api::trail)),
    ]
}

/// Serves the table.
pub fn router(app: Arc<App>) -> Router {
    let mut router = Router::new();
    for Address { path, access, handler, .. } in listing() {
        let guard = middleware::from_fn_with_state((Arc::clone(&app), access), auth::guard);
        router = router.route(path, handler.layer(guard));
    }
    router
        .fallback(frame::not_found)
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .layer(middleware::from_fn(harden))
        .layer(CatchPanicLayer::new())
        .with_state(app)
}

/// What every answer tells the browser: nothing from elsewhere, no frames, no guessing of types, nothing kept.
async fn harden(request: axum::extract::Request, next: Next) -> Response {
    const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; \
                          connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, value| headers.insert(name, HeaderValue::from_static(value));
    set(CONTENT_SECURITY_POLICY, POLICY);
    set(X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(X_FRAME_OPTIONS, "DENY");
    set(REFERRER_POLICY, "same-origin");
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
