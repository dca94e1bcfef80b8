//! 200 tenants on one node within a budget of 40 connections, without an error.

use crate::invariants;
use crate::world;
use anyhow::{Result, ensure};
use harness::stack::{Stack, StackOptions};
use harness::wait;
use sqlx::Connection;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

const TENANTS: usize = 200;
const BUDGET: i64 = 40;
const CLIENTS: usize = 16;
const ROUNDS: usize = 6;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_tenants_share_forty_connections() -> Result<()> {
    let options = StackOptions::for_test("two-hundred")?
        .with_env("data-plane", "DATA_PLANE_CONNECTIONS", BUDGET.to_string())
        .with_env("data-plane", "DATA_PLANE_TENANT_CONNECTIONS", "4");
    let stack = Stack::start(options).await?;
    let admin = stack.admin();
    let (user, token) = world::user(&admin, "ann", &[]).await?;
    let mut operations = Vec::new();
    for n in 0..TENANTS {
        operations.push(admin.create_tenant(&format!("t{n:03}"), "T", None).await?.operation_id);
    }
    for operation in &operations {
        admin.wait_for_operation(operation, Duration::from_secs(300)).await?;
    }
    for n in 0..TENANTS {
        let id = format!("t{n:03}");
        admin.put_member(&id, &user, "admin").await?;
        world::plant_order(&stack, &id, &user, &id).await?;
    }

    // Sampled all the time: connections of tenants' users, as the server counts them. The server goes on counting a
    // connection until it has read its goodbye, so of three looks in a row the smallest counts: a connection above the
    // budget that is really open is in all of them.
    let (running, most) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicI64::new(0)));
    let (on, max, root_url) = (Arc::clone(&running), Arc::clone(&most), stack.urls.root.clone());
    let sampler = tokio::spawn(async move {
        let mut root = sqlx::MySqlConnection::connect(&root_url).await?;
        let mut looks = [0; 3];
        while on.load(Ordering::SeqCst) {
            looks.rotate_left(1);
            looks[2] =
                sqlx::query_scalar("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER LIKE 'ten\\_%'")
                    .fetch_one(&mut root)
                    .await?;
            max.fetch_max(looks.into_iter().min().unwrap_or_default(), Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        anyhow::Ok(())
    });
    let api = stack.tenant_api(0);
    wait::until(world::SOON, "the node to know the last tenant", async || {
        let host = format!("t{:03}.saas.example", TENANTS - 1);
        api.get(&host, &token, "/api/orders").await.ok().filter(|reply| reply.status == 200)
    })
    .await?;
    let clients = (0..CLIENTS).map(|client| {
        let (api, token) = (api.clone(), token.clone());
        tokio::spawn(async move {
            for round in 0..ROUNDS {
                for n in 0..TENANTS {
                    let id = format!("t{:03}", (n * 7 + client * 13 + round * 29) % TENANTS);
                    let reply = api.get(&format!("{id}.saas.example"), &token, "/api/orders").await?;
                    ensure!(reply.status == 200, "{id}: {}", reply.text);
                    ensure!(world::order_bids(&reply) == [id.as_str()], "{id} got {}", reply.text);
                }
            }
            Ok(())
        })
    });
    for client in futures::future::join_all(clients).await {
        client??;
    }
    running.store(false, Ordering::SeqCst);
    sampler.await??;
    let most = most.load(Ordering::SeqCst);
    ensure!(most > 1 && most <= BUDGET, "{most} connections were open, the budget is {BUDGET}");
    invariants::check(&stack).await
}
