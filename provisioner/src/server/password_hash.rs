//! Hashes of passwords in the form that the servers store, so that no statement and no log of statements holds a
//! password.
//!
//! MariaDB's `mysql_native_password` has no salt, which matters for passwords that people choose and not for 238 random
//! bits. MySQL's `caching_sha2_password` stores `$A$005$`, a salt of 20 characters and the digest of SHA-256 crypt
//! (Ulrich Drepper's "Unix crypt using SHA-256 and SHA-512") with 5000 rounds. The crates for that scheme cut a salt
//! after 16 characters, as the original does; MySQL does not.

use super::Dialect;
use rand::Rng;
use rand::distr::Alphanumeric;
use secrecy::{ExposeSecret, SecretString};
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// What a hash of `caching_sha2_password` begins with: the digest's kind, and the rounds in thousands.
const SHA2_PREFIX: &str = "$A$005$";
const SHA2_ROUNDS: usize = 5000;
const SALT_CHARS: usize = 20;

/// The authentication plugin of tenants' accounts.
pub fn plugin(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::MariaDb => "mysql_native_password",
        Dialect::MySql => "caching_sha2_password",
    }
}

/// The hash that the server gets instead of the password. It is printable ASCII without quotes.
pub fn hash(dialect: Dialect, password: &SecretString) -> String {
    match dialect {
        Dialect::MariaDb => native(password),
        Dialect::MySql => {
            let salt: String = rand::rng().sample_iter(Alphanumeric).take(SALT_CHARS).map(char::from).collect();
            String::from_utf8_lossy(&sha2_bytes(password, salt.as_bytes())).into_owned()
        }
    }
}

/// Whether `stored`, the hash on the server, is that of this password.
pub fn is_of(dialect: Dialect, stored: &[u8], password: &SecretString) -> bool {
    match dialect {
        Dialect::MariaDb => stored == native(password).as_bytes(),
        Dialect::MySql => {
            let salt = stored.strip_prefix(SHA2_PREFIX.as_bytes()).and_then(|rest| rest.get(..SALT_CHARS));
            // The server's own salts are any bytes but 0 and `$`.
            salt.is_some_and(|salt| sha2_bytes(password, salt) == stored)
        }
    }
}

/// `*` and SHA1(SHA1(password)) in upper case.
fn native(password: &SecretString) -> String {
    let once = Sha1::digest(password.expose_secret().as_bytes());
    format!("*{}", hex::encode_upper(Sha1::digest(once)))
}

fn sha2_bytes(password: &SecretString, salt: &[u8]) -> Vec<u8> {
    let digest = sha256_crypt(password.expose_secret().as_bytes(), salt);
    [SHA2_PREFIX.as_bytes(), salt, &encode(&digest)].concat()
}

/// SHA-256 crypt. The variables have the names of its description.
fn sha256_crypt(password: &[u8], salt: &[u8]) -> [u8; 32] {
    let digest =
        |parts: &[&[u8]]| -> [u8; 32] { parts.iter().fold(Sha256::new(), |h, p| h.chain_update(p)).finalize().into() };
    let b = digest(&[password, salt, password]);
    let mut hash = Sha256::new().chain_update(password).chain_update(salt).chain_update(repeated(&b, password.len()));
    let mut bits = password.len();
    while bits > 0 {
        hash.update(if bits & 1 == 1 { &b[..] } else { password });
        bits >>= 1;
    }
    let mut a: [u8; 32] = hash.finalize().into();
    let p = repeated(&digest(&vec![password; password.len()]), password.len());
    let s = repeated(&digest(&vec![salt; 16 + usize::from(a[0])]), salt.len());
    for round in 0..SHA2_ROUNDS {
        let odd = round % 2 == 1;
        let mut parts: Vec<&[u8]> = vec![if odd { &p } else { &a }];
        if round % 3 != 0 {
            parts.push(&s);
        }
        if round % 7 != 0 {
            parts.push(&p);
        }
        parts.push(if odd { &a } else { &p });
        a = digest(&parts);
    }
    a
}

fn repeated(digest: &[u8; 32], length: usize) -> Vec<u8> {
    digest.iter().copied().cycle().take(length).collect()
}

/// The base 64 of crypt: three bytes, in an order of its own, become four letters.
fn encode(digest: &[u8; 32]) -> Vec<u8> {
    const LETTERS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut text = Vec::with_capacity(43);
    let mut push = |mut value: u32, letters: usize| {
        for _ in 0..letters {
            text.push(LETTERS[(value & 63) as usize]);
            value >>= 6;
        }
    };
    let (mut x, mut y, mut z) = (0, 10, 20);
    for _ in 0..10 {
        push(u32::from(digest[x]) << 16 | u32::from(digest[y]) << 8 | u32::from(digest[z]), 4);
        (x, y, z) = (z + 1, x + 1, y + 1);
    }
    push(u32::from(digest[31]) << 8 | u32::from(digest[30]), 3);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_native_hash_equals_that_of_a_server() {
        // SELECT PASSWORD('password') of any MariaDB.
        let password = SecretString::from("password");
        assert_eq!(hash(Dialect::MariaDb, &password), "*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19");
        assert!(is_of(Dialect::MariaDb, b"*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19", &password));
    }

    #[test]
    fn sha256_crypt_equals_crypt_3() {
        // crypt(3), with salts of at most 16 characters.
        for (password, salt, text) in [
            ("Hello world!", "saltstring", "5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5"),
            (&"x".repeat(40), "0123456789abcdef", "G2AKdBKKJGIxQFQTxhO.l66USrR8/UsdAP501SeAxW3"),
            ("Wx", "0123456789abcdef", "hN5lVXRO6Zj153xIf7RVYmQgClIerHGFq0O6AgxGMn/"),
        ] {
            assert_eq!(encode(&sha256_crypt(password.as_bytes(), salt.as_bytes())), text.as_bytes());
        }
    }

    #[test]
    fn a_hash_matches_its_own_password_only() {
        let (password, other) = (SecretString::from("x".repeat(40)), SecretString::from("y".repeat(40)));
        for dialect in [Dialect::MariaDb, Dialect::MySql] {
            let stored = hash(dialect, &password);
            assert!(is_of(dialect, stored.as_bytes(), &password) && !is_of(dialect, stored.as_bytes(), &other));
            assert!(kernel::database::sql::literal(&stored).is_ok());
        }
        let stored = hash(Dialect::MySql, &password);
        assert_eq!((stored.len(), stored.starts_with(SHA2_PREFIX)), (70, true));
        for broken in ["", "$A$005$", "$A$005$short"] {
            assert!(!is_of(Dialect::MySql, broken.as_bytes(), &password));
        }
    }
}
