//! [`DomainName`]: one spelling for each domain, so that variants (case, trailing dot, full width, IDN) are one row.
//!
//! A database collation cannot compare domains: `utf8mb4_unicode_ci` treats `straße.com` and `strasse.com` as equal,
//! and DNS does not. A name is converted to its IDNA A-label form (UTS 46, non-transitional, STD3 rules) before it is
//! compared or stored, and stored as ASCII.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use utoipa::ToSchema;

/// Longest domain. The column `saas_tenants.tenant_domain` has 100 characters.
const MAX_LENGTH: usize = 100;

/// A registrable host name in normal form: lower case, A-labels, no port, no trailing dot, at least two labels.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(min_length = 1, max_length = 100, example = "learn.acme.com")]
pub struct DomainName(String);

/// Why a text is not a domain name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDomain {
    /// The text is empty.
    #[error("a domain name is needed")]
    Empty,
    /// The text contains a port, path, user or scheme.
    #[error("give the domain alone, without scheme, port or path")]
    NotBare,
    /// A wildcard such as `*.example.com`.
    #[error("wildcard domains are not supported")]
    Wildcard,
    /// An IP address, or a text that a resolver takes for one.
    #[error("an IP address is not a domain")]
    IpAddress,
    /// A single label such as `localhost` or `intranet`.
    #[error("a domain has at least two labels")]
    SingleLabel,
    /// Not a host name by the rules of IDNA and DNS.
    #[error("not a valid domain name")]
    Malformed,
    /// More than 100 characters in A-label form.
    #[error("a domain has at most 100 characters")]
    TooLong,
}

impl DomainName {
    /// The normal form.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first label, if there are at least three: `t1` of `t1.example.com`.
    pub fn subdomain(&self) -> Option<&str> {
        let mut labels = self.0.splitn(3, '.');
        let first = labels.next()?;
        labels.nth(1).map(|_| first)
    }
}

impl FromStr for DomainName {
    type Err = InvalidDomain;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Err(InvalidDomain::Empty);
        }
        if text.parse::<IpAddr>().is_ok() {
            return Err(InvalidDomain::IpAddress);
        }
        if text.contains(['/', '@', ':', '[', ']', '?', '#']) {
            return Err(InvalidDomain::NotBare);
        }
        if text.contains('*') {
            return Err(InvalidDomain::Wildcard);
        }
        let ascii = host_in_ascii(text).ok_or(InvalidDomain::Malformed)?;
        let last = ascii.rsplit('.').next().unwrap_or_default();
        // By the WHATWG URL standard, browsers take a name whose last label is a number for an IPv4 address ("127.1",
        // "0x7f.1").
        if last.bytes().all(|b| b.is_ascii_digit()) || last.starts_with("0x") {
            return Err(InvalidDomain::IpAddress);
        }
        if !ascii.contains('.') {
            return Err(InvalidDomain::SingleLabel);
        }
        if ascii.len() > MAX_LENGTH {
            return Err(InvalidDomain::TooLong);
        }
        Ok(Self(ascii))
    }
}

/// The normal form of a host name, which may have a single label; `None` if it is not one by the rules of IDNA and DNS.
///
/// Like browsers, this function accepts hyphens at the third and fourth place of a label (`v2--shop`). A label that
/// begins with `xn--` must be an encoded one.
pub fn host_in_ascii(text: &str) -> Option<String> {
    let bare = text.strip_suffix(['.', '。']).unwrap_or(text);
    let (rules, hyphens) = (idna::AsciiDenyList::STD3, idna::uts46::Hyphens::CheckFirstLast);
    let ascii =
        idna::uts46::Uts46::new().to_ascii(bare.as_bytes(), rules, hyphens, idna::uts46::DnsLength::Verify).ok()?;
    Some(ascii.into_owned())
}

