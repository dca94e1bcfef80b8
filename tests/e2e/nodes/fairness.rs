//! A tenant whose database hangs holds up itself and nobody else, and nothing it asked for stays behind at the server.

use crate::world::{self, SOON};
use anyhow::{Context, Result, ensure};
use harness::admin::TenantApi;
use harness::stack::Stack;
use harness::wait;
use sqlx::MySqlConnection;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const OTHERS: [&str; 3] = ["t-1", "t-2", "t-3"];
const HANGING: usize = 200;

/// Statements of tenants' users that are being executed.
const RUNNING: &str = "SELECT COUNT(*) FROM information_schema.PROCESSLIST
                       WHERE USER LIKE 'ten\\_%' AND COMMAND IN ('Query', 'Execute')";

async fn orders(api: &TenantApi, tenant: &str, token: &str) -> Result<u16> {
    Ok(api.get(&format!("{tenant}.example.com"), token, "/api/orders").await?.status)
}

async fn served(api: &TenantApi, tenant: &str, token: &str) -> Result<()> {
    wait::until(SOON, &format!("{tenant} to be served"), async || {
        orders(api, tenant, token).await.ok().filter(|status| *status == 200)
    })
    .await
    .map(drop)
}

async fn start(name: &str, tenants: &[&str]) -> Result<(Stack, String)> {
    let stack = world::start(name).await?;
    let admin = stack.admin();
    let (user, token) = world::user(&admin, "ann", &[]).await?;
    for tenant in tenants {
        admin.create_active_tenant(tenant, Some(&format!("{tenant}.example.com")), SOON).await?;
        admin.put_member(tenant, &user, "admin").await?;
        world::plant_order(&stack, tenant, &user, tenant).await?;
    }
    for tenant in tenants {
        served(&stack.tenant_api(0), tenant, &token).await?;
    }
    Ok((stack, token))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_with_200_hanging_requests_fails_none_of_the_others() -> Result<()> {
    let (stack, token) = start("fairness", &["hung", OTHERS[0], OTHERS[1], OTHERS[2]]).await?;
    let mut holder = world::root(&stack).await?;
    sqlx::raw_sql("LOCK TABLES ai_shifu_tenant_hung.order_orders WRITE").execute(&mut holder).await?;

    let hanging: Vec<_> = (0..HANGING)
        .map(|_| {
            let (api, token) = (stack.tenant_api(0), token.clone());
            tokio::spawn(async move { api.get("hung.example.com", &token, "/api/orders").await })
        })
        .collect();
    let mut root = world::root(&stack).await?;
    wait::until(SOON, "requests to hang", async || {
        world::number(&mut root, RUNNING).await.ok().filter(|running| *running > 0)
    })
    .await?;
    let going_on = Arc::new(AtomicBool::new(true));
    let others: Vec<_> = OTHERS
        .into_iter()
        .map(|tenant| {
            let (api, token, going_on) = (stack.tenant_api(0), token.clone(), Arc::clone(&going_on));
            tokio::spawn(async move {
                let mut answered = 0;
                while going_on.load(Ordering::SeqCst) {
                    let status = orders(&api, tenant, &token).await?;
                    ensure!(status == 200, "{tenant} was answered {status}");
                    answered += 1;
                }
                Ok(answered)
            })
        })
        .collect();
    for request in hanging {
        let reply = request.await??;
        assert_eq!((reply.status, reply.error()), (503, "tenant_unavailable"), "{}", reply.text);
        assert!(reply.header("retry-after").is_some());
    }
    going_on.store(false, Ordering::SeqCst);
    for other in others {
        let answered: usize = other.await??;
        ensure!(answered > 20, "only {answered} requests were answered meanwhile");
    }
    assert_eq!(world::number(&mut root, RUNNING).await?, 0, "nothing is left at the server");
    sqlx::raw_sql("UNLOCK TABLES").execute(&mut holder).await?;
    served(&stack.tenant_api(0), "hung", &token).await
}

#[tokio::test]
async fn a_statement_ends_at_the_server_at_its_limit_and_when_its_client_gives_up() -> Result<()> {
    let (stack, token) = start("statements", &["slow"]).await?;
    let (api, mut root) = (stack.tenant_api(0), world::root(&stack).await?);
    // Longer than anybody waits; a sleeping row costs the machine nothing.
    sqlx::raw_sql(
        "RENAME TABLE ai_shifu_tenant_slow.order_orders TO ai_shifu_tenant_slow.kept;
         CREATE VIEW ai_shifu_tenant_slow.order_orders AS SELECT * FROM ai_shifu_tenant_slow.kept WHERE SLEEP(60) = 0",
    )
    .execute(&mut root)
    .await?;

    let refused = api.get("slow.example.com", &token, "/api/orders").await?;
    assert_eq!((refused.status, refused.error()), (503, "tenant_unavailable"), "{}", refused.text);
    assert_eq!(world::number(&mut root, RUNNING).await?, 0, "the server ended it before the node answered");
    assert_eq!(ended(&api).await?, 0, "nobody had to end it");

    let asking = tokio::spawn({
        let (api, token) = (api.clone(), token.clone());
        async move { api.get("slow.example.com", &token, "/api/orders").await }
    });
    wait_for(&mut root, "the statement", 1).await?;
    asking.abort();
    // Far below the limit: it was told.
    wait_for(&mut root, "its end", 0).await?;
    wait::until(SOON, "the node to have ended it", async || ended(&api).await.ok().filter(|ended| *ended == 1)).await?;
    sqlx::raw_sql(
        "DROP VIEW ai_shifu_tenant_slow.order_orders;
         RENAME TABLE ai_shifu_tenant_slow.kept TO ai_shifu_tenant_slow.order_orders",
    )
    .execute(&mut root)
    .await?;
    served(&api, "slow", &token).await
}

async fn wait_for(root: &mut MySqlConnection, what: &str, running: i64) -> Result<()> {
    wait::until(Duration::from_secs(3), what, async || {
        world::number(root, RUNNING).await.ok().filter(|now| *now == running)
    })
    .await
    .map(drop)
}

/// Statements that this node has ended.
async fn ended(api: &TenantApi) -> Result<u64> {
    let metrics = api.request("GET", "/metrics", &[]).await?.text;
    let line = metrics.lines().find_map(|line| line.strip_prefix("tenant_statements_ended_total "));
    line.map_or(Ok(0), |value| value.parse().context("a number"))
}
