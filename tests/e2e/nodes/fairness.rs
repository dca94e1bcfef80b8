//! A tenant whose database hangs delays only itself, and none of its statements is left at the server.

use crate::world::{self, SOON};
use anyhow::{Context, Result, ensure};
use harness::load::{Answered, Load};
use harness::stack::Stack;
use harness::wait;
use sqlx::MySqlConnection;
use std::time::Duration;

const OTHERS: [&str; 3] = ["t-1", "t-2", "t-3"];
const HANGING: usize = 200;

/// Counts the statements of tenants' users that the server executes.
const RUNNING: &str = "SELECT COUNT(*) FROM information_schema.PROCESSLIST
                       WHERE USER LIKE 'ten\\_%' AND COMMAND IN ('Query', 'Execute')";

async fn start(name: &str, tenants: &[&str]) -> Result<(Stack, String)> {
    let stack = world::start(name).await?;
    let token = world::fleet(&stack, tenants).await?;
    world::serves_all(&stack.tenant_api(0), tenants, &token).await?;
    Ok((stack, token))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_hanging_requests_fail_no_other_tenant() -> Result<()> {
    let (stack, token) = start("fairness", &["hung", OTHERS[0], OTHERS[1], OTHERS[2]]).await?;
    let mut holder = world::root(&stack).await?;
    sqlx::raw_sql("LOCK TABLES ai_shifu_tenant_hung.order_orders WRITE").execute(&mut holder).await?;

    let mut hanging = Load::new();
    for _ in 0..HANGING {
        let (api, token) = (stack.tenant_api(0), token.clone());
        hanging.client_for(1, move |_| {
            let (api, token) = (api.clone(), token.clone());
            async move {
                let reply = api.get(&world::host("hung"), &token, "/api/orders").await?;
                ensure!((reply.status, reply.error()) == (503, "tenant_unavailable"), "{}", reply.text);
                ensure!(reply.header("retry-after").is_some(), "without Retry-After");
                Ok(Answered::Refused)
            }
        });
    }
    let mut root = world::root(&stack).await?;
    wait::until(SOON, "requests to hang", async || {
        world::number(&mut root, RUNNING).await.ok().filter(|running| *running > 0)
    })
    .await?;
    let others = OTHERS.map(|tenant| {
        let mut load = Load::new();
        load.client(world::orders(&stack.tenant_api(0), &token, move |_| tenant.to_owned()));
        load
    });
    assert_eq!(hanging.done().await?.refused, HANGING as u64);
    for other in others {
        let served = other.end().await?.served;
        ensure!(served > 20, "only {served} requests were answered meanwhile");
    }
    assert_eq!(world::number(&mut root, RUNNING).await?, 0, "no statement of the tenant runs at the server any more");
    sqlx::raw_sql("UNLOCK TABLES").execute(&mut holder).await?;
    world::served(&stack.tenant_api(0), &world::host("hung"), &token).await.map(drop)
}

#[tokio::test]
async fn a_statement_ends_at_its_limit_or_with_its_client() -> Result<()> {
    let (stack, token) = start("statements", &["slow"]).await?;
    let (api, mut root) = (stack.tenant_api(0), world::root(&stack).await?);
    // This is longer than any wait. A sleeping row costs the machine nothing.
    sqlx::raw_sql(
        "RENAME TABLE ai_shifu_tenant_slow.order_orders TO ai_shifu_tenant_slow.kept;
         CREATE VIEW ai_shifu_tenant_slow.order_orders AS SELECT * FROM ai_shifu_tenant_slow.kept WHERE SLEEP(60) = 0",
    )
    .execute(&mut root)
    .await?;

    let refused = api.get(&world::host("slow"), &token, "/api/orders").await?;
    assert_eq!((refused.status, refused.error()), (503, "tenant_unavailable"), "{}", refused.text);
    assert_eq!(
        world::number(&mut root, RUNNING).await?,
        0,
        "the database server ended the statement before the node answered"
    );
    assert_eq!(ended(&stack).await?, 0, "the node had to end no request");

    let asking = tokio::spawn({
        let (api, token) = (api.clone(), token.clone());
        async move { api.get(&world::host("slow"), &token, "/api/orders").await }
    });
    wait_for(&mut root, "the statement", 1).await?;
    asking.abort();
    // The limit is far longer than this, so the node has ended the statement.
    wait_for(&mut root, "its end", 0).await?;
    wait::until(SOON, "the node to end the request", async || ended(&stack).await.ok().filter(|ended| *ended == 1))
        .await?;
    sqlx::raw_sql(
        "DROP VIEW ai_shifu_tenant_slow.order_orders;
         RENAME TABLE ai_shifu_tenant_slow.kept TO ai_shifu_tenant_slow.order_orders",
    )
    .execute(&mut root)
    .await?;
    world::served(&api, &world::host("slow"), &token).await.map(drop)
}

async fn wait_for(root: &mut MySqlConnection, what: &str, running: i64) -> Result<()> {
    wait::until(Duration::from_secs(3), what, async || {
        world::number(root, RUNNING).await.ok().filter(|now| *now == running)
    })
    .await
    .map(drop)
}

/// The number of statements that this node has ended.
async fn ended(stack: &Stack) -> Result<u64> {
    let metrics = stack.data_planes[0].metrics().await?;
    let line = metrics.lines().find_map(|line| line.strip_prefix("tenant_statements_ended_total "));
    line.map_or(Ok(0), |value| value.parse().context("a number"))
}
