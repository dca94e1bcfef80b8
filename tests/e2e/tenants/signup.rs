//! Self sign-up is off by default, makes user and tenant in one transaction, once per key, and is limited. Strangers
//! who send slowly delay no administrator.

use crate::world::{self, SOON};
use anyhow::{Context, Result};
use harness::clients::{Admin, Reply};
use harness::stack::{Stack, StackOptions};
use harness::wait;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

#[tokio::test]
async fn a_stranger_signs_up_and_is_admin_of_a_new_tenant() -> Result<()> {
    let mut options = StackOptions::for_test("signup")?
        .with_env("control-plane", "SIGNUPS_PER_ADDRESS_PER_HOUR", "2")
        .with_env("control-plane", "TRUSTED_PROXIES", "127.0.0.0/8");
    options.control_planes = 2;
    let stack = Stack::start(options).await?;
    let admin = stack.admin();
    let stranger = admin.with_token("");
    let sign_up = async |body: Value, key: &str| -> Result<Reply> {
        stranger.request("POST", "/api/signup", Some(body), &[("Idempotency-Key", key)]).await
    };
    let body = json!({"tenant_id": "newschool", "tenant_name": "New", "username": "ann", "email": "ann@example.com"});
    let key = "8e7c1a52-0d5f-4f0c-9c53-0d2f8a9b6c11";
    let off = sign_up(body.clone(), key).await?;
    assert_eq!((off.status, off.error()), (404, "not_found"), "{}", off.text);
    slow_strangers_delay_no_administrator(&stack).await.context("while sign-up is off")?;
    let on =
        admin.request("PUT", "/admin/config/system.tenant_signup_enabled", Some(json!({"value": true})), &[]).await?;
    assert_eq!(on.status, 200, "{}", on.text);

    for (field, value, code) in [
        ("email", json!("nobody"), "invalid_email"),
        ("tenant_id", json!("admin"), "invalid_tenant_id"),
        ("tenant_domain", json!("a.example.com"), "invalid_body"),
    ] {
        let mut wrong = body.clone();
        wrong[field] = value;
        let reply = sign_up(wrong, "another-key-of-16-characters").await?;
        assert_eq!((reply.status, reply.error()), (422, code), "{}", reply.text);
    }
    let first = sign_up(body.clone(), key).await?;
    assert_eq!(first.status, 202, "{}", first.text);
    let again = sign_up(body.clone(), key).await?;
    assert_eq!((again.status, &again.json), (202, &first.json), "the same key gives the same answer");
    assert_eq!(sign_up(body.clone(), "another-key-of-16-characters").await?.error(), "tenant_exists");
    let mut system = world::system(&stack).await?;
    let users = "SELECT COUNT(*) FROM user_info WHERE username = 'ann'";
    assert_eq!(world::number(&mut system, users).await?, 1, "a refused signup leaves no user");

    admin.wait_for_operation(first.operation_id()?, SOON).await?;
    let token = first.json["token"].as_str().context("a token")?;
    let api = stack.tenant_api(0);
    let me = wait::until(SOON, "the new tenant to be served", async || {
        api.get("newschool.example.com", token, "/api/me").await.ok().filter(|reply| reply.status == 200)
    })
    .await?;
    assert_eq!((&me.json["tenant_id"], &me.json["role"]), (&json!("newschool"), &json!("admin")));

    // A user with the same name and address in another tenant gets the same answer as any other, at any control plane.
    let elsewhere = Admin::new(stack.control_planes[1].url(), "");
    let of = |tenant: &str| {
        let mut other = body.clone();
        other["tenant_id"] = json!(tenant);
        other
    };
    let by = async |client: &Admin, tenant: &str, headers: &[(&str, &str)]| {
        client.request("POST", "/api/signup", Some(of(tenant)), headers).await
    };
    assert_eq!(by(&elsewhere, "newschool-two", &[]).await?.status, 202);
    // Accepted sign-ups count, at all control planes together; the refused ones above have counted for nothing.
    for client in [&stranger, &elsewhere] {
        let limited = by(client, "newschool-three", &[]).await?;
        assert_eq!((limited.status, limited.error()), (429, "too_many_requests"), "{}", limited.text);
        let wait: u32 = limited.header("retry-after").context("Retry-After")?.parse()?;
        assert!((1..=3601).contains(&wait), "{wait}");
    }
    let again = sign_up(body.clone(), key).await?;
    assert_eq!((again.status, &again.json), (202, &first.json), "the answer is given again all the same");

    // The limit counts by the address that a trusted proxy names, and not by what stands before it.
    for asked in 0..2 {
        let forwarded = format!("192.0.2.{asked}, 198.51.100.7:4711");
        let reply = by(&stranger, &format!("by-proxy-{asked}"), &[("X-Forwarded-For", &forwarded)]).await?;
        assert_eq!(reply.status, 202, "{}", reply.text);
    }
    let limited = by(&elsewhere, "by-proxy-3", &[("X-Forwarded-For", "192.0.2.99, 198.51.100.7")]).await?;
    assert_eq!(limited.error(), "too_many_requests");
    let unreadable = by(&elsewhere, "by-proxy-3", &[("X-Forwarded-For", "198.51.100.9, unknown")]).await?;
    assert_eq!((unreadable.status, unreadable.error()), (400, "bad_request"), "{}", unreadable.text);
    assert_eq!(by(&elsewhere, "by-proxy-3", &[("X-Forwarded-For", "198.51.100.8")]).await?.status, 202);

    slow_strangers_delay_no_administrator(&stack).await?;
    Ok(())
}

/// Strangers begin to send bodies and do not go on.
async fn slow_strangers_delay_no_administrator(stack: &Stack) -> Result<()> {
    let address = stack.control_plane_url().trim_start_matches("http://").to_owned();
    let head = "POST /api/signup HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.7\r\n\
                Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{";
    let mut slow = Vec::new();
    for _ in 0..70 {
        let mut stream = TcpStream::connect(&address).await?;
        stream.write_all(head.as_bytes()).await?;
        slow.push(stream);
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let admin = stack.admin();
    for _ in 0..20 {
        let reply = admin.request("GET", "/admin/tenants", None, &[]).await?;
        assert_eq!(reply.status, 200, "{}", reply.text);
    }
    // The turns of strangers are not all taken either: this one is refused for another reason.
    let enabled: Value = admin.get("/admin/config/system.tenant_signup_enabled").await?;
    let reply = admin.with_token("").request("POST", "/api/signup", Some(json!({})), &[]).await?;
    let expected = if enabled["value"] == true { 429 } else { 404 };
    assert_eq!(reply.status, expected, "{}", reply.text);
    drop(slow);
    Ok(())
}
