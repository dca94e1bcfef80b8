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
    ///
    /// `None` if the address that counts cannot be read: the proxy's own would be that of all its clients.
    pub fn client(&self, headers: &HeaderMap, peer: Option<SocketAddr>) -> Option<IpAddr> {
        let mut client = peer?.ip().to_canonical();
        if !self.contain(peer) {
            return Some(client);
        }
        let lines = headers.get_all(FORWARDED_FOR).iter();
        let entries: Vec<&[u8]> = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b',')).collect();
        for entry in entries.into_iter().rev().map(<[u8]>::trim_ascii).filter(|entry| !entry.is_empty()) {
            client = address(entry)?.to_canonical();
            if !self.0.iter().any(|block| block.contains(&client)) {
                break;
            }
        }
        Some(client)
    }
}

/// An address, which some proxies write with the port, and some in brackets.
fn address(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?;
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse::<IpAddr>().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

/// The network that counts as one client: an address of IPv4, and the 2^64 addresses of IPv6 that a client has.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) >> 64 << 64).into()),
        v4 => v4,
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
        let client = |peer: &str, forwarded: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in forwarded {
                headers.append("x-forwarded-for", HeaderValue::from_bytes(value.as_bytes()).unwrap());
            }
            let client = trusted.client(&headers, Some(peer.parse().unwrap()));
            client.map_or_else(|| "unknown".to_owned(), |client| client.to_string())
        };
        assert_eq!(client("203.0.113.9:1", &["1.1.1.1"]), "203.0.113.9");
        assert_eq!(client("10.0.0.1:1", &[]), "10.0.0.1");
        assert_eq!(client("10.0.0.1:1", &["198.51.100.7"]), "198.51.100.7");
        assert_eq!(client("10.0.0.1:1", &["6.6.6.6, 198.51.100.7, 10.0.0.2"]), "198.51.100.7");
        assert_eq!(client("10.0.0.1:1", &["6.6.6.6", "198.51.100.7"]), "198.51.100.7");
        assert_eq!(client("10.0.0.1:1", &["6.6.6.6, nonsense"]), "unknown");
        assert_eq!(client("10.0.0.1:1", &["nonsense, \u{e9}, 198.51.100.7, "]), "198.51.100.7");
        assert_eq!(client("10.0.0.1:1", &["198.51.100.7:4711"]), "198.51.100.7");
        assert_eq!(client("10.0.0.1:1", &["[2001:db8::1]:443, [fd00::1]"]), "fd00::1");
        assert_eq!(client("10.0.0.1:1", &["[2001:db8::1]:443"]), "2001:db8::1");
        assert_eq!(client("[::ffff:10.0.0.1]:1", &["2001:db8::1"]), "2001:db8::1");
    }

    #[test]
    fn addresses_of_one_ipv6_network_count_as_one() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:2"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }
}
