//! Bearer tokens: 256 random bits, shown once and stored as their SHA-256.
//!
//! A plain hash is enough for a secret that cannot be guessed (OWASP ASVS 6.5.2: lookup secrets of 112 bits or more).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::TryRngCore;
use rand::rngs::OsRng;
use secrecy::{ExposeSecret, SecretString};
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

/// What every session token of a user begins with.
const SESSION_PREFIX: &str = "usr_";

/// A new session token of a user: a prefix and a secret of 256 bits.
pub fn new_session_token() -> SecretString {
    SecretString::from(format!("{SESSION_PREFIX}{}", new_secret().expose_secret()))
}

/// Whether a text has the form of a session token. No other text is one, so it can be refused without a look-up.
pub fn is_session_token(text: &str) -> bool {
    let secret = text.strip_prefix(SESSION_PREFIX);
    let bytes = secret.filter(|secret| secret.len() == 43).and_then(|secret| URL_SAFE_NO_PAD.decode(secret).ok());
    bytes.is_some_and(|bytes| bytes.len() == 32)
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

/// What `user_token.token` holds for a session token. The column also holds tokens of the legacy application, which
/// have no such prefix.
const STORED_PREFIX: &str = "sha256:";

/// The form of a user's session token in `user_token.token`.
pub fn session_key(token: &str) -> String {
    format!("{STORED_PREFIX}{}", hex::encode(digest(token)))
}

/// A digest from its hex form.
pub fn read_digest(text: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    hex::decode_to_slice(text, &mut digest).ok().map(|()| digest)
}

/// The digest of the session token in `user_token.token`, in hex; `None` for a token of the legacy application.
pub fn stored_digest(session_key: &str) -> Option<&str> {
    session_key.strip_prefix(STORED_PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_has_the_length_and_the_alphabet() {
        let password = new_password(40);
        let password = password.expose_secret();
        assert_eq!(password.len(), 40);
        assert!(password.bytes().all(|b| b.is_ascii_alphanumeric()));
        assert_ne!(password, new_password(40).expose_secret());
    }

    #[test]
    fn only_what_we_issue_has_the_form_of_a_session_token() {
        let token = new_session_token();
        let token = token.expose_secret();
        assert!(is_session_token(token), "{token}");
        let secret = &token[4..];
        for other in ["", "usr_", "x", secret, &token[..46], &format!("{token}A"), &format!("adm_{secret}")] {
            assert!(!is_session_token(other), "{other}");
        }
        for wrong in ["=", "+", "/", ".", " ", "é"] {
            assert!(!is_session_token(&format!("usr_{wrong}{}", &secret[wrong.len()..])), "{wrong}");
        }
        // The last of 43 characters has two unused bits, so only every fourth character is a possible end.
        assert!(!is_session_token(&format!("{}B", &token[..46])));
    }

    #[test]
    fn only_the_secret_matches_its_digest() {
        let stored = digest("a");
        assert!(matches(&stored, "a"));
        assert!(!matches(&stored, "b"));
        assert!(!matches(&stored[..31], "a"));
        let key = session_key("a");
        assert_eq!(stored_digest(&key).and_then(read_digest), Some(stored));
        assert_eq!((stored_digest("a"), read_digest("ab"), read_digest("x")), (None, None, None));
    }
}
