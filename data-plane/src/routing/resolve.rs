//! [`TenantHint`]: which tenant a request asks for. The order is: the header `X-Tenant-ID` or `Tenant-ID`, the exact
//! host, the subdomain, the default tenant.
//!
//! Naming a tenant grants nothing, because every route also needs a token whose user belongs to the tenant. The host
//! comes from `Host` or `:authority`; `X-Forwarded-Host` counts only from a configured proxy. A request that is
//! malformed or contradicts itself is refused, because another machine in the chain might understand it differently.

use super::{Route, Table};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use kernel::domain::{Host, TenantId, is_port};
use kernel::http::{ApiError, Code, TrustedProxies};
use kernel::store::installation::UnknownHost;
use std::net::SocketAddr;
use std::sync::Arc;

/// Headers that name a tenant: as error messages show them, and as they are looked up.
const TENANT_HEADERS: [(&str, HeaderName); 2] =
    [("X-Tenant-ID", HeaderName::from_static("x-tenant-id")), ("Tenant-ID", HeaderName::from_static("tenant-id"))];
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// First labels of a host that never name a tenant.
const SYSTEM_LABELS: [&str; 5] = ["www", "api", "admin", "cdn", "static"];

/// What a request says about its tenant.
#[derive(Debug, PartialEq, Eq)]
pub enum TenantHint<'r> {
    Id(TenantId),
    /// A host name in lower-case ASCII, without the port. Nearly all requests have one. It may still be malformed.
    PlainHost(&'r str),
    /// A host that had to be brought to its normal form, or one that cannot belong to a tenant.
    Host(Host),
}

impl<'r> TenantHint<'r> {
    /// Reads the headers of a request.
    ///
    /// # Errors
    /// 400 or 422 if they are malformed or contradict each other.
    pub fn of(parts: &'r Parts, peer: Option<SocketAddr>, trusted: &TrustedProxies) -> Result<Self, ApiError> {
        if let Some(id) = tenant_header(&parts.headers)? {
            return Ok(Self::Id(id));
        }
        let forwarded = if trusted.contain(peer) { single(&parts.headers, &FORWARDED_HOST)? } else { None };
        let host = match forwarded {
            Some(host) => Some(host),
            None => own_host(parts)?,
        };
        match host {
            Some(host) => host_name(host),
            None => Ok(Self::Host(Host::Unroutable)),
        }
    }
}

impl Table {
    /// The route of the tenant that a request asks for; `None`: there is no such tenant.
    pub fn resolve(&self, hint: &TenantHint<'_>) -> Result<Option<Arc<Route>>, ApiError> {
        if !self.switches.multi_tenant {
            return Ok(self.default_tenant());
        }
        let found = match hint {
            TenantHint::Id(id) => return Ok(self.tenant(id.as_str())),
            // All domains in the table are well-formed, so a host that is found needs no check.
            TenantHint::PlainHost(host) => match self.domain(host) {
                Some(route) => Some(route),
                None => self.by_host(&Host::parse(host).map_err(|_| Code::InvalidHost)?),
            },
            TenantHint::Host(host) => self.by_host(host),
        };
        Ok(found.or_else(|| match self.switches.unknown_host {
            UnknownHost::Default => self.default_tenant(),
            UnknownHost::Reject => None,
        }))
    }

    fn by_host(&self, host: &Host) -> Option<Arc<Route>> {
        let Host::Domain(domain) = host else { return None };
        self.domain(domain.as_str()).or_else(|| {
            let label = domain.subdomain().filter(|label| !SYSTEM_LABELS.contains(label))?;
            self.tenant(label)
        })
    }
}

fn tenant_header(headers: &HeaderMap) -> Result<Option<TenantId>, ApiError> {
    let mut found: Option<(&str, &HeaderValue)> = None;
    for (field, name) in TENANT_HEADERS {
        for value in headers.get_all(name) {
            match found {
                Some((_, other)) if other != value => {
                    return Err(ApiError::from(Code::BadRequest).with("detail", "the request names two tenants"));
                }
                _ => found = Some((field, value)),
            }
        }
    }
    let Some((field, value)) = found else { return Ok(None) };
    let text = value.to_str().map_err(|_| ApiError::invalid("tenant_id", field, "not ASCII text"))?;
    text.parse().map(Some).map_err(|error| ApiError::invalid("tenant_id", field, error))
}

/// `:authority` (or the authority of an absolute target), or else `Host`. If both are present, they must agree.
fn own_host(parts: &Parts) -> Result<Option<&str>, ApiError> {
    let host = single(&parts.headers, &header::HOST)?;
    match (parts.uri.authority().map(|authority| authority.as_str()), host) {
        (Some(authority), Some(host)) if !authority.eq_ignore_ascii_case(host) => Err(Code::InvalidHost.into()),
        (authority, host) => Ok(authority.or(host)),
    }
}

/// The only value of a header. Two values are refused even if they are equal.
fn single<'r>(headers: &'r HeaderMap, name: &HeaderName) -> Result<Option<&'r str>, ApiError> {
    let mut values = headers.get_all(name).iter();
    let (first, second) = (values.next(), values.next());
    if second.is_some() {
        return Err(Code::InvalidHost.into());
    }
    // A host may be in UTF-8, which `to_str` would refuse.
    first.map(|value| std::str::from_utf8(value.as_bytes()).map_err(|_| Code::InvalidHost.into())).transpose()
}

fn host_name(host: &str) -> Result<TenantHint<'_>, ApiError> {
    let (name, port) = host.split_once(':').unwrap_or((host, "0"));
    let plain = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-');
    if is_port(port) && !name.is_empty() && name.bytes().all(plain) {
        return Ok(TenantHint::PlainHost(name));
    }
    Host::parse(host).map(TenantHint::Host).map_err(|_| Code::InvalidHost.into())
}

#[cfg(test)]
#[path = "resolve_tests.rs"]
mod tests;
