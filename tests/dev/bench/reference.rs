//! Sends the same requests in turns to the data node and to another implementation: lists of orders of a tenant and of
//! a user, with one tenant and with two hundred.
//!
//! The goals concern requests per second and the processor time of a request. With two hundred busy tenants they also
//! concern the 99th percentile and the memory of the service. The other server already runs, or the given command
//! starts it. Its processes are those that listen on the port of its address.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::process::{Launch, Process};
use harness::stack::Stack;
use harness::wait;
use url::Url;

use super::foreign::Watch;
use super::load::{Load, Pair, Request, Run, Server, alternate};
use super::orders::{data_node, figures, turns};
use super::processes::listeners;
use super::report::{Comparison, Goal};
use super::tenants::{BenchTenant, Question, answers};

/// Number of tenants in the large cases.
pub const MANY: usize = 200;
/// The other server may have to fill databases before it listens.
const READY: Duration = Duration::from_secs(120);
/// With many tenants, every process of the other side opens connections to each of them.
const WARM_UP: u32 = 10;

struct Case {
    name: &'static str,
    question: Question,
    tenants: usize,
    /// The goal: at least this many times the requests per second of the other side.
    throughput: f64,
}

const CASES: [Case; 4] = [
    Case { name: "orders, 1 tenant", question: Question::Orders, tenants: 1, throughput: 10.0 },
    Case { name: "user's orders, 1 tenant", question: Question::OrdersOfUser, tenants: 1, throughput: 15.0 },
    Case { name: "orders, 200 tenants", question: Question::Orders, tenants: MANY, throughput: 12.0 },
    Case { name: "user's orders, 200 tenants", question: Question::OrdersOfUser, tenants: MANY, throughput: 15.0 },
];

/// Starts the other server with a shell. It finds the databases in its environment, and is killed with the value.
pub async fn start(command: &str, stack: &Stack, url: &Url) -> Result<Process> {
    let launch = Launch::new("reference", "/bin/sh", stack.dir())
        .args(["-c", command])
        .env("SYSTEM_DB_URL", &stack.urls.system.migrator)
        .env("TENANT_DB_ADMIN_URL", &stack.urls.root)
        .env("REDIS_URL", &stack.urls.redis);
    let mut process = Process::start(launch)?;
    let address = (url.host_str().context("an address without a host")?, url.port_or_known_default().unwrap_or(80));
    wait::until_ok(READY, "the other server to listen", async || {
        process.check()?;
        tokio::net::TcpStream::connect(address).await.map(drop).context("the other server does not listen")
    })
    .await?;
    Ok(process)
}

pub async fn measure(
    url: &Url,
    stack: &mut Stack,
    tenants: &[BenchTenant],
    rounds: usize,
    seconds: u32,
) -> Result<Vec<Comparison>> {
    ensure!(tenants.len() >= MANY, "there are too few tenants");
    let dir = stack.dir().to_path_buf();
    let ours = data_node(stack);
    let mut other = Server { name: "reference", url: url.as_str().trim_end_matches('/').to_owned(), pids: Vec::new() };
    let mut comparisons = Vec::new();
    for case in &CASES {
        // The server has answered here, so all its processes exist afterwards.
        case.ask([&ours, &other], tenants).await?;
        other.pids = listeners(url);
        if other.pids.is_empty() {
            eprintln!("the processes of {url} are not visible, so their processor time and memory are not compared");
        }
        let runs = case.measure(&dir, [&ours, &other], Watch::new(stack), tenants, rounds, seconds).await?;
        comparisons.extend(case.comparisons([&ours, &other], &runs));
    }
    Ok(comparisons)
}

impl Case {
    fn requests(&self, tenants: &[BenchTenant]) -> Vec<Request> {
        tenants[..self.tenants].iter().flat_map(|tenant| tenant.requests(self.question)).collect()
    }

    /// Sends every request once to both sides, and checks the answers.
    async fn ask(&self, sides: [&Server<'_>; 2], tenants: &[BenchTenant]) -> Result<()> {
        let requests = self.requests(tenants);
        eprintln!("{}: {} requests, asked once and then as warm-up", self.name, requests.len());
        for server in sides {
            answers(&server.url, self.question, &requests).await?;
        }
        Ok(())
    }

    async fn measure(
        &self,
        dir: &Path,
        [ours, other]: [&Server<'_>; 2],
        watch: Watch,
        tenants: &[BenchTenant],
        rounds: usize,
        seconds: u32,
    ) -> Result<Vec<Pair>> {
        let requests = self.requests(tenants);
        let load = Load::new(dir, &self.name.replace([' ', '\'', ','], "-"), &requests, seconds)?;
        for server in [ours, other] {
            load.warm_up(server, if self.tenants == 1 { 2 } else { WARM_UP }).await?;
        }
        alternate(&load, ours, other, &watch.with(&other.pids), rounds).await
    }

    fn comparisons(&self, sides: [&Server<'_>; 2], runs: &[Pair]) -> Vec<Comparison> {
        let mut comparisons = vec![Comparison::new(
            self.name,
            "requests/s / another implementation",
            Goal::AtLeast(self.throughput),
            turns(runs, |run| run.requests_per_second),
            figures(sides, runs),
        )];
        let mut add = |what, goal, of: fn(&Run) -> f64| {
            comparisons.push(Comparison::new(self.name, what, goal, turns(runs, of), Vec::new()));
        };
        if !sides[1].pids.is_empty() {
            add("processor time a request / the same", Goal::AtMost(0.05), |run| run.server_ms.unwrap_or(f64::NAN));
        }
        if self.tenants == MANY {
            add("99th percentile / the same", Goal::AtMost(0.1), |run| run.p99_ms);
            if !sides[1].pids.is_empty() {
                add("memory / the same", Goal::AtMost(0.05), |run| run.memory_mib.unwrap_or(f64::NAN));
            }
        }
        comparisons
    }
}
