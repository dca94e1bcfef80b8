//! The ring of keys. The first key seals; every key opens.

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

/// What a secret is for. Part of the associated data: a sealed text opens for this purpose only.
#[derive(Clone, Copy, Debug)]
pub enum Purpose<'a> {
    /// Password of a tenant's database user.
    TenantPassword {
        /// Whose.
        tenant_id: &'a str,
        /// Which of the tenant's users; it changes with every rotation.
        username: &'a str,
    },
    /// Secret value of a tenant's configuration.
    TenantSetting {
        /// Whose.
        tenant_id: &'a str,
        /// Of which entry.
        key: &'a str,
    },
    /// Key of a backup's data.
    Backup {
        /// Which backup.
        backup_id: &'a str,
        /// SHA-256 of its manifest: who changes a word of it cannot open the key.
        digest: &'a str,
    },
    /// Answer kept for an `Idempotency-Key`.
    Answer {
        /// Whose key.
        actor: &'a str,
        /// The key.
        key: &'a str,
    },
}

/// Why a text could not be sealed or opened. Deliberately says nothing of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CryptoError {
    /// `ENCRYPTION_KEYS` is not `id:base64,id:base64`, each key 32 bytes, each id once, of `[a-z0-9-]`.
    #[error("the key ring must be 'id:base64' pairs separated by commas, each key 32 bytes, each id once")]
    BadRing,
    /// The text is not of the form this program writes.
    #[error("a sealed text is malformed")]
    Malformed,
    /// The key it was sealed with is not in the ring.
    #[error("a sealed text needs a key that is not in the ring")]
    UnknownKey,
    /// Wrong key, wrong purpose or changed text.
    #[error("a sealed text does not open for this purpose")]
    Refused,
    /// The primary key has sealed as much as is safe.
    #[error("the primary key has sealed too much to be safe; see `control-plane keys --help`")]
    Exhausted,
}

/// Keys by id; the first one is the primary. Cheap to clone; keys are wiped from memory when the last clone goes.
#[derive(Clone)]
pub struct KeyRing {
    keys: Arc<Vec<(String, Aes256Gcm)>>,
    count: Arc<Count>,
}

/// Sealings of the primary key.
#[derive(Default)]
struct Count {
    /// Of this process, not told yet.
    untold: AtomicU64,
    /// Of all processes, as last heard.
    told: AtomicU64,
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

    /// Seals `plain` under the primary key, for `purpose` only.
    pub fn seal(&self, purpose: Purpose<'_>, plain: &[u8]) -> Result<String, CryptoError> {
        let sealed = self.count.untold.fetch_add(1, Ordering::Relaxed);
        if self.count.told.load(Ordering::Relaxed).saturating_add(sealed) >= SEALINGS_LIMIT {
            self.count.untold.fetch_sub(1, Ordering::Relaxed);
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

    /// Id of the key that seals.
    pub fn primary_id(&self) -> &str {
        &self.keys[0].0
    }

    /// Ids of all keys, the primary first.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|(id, _)| id.as_str())
    }

    pub(super) fn untold(&self) -> u64 {
        self.count.untold.load(Ordering::Relaxed)
    }

    pub(super) fn has_told(&self, sealed: u64) {
        self.count.untold.fetch_sub(sealed, Ordering::Relaxed);
    }

    pub(super) fn learn_total(&self, total: u64) {
        self.count.told.store(total, Ordering::Relaxed);
    }

    /// Opens what [`KeyRing::seal`] made for the same purpose, under any key of the ring.
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

    /// The key a text was sealed with.
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

/// 1 to 16 of `[a-z0-9-]`: an id stands in sealed texts, between dots.
pub(super) fn id_fits(id: &str) -> bool {
    (1..=16).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// Format, key id and purpose, each with its length, so that no two purposes give the same bytes.
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
    fn opens_for_its_purpose_only() {
        let ring = ring(&format!("k1:{}", key(1))).unwrap();
        let sealed = ring.seal(password("acme", "a"), b"secret").unwrap();
        assert!(sealed.starts_with("v1.k1.") && !sealed.contains("secret"));
        assert_eq!(ring.open(password("acme", "a"), &sealed).unwrap().as_slice(), b"secret");
        for other in [password("acme", "b"), password("acm", "ea"), Purpose::Answer { actor: "acme", key: "a" }] {
            assert_eq!(ring.open(other, &sealed), Err(CryptoError::Refused));
        }
    }

    #[test]
    fn every_changed_byte_is_refused() {
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
    fn malformed_texts_are_named() {
        let ring = ring(&format!("k1:{}", key(1))).unwrap();
        for bad in ["", "v1.k1", "v2.k1.AAAA", "v1.k1.AAAA", "v1.k1.!!"] {
            assert_eq!(ring.open(password("acme", "a"), bad), Err(CryptoError::Malformed), "{bad}");
        }
    }

    #[test]
    fn a_key_that_has_sealed_too_much_seals_no_more_and_still_opens() {
        let ring = ring(&format!("k1:{}", key(1))).unwrap();
        ring.learn_total(SEALINGS_LIMIT - 2);
        let sealed = ring.seal(password("acme", "a"), b"x").unwrap();
        assert!(ring.seal(password("acme", "a"), b"x").is_ok());
        for _ in 0..3 {
            assert_eq!(ring.seal(password("acme", "a"), b"x"), Err(CryptoError::Exhausted));
        }
        assert!(ring.open(password("acme", "a"), &sealed).is_ok());
        assert_eq!(ring.untold(), 2, "refused sealings do not count");
    }

    #[test]
    fn debug_shows_ids_only() {
        let ring = ring(&format!("k1:{}", key(1))).unwrap();
        assert_eq!(format!("{ring:?}"), r#"["k1"]"#);
    }
}
