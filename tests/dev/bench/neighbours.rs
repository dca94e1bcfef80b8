//! Measures what a tenant with 200 requests that hang in its database costs other tenants. It compares the 99th
//! percentile of their answers with and without that tenant, in turns. A failed answer ends the measurement.

use std::time::Duration;

use anyhow::{Result, ensure};
use harness::clients::TenantApi;
use harness::load::{Answered, Load as Requests};
use harness::stack::Stack;
use sqlx::{Connection, Executor, MySqlConnection};

use super::foreign::Watch;
use super::load::{Load, Pair, Request};
use super::orders::{data_node, turns};
use super::report::{Comparison, Figure, Goal};
use super::tenants::{BenchTenant, Question, answers};

const HANGING: usize = 200;
/// Number of other tenants under load.
const OTHERS: usize = 20;
/// The time until all requests hang or wait.
const SETTLE: Duration = Duration::from_secs(1);

pub async fn measure(stack: &mut Stack, tenants: &[BenchTenant], rounds: usize, seconds: u32) -> Result<Comparison> {
    ensure!(tenants.len() > OTHERS, "there are too few tenants");
    let node = data_node(stack);
    let (slow, others) = (&tenants[0], &tenants[1..=OTHERS]);
    let requests: Vec<Request> = others.iter().flat_map(|tenant| tenant.requests(Question::Orders)).collect();
    answers(&node.url, Question::Orders, &requests).await?;
    let load = Load::new(stack.dir(), "neighbours", &requests, seconds)?;
    eprintln!("neighbours: warming up");
    load.warm_up(&node, 2).await?;
    let watch = Watch::new(stack);
    let mut runs = Vec::new();
    for round in 1..=rounds {
        let begun = watch.now()?;
        let without = load.run(&node).await?;
        let hanging = Hanging::begin(stack, slow, &node.url).await?;
        let with = load.run(&node).await?;
        let refused = hanging.end().await?;
        eprintln!(
            "neighbours {round}/{rounds}: 99th percentile {:.1} ms, {:.1} ms beside a hanging tenant ({refused} of its \
             requests were refused)",
            without.p99_ms, with.p99_ms
        );
        runs.push(Pair { ours: with, other: without, others: watch.others_since(&begun)? });
    }
    let figures = vec![
        Figure::of("99th percentile beside a hanging tenant", "ms", runs.iter().map(|pair| pair.ours.p99_ms)),
        Figure::of("99th percentile without it", "ms", runs.iter().map(|pair| pair.other.p99_ms)),
        Figure::of("throughput beside it", "requests/s", runs.iter().map(|pair| pair.ours.requests_per_second)),
        Figure::of("throughput without it", "requests/s", runs.iter().map(|pair| pair.other.requests_per_second)),
    ];
    let what = "99th percentile beside a hanging tenant / without it";
    Ok(Comparison::new("neighbours", what, Goal::AtMost(2.0), turns(&runs, |run| run.p99_ms), figures))
}

/// A tenant whose table is locked, and 200 clients that request it nevertheless.
struct Hanging {
    lock: MySqlConnection,
    requests: Requests,
}

impl Hanging {
    async fn begin(stack: &Stack, tenant: &BenchTenant, url: &str) -> Result<Self> {
        let mut lock = MySqlConnection::connect(&stack.urls.root).await?;
        lock.execute(format!("LOCK TABLES `ai_shifu_tenant_{}`.order_orders WRITE", tenant.id).as_str()).await?;
        let (api, mut requests) = (TenantApi::new(url), Requests::new());
        for _ in 0..HANGING {
            let (api, request) = (api.clone(), tenant.requests(Question::Orders).remove(0));
            requests.client(move |_| {
                let (api, request) = (api.clone(), request.clone());
                async move {
                    let headers: Vec<(&str, &str)> =
                        request.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
                    let reply = api.request("GET", &request.path, &headers).await?;
                    if !matches!(reply.status, 429 | 503) {
                        return Ok(Answered::Served);
                    }
                    // The answer asks for this pause in `Retry-After`.
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    Ok(Answered::Refused)
                }
            });
        }
        tokio::time::sleep(SETTLE).await;
        Ok(Self { lock, requests })
    }

    /// Unlocks the table, and returns how many requests of the tenant were refused.
    async fn end(mut self) -> Result<u64> {
        self.requests.progress().end();
        self.lock.execute("UNLOCK TABLES").await?;
        let refused = self.requests.done().await?.refused;
        ensure!(refused > 0, "no request was refused, so none hung");
        Ok(refused)
    }
}
