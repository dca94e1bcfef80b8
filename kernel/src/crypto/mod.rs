//! Sealing of secrets at rest: AES-256-GCM under a ring of keys.
//!
//! A sealed text reads `v1.<key id>.<base64url of nonce and ciphertext>`. The associated data binds it to what it is for
//! ([`Purpose`]): a sealed password copied to another tenant's row does not open. Nonces are 96 random bits, which is
//! safe for 2^32 sealings per key (NIST SP 800-38D); an installation of ten thousand tenants that rotates every
//! password daily reaches that after a thousand years.
//!
//! Without a key nothing starts: encryption is never silently off.

mod ring;

pub use ring::{CryptoError, KeyRing, Purpose};
