//! Secrets at rest: sealed with XChaCha20-Poly1305 under the key that the store was given.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use sea_orm::EntityTrait;
use secrecy::{ExposeSecret, SecretString};

use super::route::upsert;
use super::tables::secret;
use super::{Store, StoreError};

const NONCE: usize = 24;

impl Store {
    /// Seals a secret and keeps it under `name`.
    ///
    /// # Errors
    /// [`StoreError::Sealed`] without a key, or when the store cannot be written.
    pub async fn save_secret(&self, name: &str, plain: &SecretString) -> Result<(), StoreError> {
        let key = self.key.ok_or_else(|| locked(name, "no key was given"))?;
        let sealed = seal(&key, name, plain.expose_secret())
            .ok_or_else(|| locked(name, "it cannot be sealed"))?;
        let row = secret::Model { name: name.to_owned(), sealed };
        let tx = self.begin().await?;
        upsert(&tx, vec![row], &[secret::Column::Name], &[secret::Column::Sealed]).await?;
        Ok(tx.commit().await?)
    }

    /// Opens the secret kept under `name`.
    ///
    /// # Errors
    /// [`StoreError::Sealed`] without the key it was sealed with, or when it was tampered with.
    pub async fn load_secret(&self, name: &str) -> Result<Option<SecretString>, StoreError> {
        let Some(row) = secret::Entity::find_by_id(name).one(&self.pools.reader).await? else {
            return Ok(None);
        };
        let key = self.key.ok_or_else(|| locked(name, "no key was given"))?;
        let opened = open(&key, name, &row.sealed)
            .ok_or_else(|| locked(name, "this key does not open it"))?;
        Ok(Some(SecretString::from(opened)))
    }

    /// Seals every secret anew with `next`, all or none. Those that are sealed with it already stay. Answers how
    /// many there are.
    ///
    /// # Errors
    /// [`StoreError::Sealed`] when one opens with neither key, or when the store cannot be written.
    pub async fn rotate_key(&self, next: &[u8; 32]) -> Result<usize, StoreError> {
        let rows = secret::Entity::find().all(&self.pools.reader).await?;
        let anew = |row: secret::Model| {
            let name = row.name.as_str();
            let known = self.key.and_then(|key| open(&key, name, &row.sealed));
            let plain = known.or_else(|| open(next, name, &row.sealed));
            let plain = plain.ok_or_else(|| locked(name, "neither key opens it"))?;
            let sealed =
                seal(next, name, &plain).ok_or_else(|| locked(name, "it cannot be sealed"))?;
            Ok(secret::Model { sealed, ..row })
        };
        let rows = rows.into_iter().map(anew).collect::<Result<Vec<_>, StoreError>>()?;
        let count = rows.len();
        if count > 0 {
            let tx = self.begin().await?;
            upsert(&tx, rows, &[secret::Column::Name], &[secret::Column::Sealed]).await?;
            tx.commit().await?;
        }
        Ok(count)
    }
}

fn locked(name: &str, why: &str) -> StoreError {
    StoreError::Sealed(name.to_owned(), why.to_owned())
}

/// The nonce is a keyed hash of name and text: no two messages share one, and nothing random is needed.
fn seal(key: &[u8; 32], name: &str, plain: &str) -> Option<String> {
    let nonce_key = blake3::derive_key("crmsync 2026 store secret nonce", key);
    let mut hasher = blake3::Hasher::new_keyed(&nonce_key);
    hasher.update(&(name.len() as u64).to_le_bytes()).update(name.as_bytes());
    hasher.update(plain.as_bytes());
    let mut nonce = [0; NONCE];
    nonce.copy_from_slice(&hasher.finalize().as_bytes()[..NONCE]);
    let message = Payload { msg: plain.as_bytes(), aad: name.as_bytes() };
    let sealed = cipher(key).encrypt(&XNonce::from(nonce), message).ok()?;
    Some(STANDARD.encode([nonce.as_slice(), &sealed].concat()))
}

fn open(key: &[u8; 32], name: &str, sealed: &str) -> Option<String> {
    let bytes = STANDARD.decode(sealed).ok()?;
    let (nonce, sealed) = bytes.split_first_chunk::<NONCE>()?;
    let message = Payload { msg: sealed, aad: name.as_bytes() };
    let plain = cipher(key).decrypt(&XNonce::from(*nonce), message).ok()?;
    String::from_utf8(plain).ok()
}

fn cipher(key: &[u8; 32]) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(&Key::from(*key))
}
