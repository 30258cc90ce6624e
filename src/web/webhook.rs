//! Where both CRMs post what changed.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};

use super::App;
use crate::connectors::hooks::Post;
use crate::service::webhooks::Receipt;

/// Answers whoever probes the address before posting to it.
pub(super) async fn probe() -> &'static str {
    "listening\n"
}

/// Answers once the post is stored; what it leads to comes later.
pub(super) async fn receive(
    State(app): State<Arc<App>>,
    Path(connection): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let authorization = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    match app.webhooks.receive(&connection, &Post { authorization, body: &body }).await {
        Ok(Receipt::Stored(_)) => StatusCode::OK,
        Ok(Receipt::Unknown) => StatusCode::NOT_FOUND,
        Ok(Receipt::NotGenuine) => {
            tracing::warn!(connection, "a post without the secret was refused");
            StatusCode::UNAUTHORIZED
        }
        Ok(Receipt::Unreadable) => {
            tracing::warn!(connection, "a post of another shape was refused");
            StatusCode::BAD_REQUEST
        }
        Err(error) => {
            tracing::error!(connection, "a post is not stored: {error}");
            StatusCode::SERVICE_UNAVAILABLE
        }
    }
}
