//! Secrets: named in the file, found in the environment or a file of their own, never shown.

use secrecy::SecretString;

/// A secret and where it comes from. It is looked up when the configuration is read, and missed only when it is
/// needed: a command that does not sign in runs without it.
#[derive(Clone, Debug)]
pub struct Secret {
    /// The key that names it, such as `connections.zoho.client_secret`.
    key: String,
    found: Result<SecretString, String>,
}

/// A secret that is needed and not there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {reason}")]
pub struct SecretMissing {
    pub key: String,
    pub reason: String,
}

impl Secret {
    pub fn new(key: impl Into<String>, found: Result<SecretString, String>) -> Self {
        Self { key: key.into(), found }
    }

    /// A secret at hand: simulators and tests.
    pub fn plain(key: impl Into<String>, text: &str) -> Self {
        Self::new(key, Ok(SecretString::from(text)))
    }

    /// The secret itself.
    ///
    /// # Errors
    /// [`SecretMissing`] when the variable is not set or the file cannot be read.
    pub fn reveal(&self) -> Result<&SecretString, SecretMissing> {
        self.found
            .as_ref()
            .map_err(|reason| SecretMissing { key: self.key.clone(), reason: reason.clone() })
    }
}
