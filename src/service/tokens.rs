//! Access tokens between processes: sealed in the store, since Zoho makes ten in ten minutes.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use url::Url;

use super::connect::refresh_token_name;
use crate::connectors::oauth::{StoredToken, TokenStore};
use crate::store::Store;

/// Keeps the access token of one connection in the store.
pub(super) struct SealedTokens {
    store: Store,
    /// The secret's name.
    name: String,
    /// The same of the refresh token.
    refresh_name: String,
    /// Hash of what the token was made from: after another sign-in it is not used any more.
    origin: String,
}

impl SealedTokens {
    pub(super) fn new(
        store: &Store,
        connection: &str,
        client_id: &str,
        refresh_token: &SecretString,
    ) -> Self {
        let origin = format!("{client_id}\n{}", refresh_token.expose_secret());
        Self {
            store: store.clone(),
            name: format!("{connection}.access_token"),
            refresh_name: refresh_token_name(connection),
            origin: blake3::hash(origin.as_bytes()).to_hex()[..32].to_owned(),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Kept {
    origin: String,
    access: String,
    api_domain: Url,
    expires_at: DateTime<Utc>,
}

#[async_trait]
impl TokenStore for SealedTokens {
    /// What cannot be opened or read is as good as absent: a new token is made then.
    async fn load(&self) -> Option<StoredToken> {
        let sealed = self.store.load_secret(&self.name).await;
        let text = sealed.inspect_err(|error| tracing::debug!("no kept token: {error}")).ok()??;
        let kept: Kept = serde_json::from_str(text.expose_secret()).ok()?;
        (kept.origin == self.origin).then(|| StoredToken {
            access: SecretString::from(kept.access),
            api_domain: kept.api_domain,
            expires_at: kept.expires_at,
        })
    }

    async fn save(&self, token: StoredToken) {
        let kept = Kept {
            origin: self.origin.clone(),
            access: token.access.expose_secret().to_owned(),
            api_domain: token.api_domain,
            expires_at: token.expires_at,
        };
        let Ok(text) = serde_json::to_string(&kept) else { return };
        if let Err(error) = self.store.save_secret(&self.name, &SecretString::from(text)).await {
            tracing::debug!("the access token is not kept: {error}");
        }
    }

    async fn save_refresh(&self, token: &SecretString) {
        if let Err(error) = self.store.save_secret(&self.refresh_name, token).await {
            tracing::warn!("the new refresh token is not kept: {error}");
        }
    }
}
