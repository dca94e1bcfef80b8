//! `GET /api/orders` with 20 rows, on 32 connections: the data node against the least that can answer, and against
//! another implementation.
//!
//! The data node does all that it does for any tenant: finds it by its domain, checks the token and the membership, takes
//! a turn and a connection of the budget, measures the request. Against the minimal handler both sides have 10
//! connections to the very same database, and before the load both must have given the same answer, field by field.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::process::{Launch, Process};
use harness::stack::Stack;
use harness::{paths, ports, probe, wait};

use super::foreign::Watch;
use super::load::{Load, Pair, Run, Server, alternate};
use super::report::{Comparison, Figure, Goal, Turn};
use super::tenant::{BenchTenant, PATH};

/// It connects ten times before it serves.
const READY: Duration = Duration::from_secs(10);

/// Against the minimal handler, which is started for it.
pub async fn measure(stack: &mut Stack, tenant: &BenchTenant, rounds: usize, seconds: u32) -> Result<Comparison> {
    let dir = stack.dir().to_path_buf();
    let ours = data_node(stack);
    // Killed when this function ends.
    let (process, url) = start_minimal(&dir, tenant).await?;
    let minimal = Server { name: "minimal handler", url, pid: Some(process.pid()) };
    let (a, b) = (tenant.orders(&ours.url).await?, tenant.orders(&minimal.url).await?);
    ensure!(a == b, "the answers differ, so their speed cannot be compared:\n{a}\n{b}");
    let load = Load::new(&dir, PATH, &tenant.headers(), seconds)?;
    let watch = Watch::new(stack).with(&process);
    let runs = alternate(&load, &ours, &minimal, &watch, rounds).await?;
    Ok(comparison("orders", "requests/s / minimal handler", Goal::AtLeast(0.85), [&ours, &minimal], &runs))
}

/// Against somebody else's server, which is only asked.
pub async fn against(
    url: &str,
    stack: &mut Stack,
    tenant: &BenchTenant,
    rounds: usize,
    seconds: u32,
) -> Result<Comparison> {
    let dir = stack.dir().to_path_buf();
    let ours = data_node(stack);
    let other = Server { name: "reference", url: url.trim_end_matches('/').to_owned(), pid: None };
    tenant.orders(&ours.url).await?;
    // Its orders are its own; only their number must be the same.
    let orders = tenant.orders(&other.url).await;
    orders.with_context(|| format!("{} must serve a tenant with the domain {}", other.url, tenant.domain))?;
    let load = Load::new(&dir, PATH, &tenant.headers(), seconds)?;
    let runs = alternate(&load, &ours, &other, &Watch::new(stack), rounds).await?;
    let what = "requests/s / another implementation";
    Ok(comparison("reference", what, Goal::AtLeast(10.0), [&ours, &other], &runs))
}

fn data_node(stack: &mut Stack) -> Server<'static> {
    let node = &mut stack.data_planes[0];
    Server { name: "data node", url: node.url().to_owned(), pid: Some(node.process().pid()) }
}

async fn start_minimal(dir: &Path, tenant: &BenchTenant) -> Result<(Process, String)> {
    let listen = format!("127.0.0.1:{}", ports::free()?);
    let launch = Launch::new("minimal", paths::binaries(super::PROFILE)?.join("minimal"), dir)
        .env("MINIMAL_LISTEN", &listen)
        .env("MINIMAL_DB_URL", &tenant.database_url)
        .env("MINIMAL_TENANT", tenant.id);
    let mut process = Process::start(launch)?;
    let url = format!("http://{listen}");
    wait::until_ok(READY, "the minimal handler", async || {
        process.check()?;
        probe::ready(&url).await
    })
    .await?;
    Ok((process, url))
}

fn comparison(
    name: &'static str,
    what: &'static str,
    goal: Goal,
    [ours, other]: [&Server<'_>; 2],
    runs: &[Pair],
) -> Comparison {
    let mut figures = Vec::new();
    for (server, side) in [(ours, (|pair| &pair.ours) as Side), (other, |pair| &pair.other)] {
        let mut add = |what: &str, unit, of: fn(&Run) -> f64| {
            figures.push(Figure::of(format!("{}: {what}", server.name), unit, runs.iter().map(|pair| of(side(pair)))));
        };
        add("throughput", "requests/s", |run| run.requests_per_second);
        add("latency, median", "ms", |run| run.p50_ms);
        add("latency, 99th percentile", "ms", |run| run.p99_ms);
        if server.pid.is_some() {
            add("processor time of the service", "ms a request", |run| run.server_ms.unwrap_or(f64::NAN));
        }
    }
    let turn = |pair: &Pair| {
        let ratio = pair.ours.requests_per_second / pair.other.requests_per_second;
        Turn { ratio, others: pair.others }
    };
    Comparison::new(name, what, goal, runs.iter().map(turn).collect(), figures)
}

type Side = fn(&Pair) -> &Run;
