//! [`Policy`]: what `TLS_CA` and `ALLOW_PLAINTEXT` mean for a connection to a host.

use crate::process::config::{ConfigError, Settings, wrong};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

/// The public authorities on Debian, Ubuntu and Alpine.
const PUBLIC_AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The authorities that this process trusts, and the hosts to which it needs no TLS.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    authorities: Option<String>,
    plaintext: BTreeSet<String>,
}

/// Why a connection in the requested way is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The connection would be readable on the network.
    #[error(
        "{host} is not on this machine, and plaintext to it is refused: \
         use {instead}, or list the host in ALLOW_PLAINTEXT"
    )]
    Plaintext {
        /// The server's host.
        host: String,
        /// What to use instead.
        instead: &'static str,
    },
    /// The connection would be encrypted, but the identity of the server would not be checked.
    #[error(
        "{host} is not on this machine, and ssl-mode={mode} does not check who answers there: \
         leave it out (VERIFY_IDENTITY is meant then), or list the host in ALLOW_PLAINTEXT"
    )]
    Unchecked {
        /// The server's host.
        host: String,
        /// The requested `ssl-mode`.
        mode: String,
    },
    /// Everyone who reaches the server would be let in.
    #[error("{host} is not on this machine, and the URL has no password for it")]
    NoPassword {
        /// The server's host.
        host: String,
    },
}

/// The location of a server, as the rule distinguishes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Host {
    Loopback,
    Allowed,
    Remote,
}

impl Policy {
    /// Reads `TLS_CA` and `ALLOW_PLAINTEXT`.
    pub fn from_settings(settings: &Settings) -> Result<Self, ConfigError> {
        let authorities: String = settings.get("TLS_CA")?;
        if !authorities.is_empty() {
            check_authorities(&authorities).map_err(|reason| wrong("TLS_CA", reason))?;
        }
        let mut plaintext = BTreeSet::new();
        for host in settings.get::<String>("ALLOW_PLAINTEXT")?.split(',').map(str::trim).filter(|host| !host.is_empty())
        {
            let host = bare(host);
            let is_name = host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
            if !is_name && host.parse::<IpAddr>().is_err() {
                return Err(wrong(
                    "ALLOW_PLAINTEXT",
                    "it lists host names or addresses, as they stand in the URLs, without port",
                ));
            }
            plaintext.insert(host);
        }
        Ok(Self { authorities: Some(authorities).filter(|pem| !pem.is_empty()), plaintext })
    }

    /// The certificates of `TLS_CA`, in PEM.
    pub fn authorities(&self) -> Option<&str> {
        self.authorities.as_deref()
    }

    /// Checks a URL whose scheme says whether the connection is encrypted. `instead` is the encrypted scheme.
    ///
    /// # Errors
    /// If the URL may not be used.
    pub fn check(&self, host: &str, encrypted: bool, password: bool, instead: &'static str) -> Result<(), Refused> {
        match self.host(host) {
            Host::Loopback => Ok(()),
            Host::Remote if !encrypted => Err(Refused::Plaintext { host: host.into(), instead }),
            Host::Remote | Host::Allowed if !password => Err(Refused::NoPassword { host: host.into() }),
            Host::Remote | Host::Allowed => Ok(()),
        }
    }

    /// Makes the options from the URL of a database server safe. `mode` is the `ssl-mode` in the URL.
    ///
    /// # Errors
    /// If the URL may not be used.
    pub fn database(
        &self,
        options: MySqlConnectOptions,
        mode: Option<&str>,
        password: bool,
    ) -> Result<MySqlConnectOptions, Refused> {
        if options.get_socket().is_some() {
            return Ok(options);
        }
        let host = options.get_host().to_owned();
        let location = self.host(&host);
        if location != Host::Loopback && !password {
            return Err(Refused::NoPassword { host });
        }
        match mode {
            Some(mode) if location == Host::Remote && !mode.eq_ignore_ascii_case("VERIFY_IDENTITY") => {
                Err(match mode.eq_ignore_ascii_case("DISABLED") {
                    true => Refused::Plaintext { host, instead: "ssl-mode=VERIFY_IDENTITY" },
                    false => Refused::Unchecked { host, mode: mode.to_owned() },
                })
            }
            Some(_) => Ok(self.trusting(options)),
            None => Ok(self.encrypted(options)),
        }
    }

    /// Makes the options for a tenant's database server safe, of which only host and port are known.
    pub fn encrypted(&self, options: MySqlConnectOptions) -> MySqlConnectOptions {
        let verified = match self.host(options.get_host()) {
            Host::Remote => true,
            Host::Loopback => self.authorities.is_some(),
            Host::Allowed => false,
        };
        if verified { self.trusting(options).ssl_mode(MySqlSslMode::VerifyIdentity) } else { options }
    }

