//! A data node serves nothing that is older than 2 s, whatever it has missed.

use crate::world::{self, SOON};
use anyhow::{Context, Result, ensure};
use harness::clients::TenantApi;
use harness::load;
use harness::servers::Server;
use harness::stack::{Broker, Stack, StackOptions};
use harness::wait;
use serde_json::json;
use std::time::{Duration, Instant};

/// The bound of the design.
const BOUND: Duration = Duration::from_secs(2);
/// What a request may take on a busy test machine.
const SLACK: Duration = Duration::from_millis(500);

struct Served {
    stack: Stack,
    token: String,
    api: TenantApi,
}

async fn served(options: StackOptions) -> Result<Served> {
    let stack = Stack::start(options).await?;
    let admin = stack.admin();
    admin.create_active_tenant("acme", Some("acme.example.com"), SOON).await?;
    let (_, token) = world::user(&admin, "ann", &[("acme", "user")]).await?;
    let api = stack.tenant_api(0);
    wait::until(SOON, "the node to serve", async || status(&api, &token).await.ok().filter(|status| *status == 200))
        .await?;
    Ok(Served { stack, token, api })
}

async fn status(api: &TenantApi, token: &str) -> Result<u16> {
    Ok(api.get("acme.example.com", token, "/api/orders").await?.status)
}

impl Served {
    /// Suspends the tenant and checks how long the node serves it. Then resumes it and waits until the node serves it
    /// again.
    async fn suspend_is_seen(&self, what: &str) -> Result<()> {
        let admin = self.stack.admin();
        let reply = admin.post("/admin/tenants/acme/suspend", json!({"reason": what})).await?;
        ensure!(reply.status == 200, "{}", reply.text);
        let suspended = Instant::now();
        let seen = load::changes((200, 403), suspended, BOUND + SLACK, async || status(&self.api, &self.token).await);
        seen.await.with_context(|| what.to_owned())?;
        admin.post("/admin/tenants/acme/resume", json!({})).await?;
        let resumed = wait::until(BOUND + SLACK, what, async || {
            status(&self.api, &self.token).await.ok().filter(|status| *status == 200)
        });
        resumed.await.map(drop)
    }
}

#[tokio::test]
async fn a_suspension_is_seen_in_time_with_the_broker() -> Result<()> {
    let served = served(StackOptions::for_test("stale-up")?).await?;
    for round in 0..10 {
        served.suspend_is_seen(&format!("round {round}")).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_suspension_is_seen_in_time_without_the_broker() -> Result<()> {
    let mut options = StackOptions::for_test("stale-broker")?;
    options.broker = Broker::Own;
    let mut served = served(options).await?;
    served.stack.rabbitmq.as_mut().context("an own broker")?.kill9()?;
    for round in 0..3 {
        served.suspend_is_seen(&format!("broker down, round {round}")).await?;
    }
    served.stack.rabbitmq.as_mut().context("an own broker")?.restart().await?;
    served.suspend_is_seen("broker back").await
}

#[tokio::test]
async fn a_suspension_is_seen_in_time_without_the_nodes_queue() -> Result<()> {
    let mut options = StackOptions::for_test("stale-queue")?;
    options.broker = Broker::Own;
    let served = served(options).await?;
    for round in 0..5 {
        let deleted = delete_own_queues(&served.stack).await?;
        ensure!(round > 0 || deleted > 0, "there was a queue to delete");
        served.suspend_is_seen(&format!("queue deleted, round {round}")).await?;
    }
    Ok(())
}

/// Deletes every exclusive queue. This needs the broker's own tool, because AMQP gives other connections no right to
/// such queues.
async fn delete_own_queues(stack: &Stack) -> Result<usize> {
    stack.rabbitmq.as_ref().context("an own broker")?.delete_exclusive_queues().await
}

#[tokio::test]
async fn a_node_that_wakes_up_serves_no_suspended_tenant() -> Result<()> {
    let mut served = served(StackOptions::for_test("stale-stopped")?).await?;
    let admin = served.stack.admin();
    for round in 0..3 {
        served.stack.data_planes[0].pause()?;
        let reply = admin.post("/admin/tenants/acme/suspend", json!({"reason": "while the node is stopped"})).await?;
        ensure!(reply.status == 200, "{}", reply.text);
        // The pause is longer than the bound, so the node's knowledge is too old.
        tokio::time::sleep(BOUND + SLACK).await;
        // These requests wait for the node, which answers them first when it wakes up.
        let waiting: Vec<_> = (0..8)
            .map(|_| {
                let (api, token) = (served.api.clone(), served.token.clone());
                tokio::spawn(async move { status(&api, &token).await })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(100)).await;
        served.stack.data_planes[0].resume()?;
        for answer in waiting {
            assert_eq!(answer.await??, 403, "round {round}: the suspended tenant was served after the pause");
        }
        admin.post("/admin/tenants/acme/resume", json!({})).await?;
        wait::until(BOUND + SLACK, "the tenant to be served again", async || {
            status(&served.api, &served.token).await.ok().filter(|status| *status == 200)
        })
        .await?;
    }
    Ok(())
}
