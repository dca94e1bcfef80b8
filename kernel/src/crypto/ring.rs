//! [`KeyRing`]: the first key seals, and every key opens.

use super::counts::SEALINGS_LIMIT;
use aes_gcm::aead::{Aead, Generate, Payload};
use aes_gcm::{Aes256Gcm, KeyInit, Nonce};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret, SecretString};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use zeroize::Zeroizing;

const NONCE_BYTES: usize = 12;

/// The purpose of a secret. It is part of the associated data, so a sealed text opens for this purpose only.
#[derive(Clone, Copy, Debug)]
pub enum Purpose<'a> {
    /// The password of a tenant's database user.
    TenantPassword {
        tenant_id: &'a str,
        /// The database user, which changes with every rotation.
        username: &'a str,
    },
    /// A secret value in a tenant's configuration.
    TenantSetting {
        tenant_id: &'a str,
        /// The key of the entry.
        key: &'a str,
    },
    /// The key of a backup's data.
    Backup {
        backup_id: &'a str,
        /// The SHA-256 of its manifest. If anything in the manifest is changed, the key does not open.
        digest: &'a str,
    },
    /// An answer that is stored for an `Idempotency-Key`.
    Answer {
        /// The caller.
        actor: &'a str,
        /// The `Idempotency-Key`.
        key: &'a str,
    },
}

/// Why a text could not be sealed or opened. The message never shows the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CryptoError {
    /// `ENCRYPTION_KEYS` does not have the form `id:base64,id:base64`, with keys of 32 bytes and unique ids of
    /// `[a-z0-9-]`.
    #[error("the key ring must be 'id:base64' pairs separated by commas, each key 32 bytes, each id once")]
    BadRing,
    /// The text does not have the form of a sealed text.
    #[error("a sealed text is malformed")]
    Malformed,
    /// The key that sealed the text is not in the ring.
    #[error("a sealed text needs a key that is not in the ring")]
    UnknownKey,
    /// The key or the purpose is wrong, or the text was changed.
    #[error("a sealed text does not open for this purpose")]
    Refused,
    /// The primary key has sealed as often as is safe.
    #[error("the primary key has sealed too much to be safe; see `control-plane keys --help`")]
    Exhausted,
}

/// The keys by id; the first one is the primary. It is cheap to clone, and the keys are wiped from memory with the last
/// clone.
#[derive(Clone)]
pub struct KeyRing {
    keys: Arc<Vec<(String, Aes256Gcm)>>,
    count: Arc<Count>,
}

/// The sealings of the primary key.
#[derive(Default)]
struct Count {
    /// Sealings of this process that are not reported yet.
    unreported: AtomicU64,
    /// The total over all processes, as last read.
    total: AtomicU64,
}

