//! Which tenant each form of host and header resolves to.

use super::super::Table;
use super::super::route::tests::route;
use super::*;
use axum::http::Request;
use kernel::store::installation::{Switches, UnknownHost};

/// A table with the tenants t1, t2 and default, which have the domains `t1.example.com` and so on.
fn table(unknown_host: UnknownHost) -> Table {
    let mut table = Table::default();
    table.replace(["t1", "t2", "default"].map(route).into());
    table.switches = Switches { default_tenant: Some("default".parse().unwrap()), unknown_host, multi_tenant: true };
    table
}

type Header<'h> = (&'h str, &'h [u8]);

const PROXY: &str = "10.1.2.3:5000";
const STRANGER: &str = "203.0.113.9:5000";

fn ask(table: &Table, peer: &str, uri: &str, headers: &[Header<'_>]) -> String {
    let mut request = Request::get(uri);
    for (name, value) in headers {
        request = request.header(*name, HeaderValue::from_bytes(value).unwrap());
    }
    let (parts, ()) = request.body(()).unwrap().into_parts();
    let trusted = TrustedProxies::parse("10.0.0.0/8, 192.0.2.1").unwrap();
    let found = TenantHint::of(&parts, Some(peer.parse().unwrap()), &trusted).and_then(|hint| table.resolve(&hint));
    match found {
        Ok(Some(route)) => route.tenant_id.to_string(),
        Ok(None) => "none".into(),
        Err(error) => error.code().name(),
    }
}

#[test]
fn a_host_resolves_to_one_tenant_or_is_refused() {
    let (default, reject) = (table(UnknownHost::Default), table(UnknownHost::Reject));
    // The host, the tenant with unknown_host=default, and the tenant with unknown_host=reject.
    for (host, or_default, or_none) in [
        ("t1.example.com", "t1", "t1"),
        ("t1.example.com:8443", "t1", "t1"),
        ("t1.example.com:", "t1", "t1"),
        ("T1.EXAMPLE.com", "t1", "t1"),
        ("t1.example.com.", "t1", "t1"),
        ("ｔ1.example.com", "t1", "t1"),
        ("t1。example。com", "t1", "t1"),
        // A subdomain of any domain names a tenant.
        ("t2.other.org", "t2", "t2"),
        ("T2.Other.org", "t2", "t2"),
        ("t2.a.other.org", "t2", "t2"),
        ("t9.other.org", "default", "none"),
        // Two labels have no subdomain.
        ("t2.org", "default", "none"),
        ("www.other.org", "default", "none"),
        ("api.other.org", "default", "none"),
        ("admin.other.org", "default", "none"),
        ("cdn.other.org", "default", "none"),
        ("static.other.org", "default", "none"),
        ("localhost:8082", "default", "none"),
        ("127.0.0.1", "default", "none"),
        ("127.0.0.1:8082", "default", "none"),
        ("127.1", "default", "none"),
        ("[::1]", "default", "none"),
        ("[::1]:8082", "default", "none"),
        ("", "invalid_host", "invalid_host"),
        (":80", "invalid_host", "invalid_host"),
        ("t1.example.com:x", "invalid_host", "invalid_host"),
        ("t1.example.com:99999", "invalid_host", "invalid_host"),
        ("t1.example.com:000080", "invalid_host", "invalid_host"),
        ("t1.example.com:80:80", "invalid_host", "invalid_host"),
        ("t1..example.com", "invalid_host", "invalid_host"),
        (".t1.example.com", "invalid_host", "invalid_host"),
        ("-t1.example.com", "invalid_host", "invalid_host"),
        ("t1_.example.com", "invalid_host", "invalid_host"),
        ("*.example.com", "invalid_host", "invalid_host"),
        ("t1.example.com/x", "invalid_host", "invalid_host"),
        ("t1.example.com,t2.example.com", "invalid_host", "invalid_host"),
        ("t1.example.com t2.example.com", "invalid_host", "invalid_host"),
        ("u@t1.example.com", "invalid_host", "invalid_host"),
        ("[zz]", "invalid_host", "invalid_host"),
    ] {
        assert_eq!(ask(&default, STRANGER, "/", &[("host", host.as_bytes())]), or_default, "{host:?}");
        assert_eq!(ask(&reject, STRANGER, "/", &[("host", host.as_bytes())]), or_none, "{host:?}");
    }
    assert_eq!(ask(&reject, STRANGER, "/", &[("host", b"\xff\xfe.example.com")]), "invalid_host");
    assert_eq!(ask(&default, STRANGER, "/", &[]), "default");
    assert_eq!(ask(&reject, STRANGER, "/", &[]), "none");
}

#[test]
fn a_tenant_header_precedes_the_host_and_conflicts_are_refused() {
    let table = table(UnknownHost::Reject);
    let (host1, host2): (Header<'_>, Header<'_>) = (("host", b"t1.example.com"), ("host", b"t2.example.com"));
    let cases: &[(&str, &str, &[Header<'_>], &str)] = &[
        // A tenant header comes before the host.
        (STRANGER, "/", &[("x-tenant-id", b"t2"), host1], "t2"),
        (STRANGER, "/", &[("tenant-id", b"t2"), host1], "t2"),
        (STRANGER, "/", &[("x-tenant-id", b"t2"), ("tenant-id", b"t2")], "t2"),
        (STRANGER, "/", &[("x-tenant-id", b"t2"), ("x-tenant-id", b"t2")], "t2"),
        (STRANGER, "/", &[("x-tenant-id", b"t9"), host1], "none"),
        (STRANGER, "/", &[("x-tenant-id", b"t1"), ("tenant-id", b"t2")], "bad_request"),
        (STRANGER, "/", &[("x-tenant-id", b"t1"), ("x-tenant-id", b"t2")], "bad_request"),
        (STRANGER, "/", &[("x-tenant-id", b"")], "invalid_tenant_id"),
        (STRANGER, "/", &[("x-tenant-id", b"T1")], "invalid_tenant_id"),
        (STRANGER, "/", &[("x-tenant-id", b"t1,t2")], "invalid_tenant_id"),
        (STRANGER, "/", &[("x-tenant-id", b"admin")], "invalid_tenant_id"),
        (STRANGER, "/", &[("x-tenant-id", b"\xff1")], "invalid_tenant_id"),
        // There must be exactly one host.
        (STRANGER, "/", &[host1, host2], "invalid_host"),
        (STRANGER, "/", &[host1, host1], "invalid_host"),
        (STRANGER, "http://t2.example.com/", &[], "t2"),
        (STRANGER, "http://t2.example.com:8082/", &[], "t2"),
        (STRANGER, "http://t2.example.com/", &[("host", b"T2.example.com")], "t2"),
        (STRANGER, "http://t2.example.com/", &[host1], "invalid_host"),
        // Forwarded headers count from proxies only.
        (STRANGER, "/", &[host1, ("x-forwarded-host", b"t2.example.com")], "t1"),
        (PROXY, "/", &[host1, ("x-forwarded-host", b"t2.example.com")], "t2"),
        ("[::ffff:10.1.2.3]:5000", "/", &[host1, ("x-forwarded-host", b"t2.example.com")], "t2"),
        ("192.0.2.1:1", "/", &[host1, ("x-forwarded-host", b"t2.example.com")], "t2"),
        ("192.0.2.2:1", "/", &[host1, ("x-forwarded-host", b"t2.example.com")], "t1"),
        (PROXY, "/", &[host1], "t1"),
        (PROXY, "/", &[host1, ("x-forwarded-host", b"t2.example.com, t1.example.com")], "invalid_host"),
        (PROXY, "/", &[host1, ("x-forwarded-host", b"t2.x.y"), ("x-forwarded-host", b"t2.x.y")], "invalid_host"),
        (PROXY, "/", &[host1, ("forwarded", b"host=t2.example.com")], "t1"),
    ];
    for (peer, uri, headers, expected) in cases {
        assert_eq!(ask(&table, peer, uri, headers), *expected, "{peer} {uri} {headers:?}");
    }
}

#[test]
fn without_multi_tenancy_all_hosts_reach_the_default_tenant() {
    let mut table = table(UnknownHost::Reject);
    table.switches.multi_tenant = false;
    assert_eq!(ask(&table, STRANGER, "/", &[("host", b"t1.example.com")]), "default");
    assert_eq!(ask(&table, STRANGER, "/", &[("x-tenant-id", b"t1")]), "default");
    table.switches.default_tenant = None;
    assert_eq!(ask(&table, STRANGER, "/", &[("host", b"t1.example.com")]), "none");
}