    /// The same policy for the servers' own programs (`mariadb-dump`, `mysqldump`), as lines of the group `[client]` of
    /// their option files. `trusted` is the file with [`Policy::authorities`], if there are any.
    pub fn client_options(&self, options: &MySqlConnectOptions, trusted: &Path) -> String {
        if !matches!(options.get_ssl_mode(), MySqlSslMode::VerifyIdentity) {
            return String::new();
        }
        let authorities = if self.authorities.is_some() { trusted } else { Path::new(PUBLIC_AUTHORITIES) };
        // Each program knows only one of the two options. With "loose", the other one is a warning and not an error.
        format!("ssl-ca=\"{}\"\nloose-ssl-mode=VERIFY_IDENTITY\nloose-ssl-verify-server-cert\n", authorities.display())
    }

    fn trusting(&self, options: MySqlConnectOptions) -> MySqlConnectOptions {
        match &self.authorities {
            Some(pem) => options.ssl_ca_from_pem(pem.clone().into_bytes()),
            None => options,
        }
    }

    fn host(&self, host: &str) -> Host {
        let host = bare(host);
        let address = host.parse::<IpAddr>().map(|address| address.to_canonical());
        if self.plaintext.contains(&host) {
            Host::Allowed
        } else if host == "localhost" || address.is_ok_and(|address| address.is_loopback()) {
            Host::Loopback
        } else {
            Host::Remote
        }
    }
}

/// The host in the form in which it is compared: in lower case, without the brackets of IPv6 addresses and without a
/// trailing dot.
fn bare(host: &str) -> String {
    host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.').to_ascii_lowercase()
}

fn check_authorities(pem: &str) -> Result<(), &'static str> {
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|_| "a certificate in it cannot be read")?;
        store.add(certificate).map_err(|_| "a certificate in it is no authority's")?;
    }
    if store.is_empty() { Err("it holds no certificate in PEM (TLS_CA_FILE names a file of them)") } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(plaintext: &str) -> Policy {
        let pairs = [("ALLOW_PLAINTEXT".to_owned(), plaintext.to_owned())];
        Policy::from_settings(&Settings::from_pairs(pairs)).unwrap()
    }

    #[test]
    fn plaintext_is_allowed_to_loopback_and_listed_hosts_only() {
        let strict = Policy::default();
        for host in ["127.0.0.1", "127.9.9.9", "localhost", "LOCALHOST", "::1", "[::1]", "::ffff:127.0.0.1"] {
            assert_eq!(strict.check(host, false, false, "amqps://"), Ok(()), "{host}");
        }
        for host in
            ["10.0.0.1", "db.example.com", "localhost.example.com", "0.0.0.0", "127.0.0.1.example.com", "", "[::2]"]
        {
            let refused = strict.check(host, false, true, "amqps://").unwrap_err();
            let words = refused.to_string();
            assert!(words.contains("ALLOW_PLAINTEXT") && words.contains("amqps://"), "{words}");
            assert_eq!(strict.check(host, true, true, "amqps://"), Ok(()), "{host}");
        }
        let listed = policy("broker, 10.0.0.1,[fd00::7]");
        for host in ["broker", "BROKER", "10.0.0.1", "[fd00::7]"] {
            assert_eq!(listed.check(host, false, true, "amqps://"), Ok(()), "{host}");
            assert!(matches!(listed.check(host, false, false, "x"), Err(Refused::NoPassword { .. })), "{host}");
        }
        assert!(listed.check("broker2", false, true, "x").is_err());
    }

    #[test]
    fn a_remote_database_server_must_prove_its_identity() {
        let options = |host: &str| MySqlConnectOptions::new().host(host);
        let strict = Policy::default();
        let verified = |options: MySqlConnectOptions| matches!(options.get_ssl_mode(), MySqlSslMode::VerifyIdentity);
        assert!(verified(strict.database(options("db.example.com"), None, true).unwrap()));
        assert!(verified(strict.encrypted(options("10.1.2.3"))));
        assert!(!verified(strict.database(options("127.0.0.1"), None, false).unwrap()));
        assert!(!verified(policy("db").encrypted(options("db"))));
        for mode in ["PREFERRED", "required", "VERIFY_CA"] {
            let refused = strict.database(options("db.example.com"), Some(mode), true).unwrap_err().to_string();
            assert!(refused.contains(mode) && refused.contains("ALLOW_PLAINTEXT"), "{refused}");
            assert!(policy("db.example.com").database(options("db.example.com"), Some(mode), true).is_ok());
        }
        let refused = strict.database(options("db.example.com"), Some("disabled"), true).unwrap_err();
        assert!(matches!(refused, Refused::Plaintext { .. }));
        let refused = strict.database(options("db.example.com"), None, false).unwrap_err();
        assert!(matches!(refused, Refused::NoPassword { .. }));
    }

    #[test]
    fn an_invalid_setting_is_named_without_its_value() {
        for (name, value) in [
            ("TLS_CA", "hunter2"),
            ("TLS_CA", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"),
            ("ALLOW_PLAINTEXT", "db:3306"),
            ("ALLOW_PLAINTEXT", "*"),
            ("ALLOW_PLAINTEXT", "10.0.0.0/8"),
        ] {
            let settings = Settings::from_pairs([(name.to_owned(), value.to_owned())]);
            let error = Policy::from_settings(&settings).unwrap_err().to_string();
            assert!(error.contains(name) && !error.contains("hunter2"), "{error}");
        }
    }
}
