//! Measures how soon a suspension takes effect on every node, with the broker and without it.

use crate::world::{self, SOON};
use anyhow::{Context, Result, ensure};
use harness::clients::TenantApi;
use harness::servers::Server;
use harness::stack::{Broker, Stack, StackOptions};
use harness::wait;
use serde_json::json;
use std::time::{Duration, Instant};

const NODES: usize = 3;
/// The bound of the design for what a node serves, plus what a request may take on a busy machine.
const BOUND: Duration = Duration::from_millis(2500);
/// Time in which all sessions must have ended.
const ENFORCED: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: many suspensions, for figures"]
async fn every_node_refuses_a_suspended_tenant_in_bounded_time() -> Result<()> {
    let mut options = StackOptions::for_test("suspension-speed")?;
    (options.data_planes, options.broker) = (NODES, Broker::Own);
    let mut stack = Stack::start(options).await?;
    let admin = stack.admin();
    admin.create_active_tenant("acme", Some("acme.example.com"), SOON).await?;
    let (_, token) = world::user(&admin, "ann", &[("acme", "user")]).await?;
    for (what, rounds, goal) in [("with the broker", 70, 1.0), ("without the broker", 70, 2.0)] {
        if what == "without the broker" {
            stack.rabbitmq.as_mut().context("an own broker")?.kill9()?;
        }
        let (mut refused, mut ended) = (Vec::new(), Vec::new());
        for round in 0..rounds {
            let apis: Vec<_> = (0..NODES).map(|node| stack.tenant_api(node)).collect();
            for api in &apis {
                wait::until(SOON, "the tenant to be served", async || {
                    (status(api, &token).await.ok()? == 200).then_some(())
                })
                .await?;
            }
            let begun = Instant::now();
            let watching: Vec<_> =
                apis.into_iter().map(|api| tokio::spawn(until_refused(api, token.clone(), begun))).collect();
            let reply = admin.post("/admin/tenants/acme/suspend", json!({"reason": "unpaid"})).await?;
            ensure!(reply.status == 200, "{}", reply.text);
            for node in watching {
                let took = node.await??;
                ensure!(took < BOUND, "{what}, round {round}: a node served {took:?} after the request to suspend");
                refused.push(took);
            }
            ended.push(sessions_are_gone(&stack, begun).await?);
            admin.post("/admin/tenants/acme/resume", json!({})).await?;
        }
        println!(
            "{what}: refused after p50 {:.3} s, p99 {:.3} s, at most {:.3} s (goal: p99 {goal} s); no session at the server after p99 {:.3} s; {} samples",
            quantile(&mut refused, 0.5),
            quantile(&mut refused, 0.99),
            quantile(&mut refused, 1.0),
            quantile(&mut ended, 0.99),
            refused.len()
        );
    }
    Ok(())
}

async fn status(api: &TenantApi, token: &str) -> Result<u16> {
    Ok(api.get("acme.example.com", token, "/api/orders").await?.status)
}

/// The time between the request to suspend and the first refusal of a node.
async fn until_refused(api: TenantApi, token: String, begun: Instant) -> Result<Duration> {
    loop {
        match status(&api, &token).await? {
            403 => return Ok(begun.elapsed()),
            // The server has ended the node's sessions before the node knew of the suspension.
            200 | 503 => {}
            status => anyhow::bail!("a node answered {status}"),
        }
        ensure!(begun.elapsed() < 2 * BOUND, "a node still serves the suspended tenant");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn sessions_are_gone(stack: &Stack, begun: Instant) -> Result<Duration> {
    let mut root = world::root(stack).await?;
    let login = world::login(stack, "acme").await?;
    wait::until(ENFORCED, "no session of the tenant", async || {
        world::sessions_of(&mut root, login.get_username()).await.ok().filter(|left| *left == 0)
    })
    .await?;
    Ok(begun.elapsed())
}

fn quantile(times: &mut [Duration], part: f64) -> f64 {
    times.sort();
    let at = (times.len() as f64 * part).ceil() as usize;
    times[at.saturating_sub(1).min(times.len() - 1)].as_secs_f64()
}
