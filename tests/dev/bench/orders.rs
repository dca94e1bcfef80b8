//! Measures `GET /api/orders` with 20 rows on 32 connections: the data node against a minimal handler.
//!
//! The data node does everything that it does for any tenant. It finds the tenant by its domain, checks the token and
//! the membership, takes a turn and a connection of the budget, and measures the request. Both sides have 10
//! connections to the same database. Before the load begins, both must give the same answer, field by field.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use harness::process::{Launch, Process};
use harness::servers::probe::Probe;
use harness::stack::Stack;
use harness::{paths, ports};

use super::foreign::Watch;
use super::load::{Load, Pair, Run, Server, alternate};
use super::report::{Comparison, Figure, Goal, Turn};
use super::tenants::{BenchTenant, Question, answers};

/// The minimal handler opens ten connections before it serves.
const READY: Duration = Duration::from_secs(10);

pub async fn measure(stack: &mut Stack, tenant: &BenchTenant, rounds: usize, seconds: u32) -> Result<Comparison> {
    let dir = stack.dir().to_path_buf();
    let ours = data_node(stack);
    // The process is killed when this function returns.
    let (process, url) = start_minimal(&dir, tenant, &tenant.database_url(stack)).await?;
    let minimal = Server { name: "minimal handler", url, pids: vec![process.pid()] };
    let requests = tenant.requests(Question::Orders);
    let a = answers(&ours.url, Question::Orders, &requests).await?;
    let b = answers(&minimal.url, Question::Orders, &requests).await?;
    ensure!(a == b, "the two answers differ, so the speed of the servers cannot be compared:\n{a}\n{b}");
    let load = Load::new(&dir, "orders", &requests, seconds)?;
    eprintln!("orders: warming up");
    load.warm_up(&ours, 2).await?;
    load.warm_up(&minimal, 2).await?;
    let watch = Watch::new(stack).with(&minimal.pids);
    let runs = alternate(&load, &ours, &minimal, &watch, rounds).await?;
    let figures = figures([&ours, &minimal], &runs);
    Ok(Comparison::new(
        "orders",
        "requests/s / minimal handler",
        Goal::AtLeast(0.9),
        turns(&runs, |run| run.requests_per_second),
        figures,
    ))
}

/// The node that is measured.
pub fn data_node(stack: &mut Stack) -> Server<'static> {
    let node = &mut stack.data_planes[0];
    Server { name: "data node", url: node.url().to_owned(), pids: vec![node.process().pid()] }
}

async fn start_minimal(dir: &Path, tenant: &BenchTenant, database_url: &str) -> Result<(Process, String)> {
    let listen = format!("127.0.0.1:{}", ports::free()?);
    let launch = Launch::new("minimal", paths::binaries(super::PROFILE)?.join("minimal"), dir)
        .env("MINIMAL_LISTEN", &listen)
        .env("MINIMAL_DB_URL", database_url)
        .env("MINIMAL_TENANT", &tenant.id);
    let mut process = Process::start(launch)?;
    let url = format!("http://{listen}");
    Probe::Service { url: url.clone() }.wait(&mut process, READY).await?;
    Ok((process, url))
}

/// The ratio of `of` between the two sides, for each round.
pub fn turns(runs: &[Pair], of: impl Fn(&Run) -> f64) -> Vec<Turn> {
    runs.iter().map(|pair| Turn { ratio: of(&pair.ours) / of(&pair.other), others: pair.others }).collect()
}

/// All measurements of both sides.
pub fn figures([ours, other]: [&Server<'_>; 2], runs: &[Pair]) -> Vec<Figure> {
    let mut figures = Vec::new();
    for (server, side) in [(ours, (|pair| &pair.ours) as Side), (other, |pair| &pair.other)] {
        let mut add = |what: &str, unit, of: fn(&Run) -> f64| {
            figures.push(Figure::of(format!("{}: {what}", server.name), unit, runs.iter().map(|pair| of(side(pair)))));
        };
        add("throughput", "requests/s", |run| run.requests_per_second);
        add("latency, median", "ms", |run| run.p50_ms);
        add("latency, 99th percentile", "ms", |run| run.p99_ms);
        if !server.pids.is_empty() {
            add("processor time of the service", "ms a request", |run| run.server_ms.unwrap_or(f64::NAN));
            add("memory of the service", "MiB", |run| run.memory_mib.unwrap_or(f64::NAN));
        }
    }
    figures
}

type Side = fn(&Pair) -> &Run;
