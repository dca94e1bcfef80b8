//! Bad input gets a 4xx code of its own, which names the field in the caller's language. It changes nothing.

use crate::world::{self, SOON};
use anyhow::Result;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// Texts in cursors that no list has issued, and that a database would refuse or take for something else.
const CRAFTED: [&str; 10] = [
    "3000000000000000000|1",
    "-99999999999999999|1",
    "1|+1",
    "+99999-01-01|acme",
    "2026-1-1|acme",
    "t+1",
    "u18446744073709551615",
    "m9223372036854775808",
    "h01",
    "1|99999999999999999999",
];

#[tokio::test]
async fn the_admin_api_names_the_field_of_bad_input() -> Result<()> {
    let stack = harness::stack::Stack::start(world::without_nodes("bad-input")?).await?;
    let admin = stack.admin();
    let before = admin.events_after(0).await?.len();
    let tenant = |id: &str, domain: Value| json!({"tenant_id": id, "tenant_name": "T", "tenant_domain": domain});
    let long = "x".repeat(33);
    let mut cases: Vec<(Value, u16, &str, &str)> = ["", "a", &long, "A-b", "a_b", "-ab", "ab-", "admin", "тест", "a/b"]
        .iter()
        .map(|id| (tenant(id, Value::Null), 422, "invalid_tenant_id", "tenant_id"))
        .collect();
    let domains = [
        "",
        "a.com:80",
        "http://a.com",
        "*.a.com",
        "127.0.0.1",
        "::1",
        "127.1",
        "localhost",
        "a..com",
        "a b.com",
        "-a.com",
        "xn--a.com",
    ];
    cases.extend(domains.map(|domain| (tenant("good", domain.into()), 422, "invalid_domain", "tenant_domain")));
    cases.extend([
        (json!({"tenant_id": "good", "tenant_name": " "}), 422, "invalid_tenant_name", "tenant_name"),
        (json!({"tenant_id": "good", "tenant_name": "T", "plan_type": "gold"}), 422, "invalid_plan_type", "plan_type"),
        (json!({"tenant_id": "good"}), 422, "invalid_body", "body"),
        (json!({"tenant_id": 3, "tenant_name": "T"}), 422, "invalid_body", "tenant_id"),
        (json!({"tenant_id": "good", "tenant_name": "T", "status": 1}), 422, "invalid_body", "status"),
        (json!([]), 422, "invalid_body", "body"),
    ]);
    for (body, status, code, field) in cases {
        let reply = admin.post("/admin/tenants", body.clone()).await?;
        assert_eq!(
            (reply.status, reply.error(), reply.json["field"].as_str()),
            (status, code, Some(field)),
            "{body}: {}",
            reply.text
        );
        assert!(reply.json["request_id"].is_string() && reply.json["message"].is_string());
    }
    for (method, path, status, code) in [
        ("GET", "/admin/tenants?cursor=nonsense", 422, "invalid_cursor"),
        ("GET", "/admin/tenants?limit=0", 422, "invalid_limit"),
        ("GET", "/admin/tenants?status=9", 422, "invalid_status"),
        ("GET", "/admin/events?after=x", 422, "invalid_after"),
        ("GET", "/admin/operations/nonsense", 422, "invalid_operation_id"),
        ("GET", "/admin/operations/00000000-0000-0000-0000-000000000000", 404, "operation_not_found"),
        ("GET", "/admin/tenants/nobody", 404, "tenant_not_found"),
        ("GET", "/admin/tenants/NOBODY", 422, "invalid_tenant_id"),
        ("GET", "/admin/tenants/%ff%fe", 400, "bad_request"),
        ("GET", "/admin/nothing", 404, "not_found"),
        ("DELETE", "/admin/tenants", 405, "method_not_allowed"),
    ] {
        let reply = admin.request(method, path, None, &[]).await?;
        assert_eq!((reply.status, reply.error()), (status, code), "{method} {path}: {}", reply.text);
    }
    for list in ["/admin/tenants", "/admin/users", "/admin/tenants/default/users", "/admin/health", "/admin/stats"] {
        for crafted in CRAFTED {
            let cursor = URL_SAFE_NO_PAD.encode(crafted);
            let reply = admin.request("GET", &format!("{list}?cursor={cursor}"), None, &[]).await?;
            assert_eq!((reply.status, reply.error()), (422, "invalid_cursor"), "{list} {crafted}: {}", reply.text);
        }
    }
    let large = json!({"tenant_id": "good", "tenant_name": "x".repeat(100_000)});
    assert_eq!(admin.post("/admin/tenants", large).await?.status, 413);
    let key = [("Idempotency-Key", "a b")];
    let reply = admin.request("POST", "/admin/tenants", Some(tenant("good", Value::Null)), &key).await?;
    assert_eq!((reply.status, reply.error()), (422, "invalid_idempotency_key"));
    let reply = admin.request("GET", "/admin/tenants/nobody", None, &[("Accept-Language", "zh-CN")]).await?;
    assert_eq!(reply.json["message"], "租户不存在");
    for (path, body, code) in [
        ("/admin/users", json!({"username": ""}), "invalid_username"),
        ("/admin/users", json!({"username": "u", "email": "nobody"}), "invalid_email"),
        ("/admin/users/nobody/tokens", json!({"ttl_seconds": 1}), "invalid_ttl_seconds"),
        ("/admin/users/nobody/tokens", json!({}), "user_not_found"),
        ("/admin/users", json!(["u"]), "invalid_body"),
        (
            "/admin/tenants",
            json!({"tenant_id": "good", "tenant_name": "G", "plan_type": "\u{48a2b}é"}),
            "invalid_plan_type",
        ),
    ] {
        assert_eq!(admin.post(path, body.clone()).await?.error(), code, "{path} {body}");
    }
    let reply = admin.request("PUT", "/admin/tenants/default/users/nobody", Some(json!({"role": "king"})), &[]).await?;
    assert_eq!((reply.status, reply.error()), (422, "invalid_role"));
    let reply = admin.request("PUT", "/admin/tenants/default/users/nobody", Some(json!({"role": "user"})), &[]).await?;
    assert_eq!((reply.status, reply.error()), (404, "user_not_found"));
    assert_eq!(admin.events_after(0).await?.len(), before, "bad input changes nothing");
    Ok(())
}