impl TryFrom<String> for DomainName {
    type Error = InvalidDomain;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<DomainName> for String {
    fn from(name: DomainName) -> Self {
        name.0
    }
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for DomainName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// The host in a `Host` header (or `:authority`), as routing distinguishes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// A name that may belong to a tenant.
    Domain(DomainName),
    /// A well-formed host that cannot belong to a tenant: an IP address, `localhost`.
    Unroutable,
}

impl Host {
    /// Parses `host[:port]`. An error means that the text is not a host at all.
    pub fn parse(header: &str) -> Result<Self, InvalidDomain> {
        let header = header.trim();
        if let Some(rest) = header.strip_prefix('[') {
            let (address, port) = rest.split_once(']').ok_or(InvalidDomain::Malformed)?;
            address.parse::<std::net::Ipv6Addr>().map_err(|_| InvalidDomain::Malformed)?;
            check_port(if port.is_empty() { port } else { port.strip_prefix(':').ok_or(InvalidDomain::Malformed)? })?;
            return Ok(Self::Unroutable);
        }
        let (name, port) = header.split_once(':').unwrap_or((header, ""));
        check_port(port)?;
        match name.parse::<DomainName>() {
            Ok(domain) => Ok(Self::Domain(domain)),
            Err(InvalidDomain::IpAddress | InvalidDomain::SingleLabel | InvalidDomain::TooLong) => Ok(Self::Unroutable),
            Err(other) => Err(other),
        }
    }
}

/// Whether the text is the number of a port, in digits alone.
pub fn is_port(text: &str) -> bool {
    text.len() <= 5 && text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

fn check_port(port: &str) -> Result<(), InvalidDomain> {
    if port.is_empty() || is_port(port) { Ok(()) } else { Err(InvalidDomain::Malformed) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<String, InvalidDomain> {
        text.parse::<DomainName>().map(|d| d.0)
    }

    #[test]
    fn variants_of_a_domain_have_one_normal_form() {
        for twin in ["a.com", "A.COM", "a.com.", "ａ.com", "a．com", "a。com"] {
            assert_eq!(parse(twin).as_deref(), Ok("a.com"), "{twin}");
        }
        assert_eq!(parse("Straße.de").as_deref(), Ok("xn--strae-oqa.de"));
        assert_eq!(parse("例え.jp").as_deref(), Ok("xn--r8jz45g.jp"));
        assert_ne!(parse("straße.de"), parse("strasse.de"));
        assert_eq!(parse("V2--Shop.example.com").as_deref(), Ok("v2--shop.example.com"));
    }

    #[test]
    fn an_invalid_domain_is_refused_with_its_reason() {
        use InvalidDomain::*;
        for (bad, why) in [
            ("", Empty),
            ("a.com:80", NotBare),
            ("http://a.com", NotBare),
            ("a.com/x", NotBare),
            ("u@a.com", NotBare),
            ("*.a.com", Wildcard),
            ("127.0.0.1", IpAddress),
            ("::1", IpAddress),
            ("127.1", IpAddress),
            ("1.0x7f", IpAddress),
            ("localhost", SingleLabel),
            ("a..com", Malformed),
            (".a.com", Malformed),
            ("a b.com", Malformed),
            ("a_b.com", Malformed),
            ("-a.com", Malformed),
            ("a.com..", Malformed),
            ("xn--a.com", Malformed),
            ("xn--abc.example.com", Malformed),
            ("a-.com", Malformed),
            ("a\0.com", Malformed),
        ] {
            assert_eq!(parse(bad), Err(why), "{bad:?}");
        }
        assert_eq!(parse(&format!("{}.{}.com", "a".repeat(50), "b".repeat(50))), Err(TooLong));
    }

    #[test]
    fn a_host_header_is_a_domain_unroutable_or_refused() {
        let domain = |text: &str| Host::Domain(text.parse().unwrap());
        assert_eq!(Host::parse("T1.Example.com:8080"), Ok(domain("t1.example.com")));
        assert_eq!(Host::parse("t1.example.com."), Ok(domain("t1.example.com")));
        assert_eq!(Host::parse("127.0.0.1:80"), Ok(Host::Unroutable));
        assert_eq!(Host::parse("[::1]:80"), Ok(Host::Unroutable));
        assert_eq!(Host::parse("localhost"), Ok(Host::Unroutable));
        for bad in ["", "a.com:x", "a.com:99999", "a b.com", "[zz]", "[::1]80", "[::1]:+80", "a.com:+80", "a.com:80:80"]
        {
            assert!(Host::parse(bad).is_err(), "{bad:?}");
        }
        assert!(Host::parse("*.a.com").is_err());
    }

    #[test]
    fn a_subdomain_needs_three_labels() {
        let name = |text: &str| text.parse::<DomainName>().unwrap();
        assert_eq!(name("t1.example.com").subdomain(), Some("t1"));
        assert_eq!(name("t1.b.example.com").subdomain(), Some("t1"));
        assert_eq!(name("example.com").subdomain(), None);
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_is_idempotent(text in "\\PC{0,40}") {
            let _ = Host::parse(&text);
            if let Ok(once) = parse(&text) {
                prop_assert_eq!(parse(&once), Ok(once.clone()));
            }
        }

        #[test]
        fn case_and_dot_make_no_difference(a in "[a-z]{1,10}", b in "[a-z]{2,5}") {
            let plain = format!("{a}.{b}");
            prop_assert_eq!(parse(&plain), parse(&format!("{}.", plain.to_uppercase())));
        }
    }
}
