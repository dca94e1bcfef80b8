//! `cargo dev bench` measures how fast the system is, as ratios to a minimal form of the same work.
//!
//! An absolute figure says more about the machine than about the program, and on a shared machine it changes by the
//! minute. Every benchmark therefore takes turns with a minimal program that does the same work on the same servers,
//! and only the ratio of the two has a goal.

mod backup;
mod bare;
mod creation;
mod foreign;
mod legacy;
mod load;
mod machine;
mod neighbours;
mod orders;
mod parallel;
mod processes;
mod reference;
mod report;
mod tenants;
mod thousands;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use bare::Bare;
use clap::{Args, ValueEnum};
use foreign::Watch;
use harness::files::private_dir;
use harness::stack::{Stack, StackOptions};
use harness::{install, leftovers, paths};
use machine::Machine;
use report::Report;
use tenants::BenchTenant;
use url::Url;

use crate::interrupt::Interrupt;
use crate::{compile, say};

/// Connections of the node to tenants' databases: as many as the clients can use on 200 tenants, with several requests
/// to a tenant at once. With fewer, the node would open and close connections all the time, and the benchmark would
/// measure that.
const BUDGET: u32 = 1000;

/// The benchmarks measure the programs as they would be deployed.
const PROFILE: &str = "release";

#[derive(Args)]
pub struct BenchArgs {
    /// Also send the same requests to this server, in turns with the data node
    ///
    /// The server must answer `GET /api/orders` and `GET /api/users/{user_id}/orders` with {"orders": [...]}. It must
    /// serve the tenants t0001 to t0200 at the hosts t0001.example.com and so on. Each tenant has 20 orders and four
    /// users with five orders each: t0007 has u0007-1 to u0007-4. The requests carry a token, which the server may
    /// ignore. All processes that listen on its port count as its own.
    #[arg(long, value_name = "URL")]
    reference: Option<Url>,
    /// Start that server with this shell command, on the databases of the benchmark
    ///
    /// The command finds SYSTEM_DB_URL, TENANT_DB_ADMIN_URL and REDIS_URL in its environment. The tenants already
    /// exist: t0001 has the database ai_shifu_tenant_t0001, and so on. The server must listen within two minutes, and
    /// is killed at the end.
    #[arg(long, value_name = "COMMAND", requires = "reference")]
    reference_command: Option<String>,
    /// Run only this benchmark
    #[arg(long, value_enum, value_name = "WHAT")]
    #[arg(requires_if("reference", "reference"))]
    only: Option<Part>,
    /// Measure each side this many times [default: 8 for creation, 4 for the others; a verdict needs 3 quiet rounds]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: Option<u16>,
    /// Put each side under load for this many seconds in each round
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// Print the results as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Creates one tenant after the other, against bare SQL that makes the same database
    Creation,
    /// Creates a hundred tenants at once, against bare SQL on the best number of connections
    Parallel,
    /// Requests GET /api/orders, against a minimal handler without tenants and tokens
    Orders,
    /// Requests lists of orders of 1 tenant and of 200 tenants, against the server of --reference
    Reference,
    /// Requests orders of tenants while the database of another tenant hangs, against the same without it
    Neighbours,
    /// Imports a legacy database, against `mariadb-dump | mariadb`
    Legacy,
    /// Backs up a tenant, against `mariadb-dump | zstd`
    Backup,
    /// Puts two thousand tenants on one node; runs only with --only, because it takes minutes
    Thousands,
}

pub async fn bench(args: BenchArgs, mut interrupt: Interrupt) -> Result<ExitCode> {
    let tools: Vec<_> = install::SERVERS.into_iter().chain([install::Tool::Wrk]).collect();
    interrupt.after(install::ensure(&tools), "the installation").await?;
    // One call compiles everything, so that both sides of a comparison get the same dependencies with the same
    // features.
    interrupt.or(compile::services(true)).await?;
    let load = machine::load();
    let folder = Folder::make()?;
    let report = interrupt.or(measure(&args, &folder, load)).await?;
    drop(folder);
    if args.json {
        say(&serde_json::to_string_pretty(&report)?);
    } else {
        say(report.text().trim_end());
    }
    Ok(ExitCode::SUCCESS)
}

