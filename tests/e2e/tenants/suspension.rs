//! A suspension takes effect at the tenant's database server too, and not only on nodes.

use crate::invariants;
use crate::world::{self, SOON};
use anyhow::{Result, ensure};
use harness::clients::TenantApi;
use harness::kill;
use harness::stack::{Role, Stack, StackOptions};
use harness::wait;
use serde_json::json;
use sqlx::{ConnectOptions, Connection, MySqlConnection};
use std::time::Duration;

/// Time in which sessions must end and logins be refused.
const ENFORCED: Duration = Duration::from_secs(2);
/// Time in which a resumed tenant must be served.
const SERVED: Duration = Duration::from_secs(3);

#[tokio::test]
async fn a_suspended_tenant_has_no_session_and_no_login() -> Result<()> {
    let stack = Stack::start(StackOptions::for_test("suspension")?).await?;
    let admin = stack.admin();
    admin.create_active_tenant("acme", Some("acme.example.com"), SOON).await?;
    let (_, token) = world::user(&admin, "ann", &[("acme", "user")]).await?;
    let api = stack.tenant_api(0);
    served(&api, &token, SOON).await?;
    let login = world::login(&stack, "acme").await?;
    let mut root = world::root(&stack).await?;
    let sessions = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER LIKE 'ten\\_%'";
    for round in 0..3 {
        // One session is idle and one is busy, as of a node, or of a thief of the password.
        let mut idle = login.connect().await?;
        let mut busy = login.connect().await?;
        let busy = tokio::spawn(async move { sqlx::query("SELECT SLEEP(60)").execute(&mut busy).await });
        let reply = admin.post("/admin/tenants/acme/suspend", json!({"reason": "unpaid"})).await?;
        ensure!(reply.status == 200, "{}", reply.text);
        wait::until(ENFORCED, &format!("no session and no login, round {round}"), async || {
            let refused = login.connect().await.is_err();
            (refused && world::number(&mut root, sessions).await.ok()? == 0).then_some(())
        })
        .await?;
        ensure!(idle.ping().await.is_err(), "an idle session outlived the suspension");
        ensure!(busy.await?.is_err(), "a busy session outlived the suspension");
        let reply = api.get("acme.example.com", &token, "/api/orders").await?;
        ensure!((reply.status, reply.error()) == (403, "tenant_suspended"), "{}", reply.text);

        admin.post("/admin/tenants/acme/resume", json!({})).await?;
        served(&api, &token, SERVED).await?;
        world::idle(&stack).await?;
        login.connect().await?.close().await?;
    }
    invariants::check(&stack).await
}

#[tokio::test]
async fn the_last_state_is_enforced_after_kills_and_in_a_hurry() -> Result<()> {
    let mut stack = Stack::start(world::without_nodes("suspension-killed")?).await?;
    let admin = stack.admin();
    for id in ["t-0", "t-1", "t-2"] {
        admin.create_active_tenant(id, None, SOON).await?;
    }
    let points = ["enforce.enforce.before", "enforce.enforce.after", "enforce.recorded"].map(String::from);
    kill::at_each(
        &mut stack,
        Role::Provisioner,
        &points,
        async |_: &mut Stack, number: usize| {
            let path = format!("/admin/tenants/t-{number}/suspend");
            admin.post(&path, json!({"reason": "unpaid"})).await.map(drop)
        },
        kill::later,
    )
    .await?;
    world::idle(&stack).await?;
    for id in ["t-0", "t-1", "t-2"] {
        ensure!(!may_log_in(&stack, id).await?, "{id} is suspended");
    }
    // The state changes faster than any job can follow. The jobs of one tenant must not disturb each other.
    for (id, ends_active) in [("t-0", true), ("t-1", false)] {
        for _ in 0..5 {
            admin.post(&format!("/admin/tenants/{id}/resume"), json!({})).await?;
            admin.post(&format!("/admin/tenants/{id}/suspend"), json!({"reason": "unpaid"})).await?;
        }
        if ends_active {
            admin.post(&format!("/admin/tenants/{id}/resume"), json!({})).await?;
        }
    }
    world::idle(&stack).await?;
    ensure!(
        may_log_in(&stack, "t-0").await? && !may_log_in(&stack, "t-1").await?,
        "the last command decides the state"
    );
    invariants::check(&stack).await
}

async fn served(api: &TenantApi, token: &str, limit: Duration) -> Result<()> {
    wait::until_ok(limit, "the tenant to be served", async || {
        let reply = api.get("acme.example.com", token, "/api/orders").await?;
        ensure!(reply.status == 200, "{}", reply.text);
        Ok(())
    })
    .await
}

async fn may_log_in(stack: &Stack, tenant: &str) -> Result<bool> {
    let login: Result<MySqlConnection, _> = world::login(stack, tenant).await?.connect().await;
    Ok(login.is_ok())
}