#[tokio::test]
async fn pages_of_tenants_hold_each_tenant_once() -> Result<()> {
    let stack = harness::stack::Stack::start(world::without_nodes("pages")?).await?;
    let admin = stack.admin();
    for n in 0..5 {
        let created = admin.create_tenant(&format!("t-{n}"), "T", None).await?;
        admin.wait_for_operation(&created.operation_id, SOON).await?;
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page: Value = admin.get(&format!("/admin/tenants?limit=2&status=active{cursor}")).await?;
        let tenants = page["tenants"].as_array().cloned().unwrap_or_default();
        seen.extend(tenants.iter().filter_map(|tenant| tenant["tenant_id"].as_str().map(str::to_owned)));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, ["default", "t-0", "t-1", "t-2", "t-3", "t-4"]);
    Ok(())
}

#[tokio::test]
async fn the_tenant_api_refuses_bad_requests_by_code() -> Result<()> {
    let stack = world::start("bad-request").await?;
    let admin = stack.admin();
    admin.create_active_tenant("acme", Some("acme.example.com"), SOON).await?;
    admin.create_active_tenant("other", Some("other.example.com"), SOON).await?;
    let (user, member) = world::user(&admin, "ann", &[("acme", "admin")]).await?;
    let api = stack.tenant_api(0);
    world::served(&api, "acme.example.com", &member).await?;
    let bearer = format!("Bearer {member}");
    let auth = ("Authorization", bearer.as_str());
    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], u16, &'a str);
    let cases: [Case<'_>; 14] = [
        ("/api/orders", &[("Host", "acme.example.com")], 401, "unauthenticated"),
        (
            "/api/orders",
            &[("Host", "acme.example.com"), ("Authorization", "Bearer usr_nonsense")],
            401,
            "unauthenticated",
        ),
        ("/api/orders", &[("Host", "other.example.com"), auth], 403, "user_not_in_tenant"),
        ("/api/orders", &[("X-Tenant-ID", "other"), ("Host", "acme.example.com"), auth], 403, "user_not_in_tenant"),
        ("/api/orders", &[("X-Tenant-ID", "nobody"), auth], 404, "tenant_not_found"),
        ("/api/orders", &[("X-Tenant-ID", "No_Body"), auth], 422, "invalid_tenant_id"),
        ("/api/orders", &[("Host", "unknown.example.org"), auth], 403, "user_not_in_tenant"),
        ("/api/orders", &[("Host", "a..b"), auth], 400, "invalid_host"),
        ("/api/orders?cursor=nonsense", &[("Host", "acme.example.com"), auth], 422, "invalid_cursor"),
        ("/api/orders?limit=0", &[("Host", "acme.example.com"), auth], 422, "invalid_limit"),
        ("/api/orders?status=7", &[("Host", "acme.example.com"), auth], 422, "invalid_status"),
        ("/api/orders?from=yesterday", &[("Host", "acme.example.com"), auth], 422, "invalid_from"),
        ("/api/nothing", &[("Host", "acme.example.com"), auth], 404, "not_found"),
        // A forwarded host counts only from configured proxies, and none is configured.
        (
            "/api/orders",
            &[("Host", "other.example.com"), ("X-Forwarded-Host", "acme.example.com"), auth],
            403,
            "user_not_in_tenant",
        ),
    ];
    for (path, headers, status, code) in cases {
        let reply = api.request("GET", path, headers).await?;
        assert_eq!((reply.status, reply.error()), (status, code), "{path} {headers:?}: {}", reply.text);
        assert!(reply.json["request_id"].is_string());
    }
    assert_eq!(api.request("DELETE", "/api/orders", &[auth]).await?.status, 405);
    let lists = ["orders", "shifus", "activities"].map(|list| format!("/api/users/{user}/{list}"));
    for list in ["/api/orders".to_owned()].iter().chain(&lists) {
        for crafted in CRAFTED {
            let path = format!("{list}?cursor={}", URL_SAFE_NO_PAD.encode(crafted));
            let reply = api.request("GET", &path, &[("Host", "acme.example.com"), auth]).await?;
            assert_eq!((reply.status, reply.error()), (422, "invalid_cursor"), "{list} {crafted}: {}", reply.text);
        }
    }
    for (query, code) in [("from=2016-12-31T23:59:60Z", "invalid_from"), ("to=%2B99999-01-01T00:00:00Z", "invalid_to")]
    {
        let path = format!("/api/orders?{query}");
        let reply = api.request("GET", &path, &[("Host", "acme.example.com"), auth]).await?;
        assert_eq!((reply.status, reply.error()), (422, code), "{query}: {}", reply.text);
    }
    // A plus sign that the client did not encode arrives as a blank.
    let path = "/api/orders?from=2025-01-31T08:00:00+08:00";
    assert_eq!(api.request("GET", path, &[("Host", "acme.example.com"), auth]).await?.status, 200);
    // A cookie beside ours has letters that are not ASCII, as some applications write them.
    let cookies = format!("name=Zo\u{eb}; token=\"{member}\"");
    let reply = api.request("GET", "/api/orders", &[("Host", "acme.example.com:+80"), auth]).await?;
    assert_eq!((reply.status, reply.error()), (400, "invalid_host"), "{}", reply.text);
    let reply = api.request("GET", "/api/orders", &[("Host", "acme.example.com"), ("Cookie", &cookies)]).await?;
    assert_eq!(reply.status, 200, "{}", reply.text);
    Ok(())
}
