//! Self sign-up is off by default, makes user and tenant in one transaction, once per key, and is limited.

use crate::world::{self, SOON};
use anyhow::{Context, Result};
use harness::clients::Reply;
use harness::stack::{Stack, StackOptions};
use harness::wait;
use serde_json::{Value, json};

#[tokio::test]
async fn a_stranger_signs_up_and_is_admin_of_a_new_tenant() -> Result<()> {
    let options = StackOptions::for_test("signup")?
        .with_env("control-plane", "SIGNUPS_PER_ADDRESS_PER_HOUR", "8")
        .with_env("control-plane", "TRUSTED_PROXIES", "127.0.0.0/8");
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

    // A user with the same name and address in another tenant gets the same answer as any other.
    let mut other = body.clone();
    other["tenant_id"] = json!("newschool-two");
    assert_eq!(sign_up(other.clone(), "one-more-key-of-16-characters").await?.status, 202);
    other["tenant_id"] = json!("newschool-three");
    let limited = loop {
        let reply = sign_up(other.clone(), "one-more-key-of-16-characters").await?;
        if reply.status != 422 {
            break reply;
        }
    };
    assert_eq!((limited.status, limited.error()), (429, "too_many_requests"), "{}", limited.text);
    assert!(limited.header("retry-after").is_some());

    // The limit counts by the address that a trusted proxy names, and not by what stands before it.
    let by_proxy = async |forwarded: &str| -> Result<Reply> {
        let headers = [("Idempotency-Key", "one-more-key-of-16-characters"), ("X-Forwarded-For", forwarded)];
        stranger.request("POST", "/api/signup", Some(other.clone()), &headers).await
    };
    for asked in 0..8 {
        let reply = by_proxy(&format!("192.0.2.{asked}, 198.51.100.7")).await?;
        assert_eq!((reply.status, reply.error()), (422, "idempotency_key_reused"), "{}", reply.text);
    }
    assert_eq!(by_proxy("192.0.2.99, 198.51.100.7").await?.error(), "too_many_requests");
    assert_eq!(by_proxy("198.51.100.8").await?.error(), "idempotency_key_reused");
    Ok(())
}
