//! What is announced is forgotten, and nothing else: one revoked session, one changed user, one changed member.

use crate::world::{self, SOON};
use anyhow::{Context, Result, ensure};
use harness::stack::Stack;
use harness::wait;
use kernel::crypto::tokens::session_key;
use serde_json::json;
use std::time::Duration;

const HOST: &str = "acme.example.com";

/// The look-ups that the node could not answer from memory: of sessions, members and profiles.
async fn misses(stack: &Stack) -> Result<[u64; 3]> {
    let metrics = stack.data_planes[0].metrics().await?;
    let of = |cache: &str| {
        let name = format!("cache_lookups_total{{cache=\"{cache}\",outcome=\"miss\"}} ");
        let value = metrics.lines().find_map(|line| line.strip_prefix(&name));
        anyhow::Ok(value.with_context(|| format!("no misses of the cache {cache}"))?.trim().parse()?)
    };
    Ok([of("session")?, of("member")?, of("profile")?])
}

#[tokio::test]
async fn one_change_leaves_everything_else_in_memory() -> Result<()> {
    let stack = world::start("invalidation").await?;
    let admin = stack.admin();
    admin.create_active_tenant("acme", Some(HOST), SOON).await?;
    let (ann, of_ann) = world::user(&admin, "ann", &[("acme", "user")]).await?;
    let (bob, of_bob) = world::user(&admin, "bob", &[("acme", "user")]).await?;
    let second = admin.create_token(&bob, None).await?;
    let api = stack.tenant_api(0);
    let own = format!("/api/users/{ann}");
    let ask = async || -> Result<()> {
        let reply = api.get(HOST, &of_ann, &own).await?;
        ensure!(reply.status == 200, "{}", reply.text);
        Ok(())
    };
    let of_second = async || Ok::<_, anyhow::Error>(api.get(HOST, &second, &format!("/api/users/{bob}")).await?);
    for token in [&of_ann, &of_bob, &second] {
        world::served(&api, HOST, token).await?;
    }
    ask().await?;
    ensure!(of_second().await?.status == 200, "bob has a profile");
    let mut system = world::system(&stack).await?;
    let id = "SELECT id FROM user_token WHERE token = ?";
    let id: i64 = sqlx::query_scalar(id).bind(session_key(&second)).fetch_one(&mut system).await?;

    let before = misses(&stack).await?;
    let patched =
        admin.request("PATCH", &format!("/admin/users/{bob}"), Some(json!({"name": "Bob Brown"})), &[]).await?;
    ensure!(patched.status == 200, "{}", patched.text);
    wait::until(SOON, "the node to know the new name", async || {
        of_second().await.ok().filter(|reply| reply.json["user"]["name"] == "Bob Brown").map(drop)
    })
    .await?;
    let revoked = admin.request("DELETE", &format!("/admin/users/{bob}/tokens/{id}"), None, &[]).await?;
    ensure!(revoked.status == 204, "{}", revoked.text);
    wait::until(SOON, "the node to refuse the revoked session", async || {
        of_second().await.ok().filter(|reply| reply.status == 401).map(drop)
    })
    .await?;
    admin.put_member("acme", &bob, "viewer").await?;
    let reply = admin.post("/admin/tenants/acme/domains", json!({"domain": "other.example.com"})).await?;
    ensure!(reply.status == 201, "{}", reply.text);
    let head = "SELECT CAST(position AS SIGNED) FROM saas_heads WHERE name = 'events'";
    let head = world::number(&mut system, head).await?;
    wait::until(SOON, "the node to know the domain", async || {
        let metrics = stack.data_planes[0].metrics().await.ok()?;
        metrics.lines().any(|line| line == format!("node_position {head}")).then_some(())
    })
    .await?;
    world::served(&api, "other.example.com", &of_bob).await?;
    let of_bob_alone = misses(&stack).await?;
    // Bob's profile and membership were read again, each once for its change. The revoked session was not asked for.
    assert_eq!(of_bob_alone, [before[0], before[1] + 1, before[2] + 1]);
    ask().await?;
    assert_eq!(misses(&stack).await?, of_bob_alone, "nothing of the other user is read again");

    // An older program announces a change without saying what it concerns.
    sqlx::query("DELETE FROM user_token WHERE token = ?").bind(session_key(&of_bob)).execute(&mut system).await?;
    for head in ["sessions", "users"] {
        let raise = "UPDATE saas_heads SET position = position + 1 WHERE name = ?";
        sqlx::query(raise).bind(head).execute(&mut system).await?;
    }
    wait::until(SOON, "the node to refuse bob", async || {
        api.get(HOST, &of_bob, "/api/orders").await.ok().filter(|reply| reply.status == 401).map(drop)
    })
    .await?;
    ask().await?;
    let after_the_gap = misses(&stack).await?;
    ensure!(after_the_gap[0] > of_bob_alone[0] && after_the_gap[2] > of_bob_alone[2], "{after_the_gap:?}");

    // The address carries no token.
    let in_address = api.request("GET", &format!("/api/orders?token={of_ann}"), &[("Host", HOST)]).await?;
    assert_eq!((in_address.status, in_address.error()), (401, "unauthenticated"));
    Ok(())
}

/// Sessions count for longer than a minute without being read again, also while their tenant changes.
#[tokio::test]
#[ignore = "long: waits for longer than a minute"]
async fn sessions_live_on_while_nothing_contradicts_them() -> Result<()> {
    let stack = world::start("sessions-live-on").await?;
    let admin = stack.admin();
    admin.create_active_tenant("acme", Some(HOST), SOON).await?;
    let (_, token) = world::user(&admin, "ann", &[("acme", "user")]).await?;
    let api = stack.tenant_api(0);
    world::served(&api, HOST, &token).await?;
    let before = misses(&stack).await?;
    for _ in 0..14 {
        tokio::time::sleep(Duration::from_secs(5)).await;
        for enabled in [true, false] {
            let path = "/admin/tenants/acme/maintenance";
            admin.post(path, json!({"enabled": enabled})).await?;
        }
        world::served(&api, HOST, &token).await.context("after an event of the tenant")?;
    }
    assert_eq!(misses(&stack).await?, before);
    Ok(())
}
