//! [`TrustedProxies`]: the proxies whose `X-Forwarded-*` headers are believed.
//!
//! **Guarantee.** A client gains nothing by writing these headers itself. They count only if they come from a
//! configured address, and of the addresses in them only the nearest one that is not a proxy.

use crate::process::config::{ConfigError, Settings, wrong};
use axum::http::{HeaderMap, HeaderName};
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Addresses whose `X-Forwarded-Host` and `X-Forwarded-For` are believed.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// Reads `TRUSTED_PROXIES`.
    pub fn from_settings(settings: &Settings) -> Result<Self, ConfigError> {
        Self::parse(&settings.get::<String>("TRUSTED_PROXIES")?)
    }

    /// Parses CIDR blocks or addresses, separated by commas.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let block = |text: &str| {
            text.parse::<IpNet>().or_else(|error| text.parse::<IpAddr>().map_err(|_| error).map(IpNet::from))
        };
        let blocks = text.split(',').map(str::trim).filter(|block| !block.is_empty()).map(block);
        blocks.collect::<Result<_, _>>().map(Self).map_err(|error| wrong("TRUSTED_PROXIES", error))
    }

    /// Whether the peer is a trusted proxy.
    pub fn contain(&self, peer: Option<SocketAddr>) -> bool {
        // A dual-stack socket shows IPv4 peers as ::ffff:a.b.c.d.
        peer.is_some_and(|peer| self.0.iter().any(|block| block.contains(&peer.ip().to_canonical())))
    }

    /// The address of the client: the peer, or the address that a trusted proxy names. In `X-Forwarded-For` this is the
    /// first one from the right that is not a trusted proxy. Any client can write the addresses further left.
    pub fn client(&self, headers: &HeaderMap, peer: Option<SocketAddr>) -> Option<IpAddr> {
        let mut client = peer?.ip().to_canonical();
        if !self.contain(peer) {
            return Some(client);
        }
        let named = headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
        let named: Vec<&str> = named.flat_map(|value| value.split(',')).collect();
        for text in named.into_iter().rev() {
            let Ok(address) = text.trim().parse::<IpAddr>() else { break };
            client = address.to_canonical();
            if !self.0.iter().any(|block| block.contains(&client)) {
                break;
            }
        }
        Some(client)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn proxies_are_configured_as_blocks_or_addresses() {
        assert!(TrustedProxies::parse("").unwrap().0.is_empty());
        assert_eq!(TrustedProxies::parse("10.0.0.0/8,::1, fd00::/8,").unwrap().0.len(), 3);
        let error = TrustedProxies::parse("10.0.0.0/8, proxy.local").unwrap_err().to_string();
        assert!(error.contains("TRUSTED_PROXIES"), "{error}");
    }

    #[test]
    fn only_a_trusted_proxy_names_the_client() {
        let trusted = TrustedProxies::parse("10.0.0.0/8").unwrap();
        let client = |peer: &str, forwarded: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in forwarded {
                headers.append("x-forwarded-for", HeaderValue::from_static(value));
            }
            trusted.client(&headers, Some(peer.parse().unwrap())).unwrap().to_string()
        };
        assert_eq!(client("203.0.113.9:1", &["1.1.1.1"]), "203.0.113.9");
        assert_eq!(client("10.0.0.1:1", &[]), "10.0.0.1");
        assert_eq!(client("10.0.0.1:1", &["198.51.100.7"]), "198.51.100.7");
        assert_eq!(client("10.0.0.1:1", &["6.6.6.6, 198.51.100.7, 10.0.0.2"]), "198.51.100.7");
        assert_eq!(client("10.0.0.1:1", &["6.6.6.6", "198.51.100.7"]), "198.51.100.7");
        assert_eq!(client("10.0.0.1:1", &["6.6.6.6, nonsense"]), "10.0.0.1");
        assert_eq!(client("[::ffff:10.0.0.1]:1", &["2001:db8::1"]), "2001:db8::1");
    }
}
