//! A node serves 200 tenants within a budget of 40 connections without an error.

use crate::invariants;
use crate::world;
use anyhow::{Result, ensure};
use harness::load::{Load, MostConnections};
use harness::stack::{Stack, StackOptions};
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
    let ids: Vec<String> = (0..TENANTS).map(|n| format!("t{n:03}")).collect();
    let token = world::fleet(&stack, &ids).await?;
    // The sampler runs all the time, also while the node opens its first connections to a tenant.
    let every = Duration::from_millis(20);
    let sampler = MostConnections::sample(&stack.urls.root, "USER LIKE 'ten\\_%'", every, 3).await?;
    let mut load = Load::new();
    for client in 0..CLIENTS {
        load.client_for(
            (ROUNDS * TENANTS) as u64,
            world::orders(&stack.tenant_api(0), &token, move |turn| {
                let (round, n) = (turn as usize / TENANTS, turn as usize % TENANTS);
                format!("t{:03}", (n * 7 + client * 13 + round * 29) % TENANTS)
            }),
        );
    }
    let ended = load.done().await?;
    let most = sampler.end().await?;
    assert_eq!(ended.served, (CLIENTS * ROUNDS * TENANTS) as u64);
    ensure!(most > 1 && most <= BUDGET, "{most} connections were open, the budget is {BUDGET}");
    invariants::check(&stack).await
}
