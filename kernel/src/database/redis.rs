//! The client of Redis, under the rule of [`crate::database::tls`].

use crate::database::tls;
use crate::process::config::{ConfigError, wrong};
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, TlsCertificates};
use secrecy::{ExposeSecret, SecretString};
use std::time::Duration;

/// A client for the URL in `REDIS_URL`. It does not connect yet.
///
/// # Errors
/// If the URL is wrong or not safe. The error does not show the URL.
fn client(url: &SecretString) -> Result<Client, ConfigError> {
    // The error does not show the cause, which may quote the URL with its password.
    let not_a_url = || wrong("REDIS_URL", "not a redis:// or rediss:// URL");
    let info: ConnectionInfo = url.expose_secret().into_connection_info().map_err(|_| not_a_url())?;
    let (host, encrypted) = match info.addr() {
        ConnectionAddr::TcpTls { insecure: true, .. } => {
            return Err(wrong("REDIS_URL", "#insecure does not check who answers; leave it out"));
        }
        ConnectionAddr::Tcp(host, _) => (Some(host), false),
        ConnectionAddr::TcpTls { host, .. } => (Some(host), true),
        _ => (None, false),
    };
    if let Some(host) = host {
        let password = info.redis_settings().password().is_some();
        tls::policy().check(host, encrypted, password, "rediss://").map_err(|refused| wrong("REDIS_URL", refused))?;
    }
    let client = match tls::policy().authorities() {
        Some(pem) if encrypted => {
            let certificates = TlsCertificates { client_tls: None, root_cert: Some(pem.as_bytes().to_vec()) };
            Client::build_with_tls(info, certificates)
        }
        _ => Client::open(info),
    };
    client.map_err(|_| not_a_url())
}

/// A connection to the Redis at the setting `REDIS_URL`, which is made when it is first used and again when it was
/// lost. Each attempt to connect, and each answer, has `timeout` at most.
pub fn connection(url: &SecretString, timeout: Duration) -> Result<ConnectionManager, ConfigError> {
    let config = ConnectionManagerConfig::new()
        .set_number_of_retries(1)
        .set_max_delay(timeout)
        .set_connection_timeout(Some(timeout))
        .set_response_timeout(Some(timeout));
    ConnectionManager::new_lazy_with_config(client(url)?, config)
        .map_err(|_| wrong("REDIS_URL", "no client can be made of it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unsafe_url_is_refused_without_showing_its_password() {
        assert!(client(&"redis://127.0.0.1:1/0".into()).is_ok());
        assert!(client(&"rediss://:p@cache.example.com:6380/0".into()).is_ok());
        for url in [
            "http://u:hunter2@h",
            "redis://:hunter2@cache.example.com/0",
            "rediss://cache.example.com/0",
            "rediss://:hunter2@cache.example.com/0#insecure",
        ] {
            let error = client(&url.into()).err().unwrap().to_string();
            assert!(error.contains("REDIS_URL") && !error.contains("hunter2"), "{error}");
        }
    }
}
