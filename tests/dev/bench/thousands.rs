//! Measures two thousand tenants on one node: how much memory an idle tenant costs, and that all tenants together never
//! have more connections than the budget of the node.

use std::time::Duration;

use anyhow::{Result, ensure};
use harness::clients::NewUser;
use harness::load::MostConnections;
use harness::stack::Stack;
use harness::wait;

use super::foreign::Watch;
use super::load::{Load, Request};
use super::orders::data_node;
use super::processes::memory_mib;
use super::report::{Comparison, Figure, Goal, Turn};
use super::tenants::create;

const TENANTS: usize = 2000;
const BATCH: usize = 100;
const SOON: Duration = Duration::from_secs(60);
/// Describes the connections of tenants' users, for a count on the server.
const OPEN: &str = "USER LIKE 'ten\\_%'";
const SAMPLE: Duration = Duration::from_millis(50);

/// Takes the connection `budget` of the node.
pub async fn measure(stack: &mut Stack, budget: u32, rounds: usize, seconds: u32) -> Result<Comparison> {
    let node = data_node(stack);
    let admin = stack.admin();
    let user = NewUser { username: "thousands", name: "Bench", email: "thousands@example.com", mobile: "" };
    let user = admin.create_user(user).await?;
    let token = admin.create_token(&user, None).await?;
    let before = memory_mib(&node.pids)?;
    let ids: Vec<String> = (0..TENANTS).map(|number| format!("k{number:04}")).collect();
    for (number, batch) in ids.chunks(BATCH).enumerate() {
        create(&admin, batch).await?;
        for id in batch {
            admin.put_member(id, &user, "admin").await?;
        }
        eprintln!("thousands: {} tenants", (number + 1) * BATCH);
    }
    let request = |id: &String| Request {
        path: "/api/orders".to_owned(),
        headers: vec![("Host", format!("{id}.example.com")), ("Authorization", format!("Bearer {token}"))],
    };
    let last = request(&ids[TENANTS - 1]);
    let api = harness::clients::TenantApi::new(&node.url);
    wait::until_ok(SOON, "the node to know the last tenant", async || {
        let headers: Vec<(&str, &str)> = last.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let reply = api.request("GET", &last.path, &headers).await?;
        ensure!(reply.status == 200, "{}", reply.text);
        Ok(())
    })
    .await?;
    let idle = memory_mib(&node.pids)?;
    let requests: Vec<Request> = ids.iter().map(request).collect();
    let load = Load::new(stack.dir(), "thousands", &requests, seconds)?;
    let watch = Watch::new(stack);
    let (mut turns, mut throughput, mut busy, mut open) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 1..=rounds {
        let begun = watch.now()?;
        let sampler = MostConnections::sample(&stack.urls.root, OPEN, SAMPLE, 1).await?;
        let run = load.run(&node).await?;
        let most = sampler.end().await?;
        eprintln!(
            "thousands {round}/{rounds}: {most} of {budget} connections, {:.0} requests/s",
            run.requests_per_second
        );
        turns.push(Turn { ratio: most as f64 / f64::from(budget), others: watch.others_since(&begun)? });
        throughput.push(run.requests_per_second);
        busy.push(run.memory_mib.unwrap_or(f64::NAN));
        open.push(most as f64);
    }
    let figures = vec![
        Figure::of("memory of the node before they were made", "MiB", [before]),
        Figure::of("memory of the node, all of them idle", "MiB", [idle]),
        Figure::of("memory of an idle tenant", "KiB", [(idle - before) * 1024.0 / TENANTS as f64]),
        Figure::of("memory of the node, all of them busy", "MiB", busy),
        Figure::of("connections at most", "of the node", open),
        Figure::of("throughput over all of them", "requests/s", throughput),
    ];
    Ok(Comparison::new("thousands", "most connections / the node's budget", Goal::AtMost(1.0), turns, figures))
}