impl KeyRing {
    /// Parses `id:base64,id:base64`; the first key is the primary.
    pub fn parse(text: &SecretString) -> Result<Self, CryptoError> {
        let mut keys: Vec<(String, Aes256Gcm)> = Vec::new();
        for pair in text.expose_secret().split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let (id, encoded) = pair.split_once(':').ok_or(CryptoError::BadRing)?;
            let key = Zeroizing::new(STANDARD.decode(encoded).map_err(|_| CryptoError::BadRing)?);
            if !id_fits(id) || keys.iter().any(|(known, _)| known == id) {
                return Err(CryptoError::BadRing);
            }
            let cipher = Aes256Gcm::new_from_slice(&key).map_err(|_| CryptoError::BadRing)?;
            keys.push((id.to_owned(), cipher));
        }
        if keys.is_empty() {
            Err(CryptoError::BadRing)
        } else {
            Ok(Self { keys: Arc::new(keys), count: Arc::default() })
        }
    }

    /// Seals `plain` with the primary key, for `purpose` only.
    pub fn seal(&self, purpose: Purpose<'_>, plain: &[u8]) -> Result<String, CryptoError> {
        let sealed = self.count.unreported.fetch_add(1, Ordering::Relaxed);
        if self.count.total.load(Ordering::Relaxed).saturating_add(sealed) >= SEALINGS_LIMIT {
            self.count.unreported.fetch_sub(1, Ordering::Relaxed);
            return Err(CryptoError::Exhausted);
        }
        let (id, cipher) = &self.keys[0];
        let nonce = Nonce::generate();
        let payload = Payload { msg: plain, aad: &associated_data(id, purpose) };
        let sealed = cipher.encrypt(&nonce, payload).expect("AES-GCM seals anything below 64 GiB");
        let mut bytes = nonce.to_vec();
        bytes.extend(sealed);
        Ok(format!("v1.{id}.{}", URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// The id of the key that seals.
    pub fn primary_id(&self) -> &str {
        &self.keys[0].0
    }

    /// The ids of all keys, the primary first.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|(id, _)| id.as_str())
    }

    pub(super) fn unreported(&self) -> u64 {
        self.count.unreported.load(Ordering::Relaxed)
    }

    pub(super) fn has_reported(&self, sealed: u64) {
        self.count.unreported.fetch_sub(sealed, Ordering::Relaxed);
    }

    pub(super) fn learn_total(&self, total: u64) {
        self.count.total.store(total, Ordering::Relaxed);
    }

    /// Opens a text that [`KeyRing::seal`] made for the same purpose, with any key of the ring.
    pub fn open(&self, purpose: Purpose<'_>, sealed: &str) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        let mut parts = sealed.splitn(3, '.');
        let (Some("v1"), Some(id), Some(encoded)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(CryptoError::Malformed);
        };
        let bytes = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| CryptoError::Malformed)?;
        let (nonce, body) = bytes.split_at_checked(NONCE_BYTES).ok_or(CryptoError::Malformed)?;
        let nonce = Nonce::try_from(nonce).map_err(|_| CryptoError::Malformed)?;
        let (_, cipher) = self.keys.iter().find(|(known, _)| known == id).ok_or(CryptoError::UnknownKey)?;
        let payload = Payload { msg: body, aad: &associated_data(id, purpose) };
        cipher.decrypt(&nonce, payload).map(Zeroizing::new).map_err(|_| CryptoError::Refused)
    }

    /// The id of the key that sealed a text.
    pub fn id_in(sealed: &str) -> Option<&str> {
        sealed.strip_prefix("v1.")?.split_once('.').map(|(id, _)| id)
    }

    /// Opens a sealed text that is UTF-8.
    pub fn open_text(&self, purpose: Purpose<'_>, sealed: &str) -> Result<SecretString, CryptoError> {
        let plain = self.open(purpose, sealed)?;
        std::str::from_utf8(&plain).map(SecretString::from).map_err(|_| CryptoError::Malformed)
    }
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|(id, _)| id)).finish()
    }
}

