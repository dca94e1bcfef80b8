//! Measures how fast sixteen writers put members of one tenant, against sixteen writers of sixteen tenants.

use crate::tenants::writers::make_users;
use crate::world::{self, SOON};
use anyhow::{Result, ensure};
use harness::clients::Admin;
use harness::stack::Stack;
use serde_json::json;
use std::time::{Duration, Instant};

const WRITERS: usize = 16;
/// Members that each writer puts into each of the two kinds of tenants.
const MEMBERS: usize = 1000;
/// The two sides take turns in slices of this many members, so that a busy machine slows both.
const SLICE: usize = 250;
/// The goal for the rate on one tenant: commands on one tenant wait for each other.
const GOAL: f64 = 0.5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: 32,000 requests, for figures"]
async fn writers_of_one_tenant_reach_half_the_rate_of_many() -> Result<()> {
    let stack = Stack::start(world::without_nodes("many-writers")?).await?;
    let admin = stack.admin();
    let (one, many) = (["one"], (0..WRITERS).map(|n| format!("many-{n}")).collect::<Vec<_>>());
    for tenant in one.iter().copied().chain(many.iter().map(String::as_str)) {
        admin.create_active_tenant(tenant, None, SOON).await?;
    }
    let ids: Vec<String> = (0..WRITERS * MEMBERS).map(|n| format!("u{n:05}")).collect();
    for some in ids.chunks(1000) {
        make_users(&stack, some).await?;
    }
    let (mut on_one, mut on_many) = (Duration::ZERO, Duration::ZERO);
    for slice in 0..MEMBERS / SLICE {
        on_one += write(&admin, &ids, slice, |_| "one").await?;
        on_many += write(&admin, &ids, slice, |writer| &many[writer]).await?;
    }
    let rate = |took: Duration| ids.len() as f64 / took.as_secs_f64();
    let ratio = rate(on_one) / rate(on_many);
    println!(
        "{WRITERS} writers x {MEMBERS} members: {:.0}/s of one tenant, {:.0}/s of {WRITERS} tenants, ratio {ratio:.2} \
         (goal: {GOAL}), 0 refused",
        rate(on_one),
        rate(on_many)
    );
    ensure!(ratio >= GOAL, "the ratio is {ratio:.2}");
    Ok(())
}

/// The time in which all writers put a slice of their members. No request may be refused.
async fn write<'a>(
    admin: &Admin,
    ids: &[String],
    slice: usize,
    tenant_of: impl Fn(usize) -> &'a str,
) -> Result<Duration> {
    let begun = Instant::now();
    let writers = ids.chunks(MEMBERS).enumerate().map(|(writer, members)| {
        let tenant = tenant_of(writer);
        async move {
            for user in &members[slice * SLICE..(slice + 1) * SLICE] {
                let path = format!("/admin/tenants/{tenant}/users/{user}");
                let reply = admin.request("PUT", &path, Some(json!({"role": "user"})), &[]).await?;
                ensure!(reply.status == 200, "{path}: {} {}", reply.status, reply.text);
            }
            Ok(())
        }
    });
    futures::future::try_join_all(writers).await?;
    Ok(begun.elapsed())
}
