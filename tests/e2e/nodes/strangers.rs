//! Strangers with invented tokens do not take the place of users: neither in look-ups, nor in the access log.

use super::slow_system_database::behind_a_proxy;
use crate::world::{self, SOON};
use anyhow::{Context, Result, ensure};
use harness::clients::TenantApi;
use harness::stack::{Stack, StackOptions};
use harness::wait;
use kernel::crypto::tokens::new_session_token;
use secrecy::ExposeSecret;
use serde_json::json;
use std::time::Duration;

const HOST: &str = "acme.example.com";

/// More requests at once than look-ups can wait.
const FLOOD: usize = 700;

/// Asks with so many tokens at once, and returns the statuses of the answers.
async fn flood(api: &TenantApi, tokens: Vec<String>) -> Result<Vec<u16>> {
    let asking = tokens.into_iter().map(|token| {
        let api = api.clone();
        async move { Ok(api.get(HOST, &token, "/api/orders").await?.status) }
    });
    futures::future::try_join_all(asking).await
}

async fn session_misses(stack: &Stack) -> Result<u64> {
    let metrics = stack.data_planes[0].metrics().await?;
    let name = "cache_lookups_total{cache=\"session\",outcome=\"miss\"} ";
    let value = metrics.lines().find_map(|line| line.strip_prefix(name)).context("no misses of the sessions")?;
    Ok(value.trim().parse()?)
}

#[tokio::test]
async fn invented_tokens_leave_known_sessions_their_room() -> Result<()> {
    let (stack, proxy) = behind_a_proxy(StackOptions::for_test("strangers")?).await?;
    let admin = stack.admin();
    admin.create_active_tenant("acme", Some(HOST), SOON).await?;
    let (_, token) = world::user(&admin, "ann", &[("acme", "user")]).await?;
    let api = stack.tenant_api(0);
    world::served(&api, HOST, &token).await?;

    let before = session_misses(&stack).await?;
    let malformed: Vec<_> = (0..100_u32)
        .flat_map(|n| [format!("{n:064x}"), format!("usr_{n}"), format!("{token}{n}"), format!("adm_{}", &token[4..])])
        .collect();
    ensure!(flood(&api, malformed).await?.iter().all(|status| *status == 401), "malformed tokens are refused");
    assert_eq!(session_misses(&stack).await?, before, "no malformed token is looked up");

    // The database is a bit slow, and the node must read the known session again, because it missed an announcement.
    proxy.delay(Duration::from_millis(20));
    let mut system = world::system(&stack).await?;
    for _ in 0..5 {
        let invented = (0..FLOOD).map(|_| new_session_token().expose_secret().to_owned()).collect();
        let strangers = tokio::spawn({
            let api = api.clone();
            async move { flood(&api, invented).await }
        });
        sqlx::query("UPDATE saas_heads SET position = position + 1 WHERE name = 'sessions'")
            .execute(&mut system)
            .await?;
        for _ in 0..20 {
            let reply = api.get(HOST, &token, "/api/orders").await?;
            ensure!(reply.status == 200, "the known session was answered {}: {}", reply.status, reply.text);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let refused = strangers.await??;
        ensure!(refused.iter().all(|status| [401, 503].contains(status)), "{refused:?}");
    }
    Ok(())
}

#[tokio::test]
async fn strangers_have_a_small_part_of_the_access_log() -> Result<()> {
    let options = StackOptions::for_test("access-log-strangers")?
        .with_env("data-plane", "ACCESS_LOG_STRANGER_ROWS_PER_SECOND", "2")
        .with_env("data-plane", "ACCESS_LOG_BUFFER", "400")
        .with_env("control-plane", "ACCESS_LOG_MAX_ROWS", "50");
    let stack = Stack::start(options).await?;
    let admin = stack.admin();
    admin.create_active_tenant("acme", Some(HOST), SOON).await?;
    let (ann, token) = world::user(&admin, "ann", &[("acme", "user")]).await?;
    let api = stack.tenant_api(0);
    world::served(&api, HOST, &token).await?;
    let began = std::time::Instant::now();
    let ask = async |path: &str, n: usize, token: &str| -> Result<()> {
        let (bearer, id) = (format!("Bearer {token}"), format!("asked-{n}"));
        let headers = [("Host", HOST), ("Authorization", bearer.as_str()), ("X-Request-Id", id.as_str())];
        api.request("GET", path, &headers).await.map(drop)
    };
    for n in 0..100 {
        for _ in 0..3 {
            ask("/api/orders", n, "forged").await?;
            ask("/api/nothing", n, "forged").await?;
        }
        ask("/api/orders", n, &token).await?;
    }
    let allowed = 2 + 2 * (began.elapsed().as_secs() + 1);
    let mut system = world::system(&stack).await?;
    let of_user = format!(
        "SELECT COUNT(DISTINCT request_id) FROM saas_access_logs WHERE user_id = '{ann}' AND request_id LIKE 'asked-%'"
    );
    wait::until(SOON, "the rows of the user", async || {
        world::number(&mut system, &of_user).await.ok().filter(|rows| *rows == 100)
    })
    .await?;
    let of_strangers = "SELECT COUNT(*) FROM saas_access_logs WHERE user_id IS NULL AND request_id LIKE 'asked-%'";
    let rows = world::number(&mut system, of_strangers).await?;
    ensure!(rows > 0 && rows <= allowed as i64, "{rows} rows of strangers, {allowed} allowed");

    // The log has a largest size. The oldest rows go first.
    let newest = world::number(&mut system, "SELECT MAX(id) FROM saas_access_logs").await?;
    let asked = admin.post("/admin/schedules/access-log-size/run", json!({})).await?;
    ensure!(asked.status == 202, "{}", asked.text);
    let mut other = world::system(&stack).await?;
    wait::until(SOON, "the oldest rows to go", async || {
        let oldest = world::number(&mut other, "SELECT MIN(id) FROM saas_access_logs").await.ok()?;
        (oldest > newest - 50).then_some(())
    })
    .await
    .context("rows beyond ACCESS_LOG_MAX_ROWS")?;
    let newest_is_there = format!("SELECT COUNT(*) FROM saas_access_logs WHERE id = {newest}");
    assert_eq!(world::number(&mut other, &newest_is_there).await?, 1);
    Ok(())
}
