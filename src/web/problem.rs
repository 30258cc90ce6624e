//! What went wrong, for people as a page and for programs as problem+json (RFC 9457).

use askama::Template;
use axum::http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use serde_json::json;

use crate::service::ServiceError;
use crate::store::StoreError;

/// A request that was not done.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    pub(super) status: StatusCode,
    /// What, why, and what to do next.
    pub(super) detail: String,
}

#[derive(Template)]
#[template(path = "web/problem.html")]
struct Page<'a> {
    title: &'a str,
    detail: &'a str,
}

impl Problem {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into() }
    }

    pub(super) fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("there is no {what}"))
    }

    pub(super) fn refused(why: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, why)
    }

    pub(super) fn store(error: &StoreError) -> Self {
        tracing::error!("the store failed a request: {error}");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
    }

    /// As a page, or for a program.
    pub(super) fn answer(&self, is_api: bool) -> Response {
        let title = self.status.canonical_reason().unwrap_or("Problem");
        let mut response = if is_api {
            let body = json!({
                "type": "about:blank", "title": title,
                "status": self.status.as_u16(), "detail": self.detail,
            });
            let kind = (CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
            (self.status, [kind], body.to_string()).into_response()
        } else {
            let page = Page { title, detail: &self.detail }.render().unwrap_or_default();
            (self.status, Html(page)).into_response()
        };
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        self.answer(false)
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        Self::store(&error)
    }
}

impl From<ServiceError> for Problem {
    fn from(error: ServiceError) -> Self {
        tracing::error!("a request failed: {error}");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
    }
}

/// The same for programs.
pub(super) struct ApiProblem(pub(super) Problem);

impl IntoResponse for ApiProblem {
    fn into_response(self) -> Response {
        self.0.answer(true)
    }
}

impl<E: Into<Problem>> From<E> for ApiProblem {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}
