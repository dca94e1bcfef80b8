//! Puts load on a server with `wrk`, and measures what it costs the processes that serve it.
//!
//! `wrk` reads the headers, which include a token, from a file that only this user can read, because arguments are
//! visible to all users of the machine.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use harness::files::write_private;
use harness::install;
use serde::Deserialize;
use tokio::process::Command;

use super::foreign::Watch;
use super::processes::{memory_mib, processor_seconds};

const THREADS: u32 = 2;
const CONNECTIONS: u32 = 32;

/// Sends the requests one after the other, and then again from the first, on 32 connections for some seconds.
pub struct Load {
    script: PathBuf,
    seconds: u32,
}

/// One `GET`.
#[derive(Clone, Debug)]
pub struct Request {
    pub path: String,
    pub headers: Vec<(&'static str, String)>,
}

/// A server that is measured.
pub struct Server<'n> {
    pub name: &'n str,
    pub url: String,
    /// Its processes; empty if they cannot be seen.
    pub pids: Vec<i32>,
}

/// The result of one run.
pub struct Run {
    pub requests_per_second: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    /// Processor time of the server's processes, in milliseconds for each request.
    pub server_ms: Option<f64>,
    /// Memory of the server's processes at the end.
    pub memory_mib: Option<f64>,
}

/// One run of each side.
pub struct Pair {
    pub ours: Run,
    pub other: Run,
    /// Share of the processors that other programs used.
    pub others: f64,
}

/// What the script prints at the end.
#[derive(Deserialize)]
struct Outcome {
    requests: f64,
    micros: f64,
    p50: f64,
    p99: f64,
    refused: u64,
    broken: u64,
    late: u64,
}

impl Load {
    /// Writes the script `name` into `dir`.
    pub fn new(dir: &Path, name: &str, requests: &[Request], seconds: u32) -> Result<Self> {
        let mut script = String::new();
        for Request { path, headers } in requests {
            let headers: String = headers.iter().map(|(name, value)| format!("[{name:?}] = {value:?}, ")).collect();
            // A single request needs no Lua code at each turn, which would cost the load generator time.
            script += &match requests.len() {
                1 => format!("wrk.path = {path:?}\nwrk.headers = {{ {headers}}}\n"),
                _ => format!("table.insert(list, {{ {path:?}, {{ {headers}}} }})\n"),
            };
        }
        if requests.len() > 1 {
            script = format!("{LIST}{script}");
        }
        let file = dir.join(format!("{name}.lua"));
        write_private(&file, script + DONE)?;
        Ok(Self { script: file, seconds })
    }

    /// Makes one run. An answer that is no success makes the run worthless, so it is an error.
    pub async fn run(&self, server: &Server<'_>) -> Result<Run> {
        self.run_for(self.seconds, server).await
    }

    /// Lets the server open connections and fill caches, and the processor raise its clock.
    pub async fn warm_up(&self, server: &Server<'_>, seconds: u32) -> Result<()> {
        self.run_for(seconds, server).await.map(drop)
    }

    async fn run_for(&self, seconds: u32, server: &Server<'_>) -> Result<Run> {
        let name = server.name;
        let known = !server.pids.is_empty();
        let used = || known.then(|| processor_seconds(&server.pids)).transpose();
        let before = used()?;
        let mut wrk = Command::new(install::program("wrk").context("wrk is not installed")?);
        wrk.args([format!("-t{THREADS}"), format!("-c{CONNECTIONS}"), format!("-d{seconds}s")]);
        // The default of 2 s would leave out the slowest answers of a slow server.
        wrk.args(["--timeout", "10s", "-s"]);
        wrk.arg(&self.script).arg(&server.url).stdin(Stdio::null()).kill_on_drop(true);
        let output = wrk.output().await?;
        let after = used()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let line = text.lines().find_map(|line| line.strip_prefix("RESULT ")).with_context(|| {
            format!("no result from wrk against {name}: {text}{}", String::from_utf8_lossy(&output.stderr))
        })?;
        let Outcome { requests, micros, p50, p99, refused, broken, late } = serde_json::from_str(line)?;
        ensure!(requests > 0.0, "{name} answered nothing");
        ensure!(
            refused + broken + late == 0,
            "of {requests} requests to {name}, {refused} were refused, {broken} broke off, {late} took over 10 s"
        );
        let server_ms = before.zip(after).map(|(before, after)| (after - before) * 1000.0 / requests);
        Ok(Run {
            requests_per_second: requests * 1e6 / micros,
            p50_ms: p50 / 1000.0,
            p99_ms: p99 / 1000.0,
            server_ms,
            memory_mib: known.then(|| memory_mib(&server.pids)).transpose()?,
        })
    }
}

/// Takes turns between two servers. The work of a server whose processes are unknown cannot be told apart from that of
/// other programs, so then only the turn of `ours` is watched.
pub async fn alternate(
    load: &Load,
    ours: &Server<'_>,
    other: &Server<'_>,
    watch: &Watch,
    rounds: usize,
) -> Result<Vec<Pair>> {
    let mut runs = Vec::new();
    for round in 1..=rounds {
        let begun = watch.now()?;
        let a = load.run(ours).await?;
        let half = watch.others_since(&begun)?;
        let b = load.run(other).await?;
        let others = if !other.pids.is_empty() { watch.others_since(&begun)? } else { half };
        let pair = Pair { ours: a, other: b, others };
        let [a, b] = [&pair.ours, &pair.other].map(|run| run.requests_per_second);
        eprintln!("{} {round}/{rounds}: {a:.0} requests/s, {} {b:.0}", ours.name, other.name);
        runs.push(pair);
    }
    Ok(runs)
}

/// Each thread goes through the whole list, and each begins at another place.
const LIST: &str = "\
local list, built, at, threads = {}, {}, 0, 0
function setup(thread) thread:set('number', threads); threads = threads + 1 end
function init()
    for i, entry in ipairs(list) do built[i] = wrk.format('GET', entry[1], entry[2]) end
    at = number * 7919 % #built
end
function request() at = at % #built + 1; return built[at] end
";

/// Runs in wrk at the end. The summary of wrk itself rounds the latencies and is hard to parse.
const DONE: &str = r#"
function done(summary, latency)
    local e = summary.errors
    io.write(string.format(
        'RESULT {"requests":%d,"micros":%d,"p50":%.0f,"p99":%.0f,"refused":%d,"broken":%d,"late":%d}\n',
        summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
        e.status, e.connect + e.read + e.write, e.timeout))
end
"#;