async fn measure(args: &BenchArgs, folder: &Folder, load: String) -> Result<Report> {
    let mut options = StackOptions::new(&folder.0)
        .with_env("provisioner", "PROVISIONER_WORKERS", "4")
        .with_env("data-plane", "DATA_PLANE_CONNECTIONS", BUDGET.to_string())
        .with_env("data-plane", "DATA_PLANE_TENANT_CONNECTIONS", "10");
    // The server of --reference may need thousands of connections; the data node has its budget.
    options.mariadb.max_connections = 4000;
    options.profile = PROFILE.to_owned();
    options.verbose = true;
    let mut stack = Stack::start(options).await?;
    let machine = Machine::read(&stack, load).await?;
    let admin = stack.admin();
    let watch = Watch::new(&mut stack);
    let mut bare = Bare::new(&stack.urls.root)?;
    let rounds = |default: u16| usize::from(args.rounds.unwrap_or(default));
    let mut comparisons = Vec::new();
    if args.wants(Part::Creation) {
        comparisons.push(creation::measure(&admin, &mut bare, &watch, rounds(8)).await?);
    }
    if args.wants(Part::Parallel) {
        comparisons.push(parallel::measure(&admin, &mut bare, &watch, rounds(4)).await?);
    }
    if args.wants(Part::Legacy) {
        comparisons.push(legacy::measure(&mut stack, rounds(4)).await?);
    }
    if args.wants(Part::Backup) {
        comparisons.push(backup::measure(&mut stack, rounds(4)).await?);
    }
    let tenants = BenchTenant::make(&stack, args.tenants()).await?;
    if args.wants(Part::Orders) {
        comparisons.push(orders::measure(&mut stack, &tenants[0], rounds(4), args.seconds).await?);
    }
    if args.wants(Part::Neighbours) {
        comparisons.push(neighbours::measure(&mut stack, &tenants, rounds(4), args.seconds).await?);
    }
    if let Some(url) = args.reference.as_ref().filter(|_| args.wants(Part::Reference)) {
        // Dropping the value kills the server.
        let _server = match &args.reference_command {
            Some(command) => Some(reference::start(command, &stack, url).await?),
            None => None,
        };
        comparisons.extend(reference::measure(url, &mut stack, &tenants, rounds(4), args.seconds).await?);
    }
    if args.wants(Part::Thousands) {
        comparisons.push(thousands::measure(&mut stack, BUDGET, rounds(4), args.seconds).await?);
    }
    stack.stop().await?;
    Ok(Report { machine, comparisons })
}

impl BenchArgs {
    fn wants(&self, part: Part) -> bool {
        match self.only {
            Some(only) => only == part,
            None => part != Part::Thousands && (part != Part::Reference || self.reference.is_some()),
        }
    }

    /// The number of tenants with orders that the requested parts need.
    fn tenants(&self) -> usize {
        let needs = [(Part::Orders, 1), (Part::Neighbours, 21), (Part::Reference, reference::MANY)];
        needs.into_iter().filter(|(part, _)| self.wants(*part)).map(|(_, count)| count).max().unwrap_or(0)
    }
}

/// The folder of this run. It is removed at the end, and processes that still run in it are stopped.
struct Folder(PathBuf);

impl Folder {
    fn make() -> Result<Self> {
        Self::sweep();
        let dir = paths::dev().join(format!("bench-{}", std::process::id()));
        private_dir(&dir)?;
        Ok(Self(dir))
    }

    /// Stops and removes earlier runs that were killed before they could clean up.
    fn sweep() {
        for entry in std::fs::read_dir(paths::dev()).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let pid = name.to_str().and_then(|name| name.strip_prefix("bench-")?.parse::<u32>().ok());
            if pid.is_some_and(|pid| !PathBuf::from(format!("/proc/{pid}")).exists()) {
                leftovers::remove(&entry.path());
            }
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        leftovers::remove(&self.0);
    }
}
