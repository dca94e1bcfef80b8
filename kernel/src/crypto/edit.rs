//! [`RingText`]: edits the text of `ENCRYPTION_KEYS` when keys change.
//!
//! The ring is only in the environment of the processes. A command can therefore only print the next text, and the
//! operator puts it in place.

use super::{CryptoError, KeyRing};
use crate::crypto::tokens;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};

/// Why a ring was not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// The id is not 1 to 16 characters of `[a-z0-9-]`.
    #[error("the id of a key has 1 to 16 characters of a-z, 0-9 and -")]
    BadId,
    /// The ring already has a key with this id.
    #[error("the ring already has a key with this id")]
    Present,
    /// The ring has no key with this id.
    #[error("the ring has no key with this id")]
    Absent,
    /// The key is the one that seals.
    #[error("this key is the primary one; promote another first")]
    Primary,
}

/// Keys by id, as text, the primary first.
pub struct RingText {
    pairs: Vec<(String, SecretString)>,
}

impl RingText {
    /// Reads what [`KeyRing::parse`] reads.
    pub fn parse(text: &SecretString) -> Result<Self, CryptoError> {
        KeyRing::parse(text)?;
        let pairs = text.expose_secret().split(',').filter_map(|pair| pair.trim().split_once(':'));
        Ok(Self { pairs: pairs.map(|(id, key)| (id.to_owned(), SecretString::from(key))).collect() })
    }

    /// Appends a new key, which opens texts but does not seal yet.
    pub fn add(&mut self, id: &str) -> Result<(), EditError> {
        if !super::ring::id_fits(id) {
            return Err(EditError::BadId);
        }
        if self.index_of(id).is_ok() {
            return Err(EditError::Present);
        }
        self.pairs.push((id.to_owned(), SecretString::from(STANDARD.encode(tokens::random::<32>()))));
        Ok(())
    }

    /// Makes a key the primary one, which seals.
    pub fn promote(&mut self, id: &str) -> Result<(), EditError> {
        let index = self.index_of(id)?;
        self.pairs[..=index].rotate_right(1);
        Ok(())
    }

    /// Removes a key that is not the primary one.
    pub fn retire(&mut self, id: &str) -> Result<(), EditError> {
        match self.index_of(id)? {
            0 => Err(EditError::Primary),
            index => {
                self.pairs.remove(index);
                Ok(())
            }
        }
    }

    /// The value of `ENCRYPTION_KEYS`.
    pub fn text(&self) -> SecretString {
        let pairs: Vec<String> = self.pairs.iter().map(|(id, key)| format!("{id}:{}", key.expose_secret())).collect();
        SecretString::from(pairs.join(","))
    }

    fn index_of(&self, id: &str) -> Result<usize, EditError> {
        self.pairs.iter().position(|(known, _)| known == id).ok_or(EditError::Absent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(ring: &RingText) -> Vec<String> {
        KeyRing::parse(&ring.text()).unwrap().ids().map(str::to_owned).collect()
    }

    #[test]
    fn a_key_is_added_promoted_and_retires_the_old_one() {
        let first = SecretString::from(format!("k1:{}", STANDARD.encode([1; 32])));
        let mut ring = RingText::parse(&first).unwrap();
        ring.add("k2").unwrap();
        ring.add("k3").unwrap();
        assert_eq!(ids(&ring), ["k1", "k2", "k3"]);
        assert!(ring.text().expose_secret().starts_with(&format!("{},k2:", first.expose_secret())));
        ring.promote("k3").unwrap();
        assert_eq!(ids(&ring), ["k3", "k1", "k2"]);
        assert_eq!(ring.retire("k3"), Err(EditError::Primary));
        ring.retire("k1").unwrap();
        ring.promote("k3").unwrap();
        assert_eq!(ids(&ring), ["k3", "k2"]);
        for bad in ["", "K4", "k_4", "a-name-of-17-bytes", "k:4", "k,4"] {
            assert_eq!(ring.add(bad), Err(EditError::BadId), "{bad}");
        }
        assert_eq!(ring.add("k2"), Err(EditError::Present));
        assert_eq!((ring.promote("k1"), ring.retire("k1")), (Err(EditError::Absent), Err(EditError::Absent)));
    }
}
