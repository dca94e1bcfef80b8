//! Bearer tokens: 256 random bits, shown once, kept as SHA-256.
//!
//! A plain hash is enough for what cannot be guessed (OWASP ASVS 6.5.2: lookup secrets of 112 bits or more).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::TryRngCore;
use rand::rngs::OsRng;
use secrecy::SecretString;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Random bytes of the operating system.
///
/// # Panics
/// When the operating system has none to give; a process that cannot make secrets must not go on.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    OsRng.try_fill_bytes(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

/// A new secret of 256 bits, URL-safe.
pub fn new_secret() -> SecretString {
    SecretString::from(URL_SAFE_NO_PAD.encode(random::<32>()))
}

/// A new password of `length` characters of `[A-Za-z0-9]` (5.95 bits each): it needs quoting nowhere.
pub fn new_password(length: usize) -> SecretString {
    const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut password = String::with_capacity(length);
    while password.len() < length {
        // Bytes of 248 and more would make the first letters likelier.
        for byte in random::<64>().into_iter().filter(|byte| *byte < 248).take(length - password.len()) {
            password.push(char::from(ALPHABET[usize::from(byte) % 62]));
        }
    }
    SecretString::from(password)
}

/// What is kept of a secret.
pub fn digest(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

/// Whether a kept hash is that of `secret`, in constant time.
pub fn matches(kept: &[u8], secret: &str) -> bool {
    kept.ct_eq(&digest(secret)).into()
}

/// How a user's session token stands in `user_token.token`: the column also holds the legacy's own tokens, which have
/// no such prefix.
pub fn session_key(token: &str) -> String {
    format!("sha256:{}", hex::encode(digest(token)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    #[test]
    fn passwords_have_the_length_and_alphabet() {
        let password = new_password(40);
        let password = password.expose_secret();
        assert_eq!(password.len(), 40);
        assert!(password.bytes().all(|b| b.is_ascii_alphanumeric()));
        assert_ne!(password, new_password(40).expose_secret());
    }

    #[test]
    fn only_the_secret_matches_its_digest() {
        let kept = digest("a");
        assert!(matches(&kept, "a"));
        assert!(!matches(&kept, "b"));
        assert!(!matches(&kept[..31], "a"));
    }
}
