//! Encryption of secrets at rest: AES-256-GCM under a ring of keys. To *seal* is to encrypt for one purpose, and to
//! *open* is to decrypt.
//!
//! A sealed text has the form `v1.<key id>.<base64url of nonce and ciphertext>`. The associated data binds it to its
//! [`Purpose`], so a sealed password that is copied to another tenant's row does not open. Nonces are 96 random bits,
//! which is safe for 2^32 sealings per key (NIST SP 800-38D). Sealings are counted, and a key seals no more after half
//! of that.
//!
//! No process starts without a key, so encryption is never silently off.

mod chunks;
mod counts;
mod edit;
mod ring;
pub mod tokens;

pub use chunks::{CHUNK, Chunks, DataKey, TAG};
pub use counts::{SEALINGS_LIMIT, SEALINGS_WARNING};
pub use edit::{EditError, RingText};
pub use ring::{CryptoError, KeyRing, Purpose};
