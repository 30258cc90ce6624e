//! Webhooks: asking a side to post its changes, and reading what it posts.
//!
//! A post is a hint (semantics §11.5): which record to read again, and nothing of what it says about it.

use std::collections::BTreeSet;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use crmsync_core::model::{ModuleName, RecordId};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::{ConnectorError, ErrorKind};

/// A record that changed, says its side.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hint {
    pub module: ModuleName,
    pub id: RecordId,
}

/// What a side is asked to post.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// Changes of these; modules that a side does not post are left to polling.
    pub modules: &'a BTreeSet<ModuleName>,
    /// Where to.
    pub url: &'a Url,
    /// At most 50 characters; comes with each post.
    pub secret: &'a SecretString,
}

/// What arrived.
#[derive(Clone, Copy, Debug)]
pub struct Post<'a> {
    /// The header of this name.
    pub authorization: Option<&'a str>,
    pub body: &'a [u8],
}

/// A side that posts its changes.
#[async_trait]
pub trait Hooks: Send + Sync {
    /// Makes sure that changes are posted; the same wish again does no harm. Answers when to make sure again.
    async fn ensure(&self, wish: &Wish<'_>) -> Result<DateTime<Utc>, ConnectorError>;

    /// Ends all posts to `url`.
    async fn end(&self, url: &Url) -> Result<(), ConnectorError>;

    /// Whether a post carries the secret.
    fn is_genuine(&self, post: &Post<'_>, secret: &SecretString) -> bool;

    /// Reads a post; none for what is no record of a module.
    ///
    /// # Errors
    /// [`ErrorKind::Undecodable`] for anything else than a post of this side.
    fn decode(&self, body: &[u8]) -> Result<Vec<Hint>, ErrorKind>;
}

/// Compares in constant time: hashes do.
pub(super) fn is_secret(given: &str, secret: &SecretString) -> bool {
    blake3::hash(given.as_bytes()) == blake3::hash(secret.expose_secret().as_bytes())
}