/// Whether an id has 1 to 16 characters of `[a-z0-9-]`. In sealed texts it stands between dots.
pub(super) fn id_fits(id: &str) -> bool {
    (1..=16).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// The format, the key id and the purpose, each with its length, so that no two purposes give the same bytes.
fn associated_data(key_id: &str, purpose: Purpose<'_>) -> Vec<u8> {
    let parts = match purpose {
        Purpose::TenantPassword { tenant_id, username } => ["tenant-password", tenant_id, username],
        Purpose::TenantSetting { tenant_id, key } => ["tenant-setting", tenant_id, key],
        Purpose::Backup { backup_id, digest } => ["backup", backup_id, digest],
        Purpose::Answer { actor, key } => ["answer", actor, key],
    };
    let mut bytes = Vec::new();
    for part in ["v1", key_id].iter().chain(&parts) {
        bytes.extend((part.len() as u32).to_be_bytes());
        bytes.extend(part.as_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(text: &str) -> Result<KeyRing, CryptoError> {
        KeyRing::parse(&SecretString::from(text))
    }

    fn key(byte: u8) -> String {
        STANDARD.encode([byte; 32])
    }

    fn password<'a>(tenant_id: &'a str, username: &'a str) -> Purpose<'a> {
        Purpose::TenantPassword { tenant_id, username }
    }

    #[test]
    fn a_sealed_text_opens_for_its_purpose_only() {
        let ring = ring(&format!("k1:{}", key(1))).unwrap();
        let sealed = ring.seal(password("acme", "a"), b"secret").unwrap();
        assert!(sealed.starts_with("v1.k1.") && !sealed.contains("secret"));
        assert_eq!(ring.open(password("acme", "a"), &sealed).unwrap().as_slice(), b"secret");
        for other in [password("acme", "b"), password("acm", "ea"), Purpose::Answer { actor: "acme", key: "a" }] {
            assert_eq!(ring.open(other, &sealed), Err(CryptoError::Refused));
        }
    }

    #[test]
    fn a_changed_byte_is_refused() {
        let ring = ring(&format!("k1:{}", key(1))).unwrap();
        let sealed = ring.seal(password("acme", "a"), b"secret").unwrap();
        let bytes = URL_SAFE_NO_PAD.decode(sealed.rsplit('.').next().unwrap()).unwrap();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let changed = format!("v1.k1.{}", URL_SAFE_NO_PAD.encode(changed));
            assert_eq!(ring.open(password("acme", "a"), &changed), Err(CryptoError::Refused));
        }
    }

    #[test]
    fn the_first_key_seals_and_every_key_opens() {
        let old = ring(&format!("k1:{}", key(1))).unwrap();
        let both = ring(&format!("k2:{},k1:{}", key(2), key(1))).unwrap();
        let new = ring(&format!("k2:{}", key(2))).unwrap();
        let sealed_old = old.seal(password("acme", "a"), b"x").unwrap();
        let sealed_new = both.seal(password("acme", "a"), b"x").unwrap();
        assert!(sealed_new.starts_with("v1.k2."));
        assert!(both.open(password("acme", "a"), &sealed_old).is_ok());
        assert!(new.open(password("acme", "a"), &sealed_new).is_ok());
        assert_eq!(new.open(password("acme", "a"), &sealed_old), Err(CryptoError::UnknownKey));
    }

    #[test]
    fn a_bad_ring_is_refused() {
        let twice = format!("k1:{},k1:{}", key(1), key(2));
        for bad in ["", "k1", "k1:short", "k1:AAAA", "K1:x", &format!(":{}", key(1)), &twice] {
            assert_eq!(ring(bad).err(), Some(CryptoError::BadRing), "{bad}");
        }
    }

    #[test]
    fn a_malformed_text_is_refused_as_such() {
        let ring = ring(&format!("k1:{}", key(1))).unwrap();
        for bad in ["", "v1.k1", "v2.k1.AAAA", "v1.k1.AAAA", "v1.k1.!!"] {
            assert_eq!(ring.open(password("acme", "a"), bad), Err(CryptoError::Malformed), "{bad}");
        }
    }

    #[test]
    fn an_exhausted_key_seals_no_more_but_still_opens() {
        let ring = ring(&format!("k1:{}", key(1))).unwrap();
        ring.learn_total(SEALINGS_LIMIT - 2);
        let sealed = ring.seal(password("acme", "a"), b"x").unwrap();
        assert!(ring.seal(password("acme", "a"), b"x").is_ok());
        for _ in 0..3 {
            assert_eq!(ring.seal(password("acme", "a"), b"x"), Err(CryptoError::Exhausted));
        }
        assert!(ring.open(password("acme", "a"), &sealed).is_ok());
        assert_eq!(ring.unreported(), 2, "refused sealings do not count");
    }

    #[test]
    fn debug_output_shows_ids_only() {
        let ring = ring(&format!("k1:{}", key(1))).unwrap();
        assert_eq!(format!("{ring:?}"), r#"["k1"]"#);
    }
}
