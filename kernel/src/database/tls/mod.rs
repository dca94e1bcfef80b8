//! Encrypted connections: the cryptography, the trusted authorities, and the hosts to which plaintext is allowed.
//!
//! **The rule** is the same for database servers, the broker and Redis. A connection to another machine uses TLS, the
//! server's certificate is signed by a trusted authority for exactly the host in the URL, and the URL has a password.
//! Anything less is refused before a connection is opened, unless `ALLOW_PLAINTEXT` lists the host. On the same machine
//! (loopback) the URL decides; for a database server whose URL does not say, `TLS_CA` decides.
//!
//! A process sets what it trusts once, in [`begin`]. Until then the strictest policy applies, so a program that forgets
//! the call cannot open an unsafe connection.

mod policy;
mod reason;

pub use policy::{Policy, Refused};
pub use reason::reason;

use crate::process::config::{ConfigError, Settings};
use std::sync::OnceLock;

static POLICY: OnceLock<Policy> = OnceLock::new();

/// Makes every TLS client of this process use `ring`. A second call is harmless.
///
/// Libraries that are compiled without a choice of their own (`reqwest`, and with it the object store and the exporter
/// of traces) refuse to work until the process has chosen.
pub fn use_ring() {
    // An error means that the process has already chosen.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Chooses the cryptography, and reads `TLS_CA` and `ALLOW_PLAINTEXT`. A process calls this before anything else.
pub fn begin(settings: &Settings) -> Result<(), ConfigError> {
    use_ring();
    let policy = Policy::from_settings(settings)?;
    // An error means that the policy is already set.
    let _ = POLICY.set(policy);
    Ok(())
}

/// The policy of this process.
pub fn policy() -> &'static Policy {
    POLICY.get_or_init(Policy::default)
}
