//! Encrypted connections: which cryptography makes them, whom they trust, and where plaintext will do.
//!
//! **The rule**, one for database servers, the broker and Redis: a server on another machine is spoken to by TLS, its
//! certificate is signed by an authority we trust, for the very host that the URL names, and it is told a password. Anything
//! less is refused before a connection is opened, unless `ALLOW_PLAINTEXT` lists the host. On this machine (loopback)
//! the URL decides; for a database server, whose URL says nothing of it, `TLS_CA` does.
//!
//! What a process trusts is set once, in [`begin`]. Until then the strictest policy counts: a program that forgets to call it
//! reaches nothing it should not.

mod policy;
mod reason;

pub use policy::{Policy, Refused};
pub use reason::reason;

use crate::process::config::{ConfigError, Settings};
use std::sync::OnceLock;

static POLICY: OnceLock<Policy> = OnceLock::new();

/// Makes `ring` what every TLS client of this process uses. A second call is harmless.
///
/// Libraries that are compiled without a choice of their own (`reqwest`, and with it the object store and the exporter of
/// traces) refuse to work until somebody has chosen.
pub fn use_ring() {
    // An error means that it was chosen already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Chooses the cryptography, and reads `TLS_CA` and `ALLOW_PLAINTEXT`; to be called before anything else.
pub fn begin(settings: &Settings) -> Result<(), ConfigError> {
    use_ring();
    let policy = Policy::from_settings(settings)?;
    // An error means that it was set already.
    let _ = POLICY.set(policy);
    Ok(())
}

/// What this process trusts.
pub fn policy() -> &'static Policy {
    POLICY.get_or_init(Policy::default)
}
