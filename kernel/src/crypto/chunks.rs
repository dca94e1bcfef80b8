//! [`Chunks`] seals a long stream in chunks, under a key of its own.
//!
//! **Guarantees.** Every chunk is sealed with AES-256-GCM. Its number, whether it is the last one, and the subject of
//! the stream are associated data. So a stream that was cut, extended, joined from two others or reordered does not
//! open, and everything that was read before the wrong chunk is exactly what was written. A [`DataKey`] seals one
//! stream only, because its nonces are the numbers of the chunks.
//!
//! Every chunk has [`CHUNK`] bytes, and the last one at most as many. A sealed chunk is [`TAG`] bytes longer. There is
//! nothing between them.

use super::CryptoError;
use crate::crypto::tokens;
use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit, Nonce};
use zeroize::Zeroizing;

/// Plain bytes of every chunk but the last.
pub const CHUNK: usize = 256 * 1024;

/// Bytes that sealing adds to a chunk.
pub const TAG: usize = 16;

/// A key for one stream. It is itself sealed by the key ring ([`super::Purpose::Backup`]).
pub struct DataKey(Zeroizing<Vec<u8>>);

impl DataKey {
    /// A new random key.
    pub fn generate() -> Self {
        Self(Zeroizing::new(tokens::random::<32>().to_vec()))
    }

    /// A key that was stored sealed and has been opened.
    pub fn from_bytes(bytes: Zeroizing<Vec<u8>>) -> Result<Self, CryptoError> {
        if bytes.len() == 32 { Ok(Self(bytes)) } else { Err(CryptoError::Malformed) }
    }

    /// The bytes of the key, which the key ring seals.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Seals or opens the chunks of one stream, in their order.
pub struct Chunks {
    cipher: Aes256Gcm,
    subject: String,
    next: u64,
}

impl Chunks {
    /// The chunks of the stream with the name `subject`.
    pub fn new(key: &DataKey, subject: &str) -> Self {
        let cipher = Aes256Gcm::new_from_slice(key.bytes()).expect("a data key has 32 bytes");
        Self { cipher, subject: subject.to_owned(), next: 0 }
    }

    /// The number of the next chunk, counted from 0.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Seals the next chunk.
    pub fn seal(&mut self, plain: &[u8], last: bool) -> Vec<u8> {
        let (nonce, aad) = self.about(last);
        let sealed = self.cipher.encrypt(&nonce, Payload { msg: plain, aad: &aad });
        self.next += 1;
        sealed.expect("AES-GCM seals anything below 64 GiB")
    }

    /// Opens the next chunk.
    pub fn open(&mut self, sealed: &[u8], last: bool) -> Result<Vec<u8>, CryptoError> {
        let (nonce, aad) = self.about(last);
        let plain = self.cipher.decrypt(&nonce, Payload { msg: sealed, aad: &aad });
        self.next += 1;
        plain.map_err(|_| CryptoError::Refused)
    }

    fn about(&self, last: bool) -> (aes_gcm::Nonce<<Aes256Gcm as aes_gcm::AeadCore>::NonceSize>, Vec<u8>) {
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&self.next.to_be_bytes());
        let mut aad = b"chunk-v1".to_vec();
        aad.extend((self.subject.len() as u32).to_be_bytes());
        aad.extend(self.subject.as_bytes());
        aad.extend(self.next.to_be_bytes());
        aad.push(u8::from(last));
        (Nonce::from(nonce), aad)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(key: &DataKey, chunks: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut stream = Chunks::new(key, "a");
        let last = chunks.len() - 1;
        chunks.iter().enumerate().map(|(number, chunk)| stream.seal(chunk, number == last)).collect()
    }

    fn open(key: &DataKey, subject: &str, chunks: &[Vec<u8>]) -> Result<Vec<u8>, (u64, CryptoError)> {
        let mut stream = Chunks::new(key, subject);
        let mut plain = Vec::new();
        for (number, chunk) in chunks.iter().enumerate() {
            let at = stream.next();
            plain.extend(stream.open(chunk, number == chunks.len() - 1).map_err(|error| (at, error))?);
        }
        Ok(plain)
    }

    #[test]
    fn a_stream_opens_only_complete_and_in_order() {
        let key = DataKey::generate();
        let chunks = sealed(&key, &[b"one", b"two", b"three"]);
        assert_eq!(open(&key, "a", &chunks).unwrap(), b"onetwothree");
        assert_eq!(chunks[0].len(), 3 + TAG);
        let refused = |chunks: &[Vec<u8>], at| assert_eq!(open(&key, "a", chunks), Err((at, CryptoError::Refused)));
        refused(&chunks[..2], 1);
        refused(&chunks[1..], 0);
        let [one, two, three] = [0, 1, 2].map(|number: usize| chunks[number].clone());
        refused(&[two.clone(), one.clone(), three.clone()], 0);
        refused(&[one.clone(), three.clone()], 1);
        refused(&[one.clone(), two.clone(), three.clone(), three.clone()], 2);
        refused(&[one, sealed(&DataKey::generate(), &[b"one", b"two", b"three"])[1].clone(), three], 1);
        assert_eq!(open(&key, "b", &chunks), Err((0, CryptoError::Refused)), "the chunks belong to another stream");
        assert_eq!(open(&DataKey::generate(), "a", &chunks), Err((0, CryptoError::Refused)));
    }

    #[test]
    fn a_changed_byte_is_refused_in_its_chunk() {
        let key = DataKey::generate();
        let chunks = sealed(&key, &[b"one", b"two"]);
        for (number, chunk) in chunks.iter().enumerate() {
            for at in 0..chunk.len() {
                let mut changed = chunks.clone();
                changed[number][at] ^= 1;
                assert_eq!(open(&key, "a", &changed), Err((number as u64, CryptoError::Refused)));
            }
        }
    }
}
