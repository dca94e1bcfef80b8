//! Encrypted connections: which cryptography makes them.

/// Makes `ring` what every TLS client of this process uses; to be called before anything else. A second call is harmless.
///
/// Libraries that are compiled without a choice of their own (`reqwest`, and with it the object store and the exporter of
/// traces) refuse to work until somebody has chosen.
pub fn use_ring() {
    // An error means that it was chosen already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
