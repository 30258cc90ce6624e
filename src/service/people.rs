//! Passwords, sign-ins and tokens: what is kept of them opens nothing.

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};

use super::error::ServiceError;

/// Shorter ones are guessed.
pub const SHORTEST_PASSWORD: usize = 10;
/// Longer ones only cost time to hash.
const LONGEST_PASSWORD: usize = 1_024;
/// How a token begins, so that people and scanners recognize one.
const TOKEN: &str = "crmsync_";

/// Hashes a password with Argon2id.
///
/// # Errors
/// A sentence for a person: it is too short or too long.
pub fn hash_password(password: &str, salt: &[u8; 32]) -> Result<String, ServiceError> {
    let length = password.chars().count();
    if length < SHORTEST_PASSWORD || password.len() > LONGEST_PASSWORD {
        return Err(ServiceError::Config(format!(
            "a password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters; this one has {length}"
        )));
    }
    let hash = Argon2::default().hash_password_with_salt(password.as_bytes(), &salt[..16]);
    let hash = hash
        .map_err(|error| ServiceError::Config(format!("the password cannot be hashed: {error}")))?;
    Ok(hash.to_string())
}

/// Whether a password is the one that was hashed. Takes some tens of milliseconds of a core, as it should.
pub fn is_password(password: &str, hash: &str) -> bool {
    let Ok(hash) = PasswordHash::new(hash) else { return false };
    password.len() <= LONGEST_PASSWORD
        && Argon2::default().verify_password(password.as_bytes(), &hash).is_ok()
}

/// A token that nobody can guess, from 32 random bytes.
pub fn new_token(random: &[u8; 32]) -> String {
    format!("{TOKEN}{}", blake3::hash(random).to_hex())
}

/// What the store keeps of a token or a cookie.
pub fn digest(secret: &str) -> String {
    blake3::hash(secret.as_bytes()).to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_a_password_when_hashed_then_it_alone_opens() {
        let hash = hash_password("correct horse", &[7; 32]).expect("long enough");

        assert!(is_password("correct horse", &hash));
        assert!(!is_password("correct house", &hash));
        assert!(!is_password("correct horse", "no hash"));
        assert!(!hash.contains("correct"));
    }

    #[test]
    fn given_a_short_password_when_hashed_then_it_is_refused() {
        assert!(hash_password("short", &[7; 32]).is_err());
        assert!(hash_password(&"x".repeat(2_000), &[7; 32]).is_err());
    }
}
