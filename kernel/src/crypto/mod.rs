//! Sealing of secrets at rest: AES-256-GCM under a ring of keys.
//!
//! A sealed text reads `v1.<key id>.<base64url of nonce and ciphertext>`. The associated data binds it to what it is for
//! ([`Purpose`]): a sealed password copied to another tenant's row does not open. Nonces are 96 random bits, which is
//! safe for 2^32 sealings per key (NIST SP 800-38D); sealings are counted, and a key seals no more at half of that.
//!
//! Without a key nothing starts: encryption is never silently off.

mod chunks;
mod counts;
mod edit;
mod ring;
pub mod tokens;

pub use chunks::{CHUNK, Chunks, DataKey, TAG};
pub use counts::{SEALINGS_LIMIT, SEALINGS_WARNING};
pub use edit::{EditError, RingText};
pub use ring::{CryptoError, KeyRing, Purpose};
