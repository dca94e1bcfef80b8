//! Bearer tokens: 256 random bits, shown once and stored as their SHA-256.
//!
//! A plain hash is enough for a secret that cannot be guessed (OWASP ASVS 6.5.2: lookup secrets of 112 bits or more).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::TryRngCore;
use rand::rngs::OsRng;
use secrecy::SecretString;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Random bytes from the operating system.
///
/// # Panics
/// If the operating system has none, because a process that cannot make secrets must not continue.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    OsRng.try_fill_bytes(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

/// A new secret of 256 bits, URL-safe.
pub fn new_secret() -> SecretString {
    SecretString::from(URL_SAFE_NO_PAD.encode(random::<32>()))
}

/// A new password of `length` characters of `[A-Za-z0-9]` (5.95 bits each), which need no quoting anywhere.
pub fn new_password(length: usize) -> SecretString {
    const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut password = String::with_capacity(length);
    while password.len() < length {
        // Bytes of 248 and more are skipped, because they would make the first letters likelier.
        for byte in random::<64>().into_iter().filter(|byte| *byte < 248).take(length - password.len()) {
            password.push(char::from(ALPHABET[usize::from(byte) % 62]));
        }
    }
    SecretString::from(password)
}

/// The digest of a secret, which is stored in place of the secret.
pub fn digest(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

/// Whether a stored digest is that of `secret`, in constant time.
pub fn matches(stored: &[u8], secret: &str) -> bool {
    stored.ct_eq(&digest(secret)).into()
}

/// The form of a user's session token in `user_token.token`. The column also holds tokens of the legacy application,
/// which have no such prefix.
pub fn session_key(token: &str) -> String {
    format!("sha256:{}", hex::encode(digest(token)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    #[test]
    fn a_password_has_the_length_and_the_alphabet() {
        let password = new_password(40);
        let password = password.expose_secret();
        assert_eq!(password.len(), 40);
        assert!(password.bytes().all(|b| b.is_ascii_alphanumeric()));
        assert_ne!(password, new_password(40).expose_secret());
    }

    #[test]
    fn only_the_secret_matches_its_digest() {
        let stored = digest("a");
        assert!(matches(&stored, "a"));
        assert!(!matches(&stored, "b"));
        assert!(!matches(&stored[..31], "a"));
    }
}
