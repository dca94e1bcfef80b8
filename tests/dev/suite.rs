//! `cargo dev test` runs the test suite on servers of its own.
//!
//! Every end-to-end test starts its own MariaDB, Redis and services. RabbitMQ takes eight seconds to start, so the
//! tests share one broker, and a prefix separates their exchanges and queues.

use std::io::{IsTerminal, Write};
use std::process::{ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use harness::files::private_dir;
use harness::leftovers::{self, DIR_VARIABLE};
use harness::servers::Server;
use harness::servers::mysql;
use harness::servers::rabbitmq::RabbitMq;
use harness::stack::SHARED_AMQP_VARIABLE;
use harness::{install, paths};
use tokio::io::AsyncReadExt;

use crate::compile::{self, Cargo};
use crate::interrupt::Interrupt;

#[derive(Args)]
pub struct TestArgs {
    /// Run only the tests whose name contains this text
    filter: Option<String>,
    /// List the names of the tests and run none
    #[arg(long)]
    list: bool,
    /// Use this kind of database server; MySQL is fetched with debootstrap, which needs root
    #[arg(long, value_enum, default_value = "mariadb")]
    database: Database,
    /// Run the long tests instead, which are too slow to run at every change
    #[arg(long)]
    long: bool,
    /// Leave the data and the logs of the tests on the disk, and print where they are
    #[arg(long)]
    keep: bool,
    /// Pass further options to the test programs, such as --nocapture
    #[arg(last = true)]
    options: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Database {
    Mariadb,
    Mysql,
}

/// How many tests run at once. A test mostly waits for its servers; with more tests the servers wait for the machine.
const THREADS: &str = "3";

/// Addresses of other servers. A test that used one of them by mistake would change the data of another installation.
const FOREIGN: [&str; 5] = ["SYSTEM_DB_URL", "TENANT_DB_ADMIN_URL", "AMQP_URL", "REDIS_URL", "LEGACY_DB_URL"];

pub async fn test(args: TestArgs, mut interrupt: Interrupt) -> Result<ExitCode> {
    if args.list {
        let summary = interrupt.or(run_tests(&args, &[])).await?;
        return Ok(summary.exit_code());
    }
    interrupt.after(install::ensure(&install::SERVERS), "the installation").await?;
    let mysql = match args.database {
        Database::Mariadb => None,
        Database::Mysql => Some(interrupt.after(mysql::fetch(), "fetching MySQL").await?.display().to_string()),
    };
    interrupt.or(compile::build(&["build", "--workspace", "--bins", "--locked"])).await?;
    interrupt.or(compile::build(&["test", "--workspace", "--locked", "--no-run"])).await?;
    leftovers::sweep();
    let run = RunDir::make(args.keep)?;
    let begun = Instant::now();
    let outcome = interrupt
        .or(async {
            eprintln!("starting RabbitMQ for the tests");
            let mut broker = RabbitMq::start(&run.0.join("rabbitmq"), &None).await?;
            let dir = run.0.display().to_string();
            let broker_url = broker.url();
            let mut env = vec![(DIR_VARIABLE, dir.as_str()), (SHARED_AMQP_VARIABLE, &broker_url)];
            env.extend(mysql.as_deref().map(|root| (mysql::ROOT_VARIABLE, root)));
            let summary = run_tests(&args, &env).await?;
            broker.stop().await?;
            Ok(summary)
        })
        .await;
    let summary = outcome?;
    summary.print(begun.elapsed().as_secs_f64());
    Ok(summary.exit_code())
}

/// The folder of this run. It is removed at the end, and processes that still run in it are stopped.
struct RunDir(std::path::PathBuf, bool);

impl RunDir {
    fn make(keep: bool) -> Result<Self> {
        let dir = paths::dev().join(format!("test-{}", std::process::id()));
        private_dir(&dir)?;
        Ok(Self(dir, keep))
    }
}

impl Drop for RunDir {
    fn drop(&mut self) {
        if self.1 {
            harness::process::kill_recorded(&self.0);
            eprintln!("the data of the tests is in {}", self.0.display());
        } else {
            leftovers::remove(&self.0);
        }
    }
}

#[derive(Default)]
struct Summary {
    passed: u64,
    failed: u64,
    ignored: u64,
    failures: Vec<String>,
    success: bool,
}

async fn run_tests(args: &TestArgs, env: &[(&str, &str)]) -> Result<Summary> {
    let mut command = compile::command(&["test", "--workspace", "--locked", "--no-fail-fast", "--"]);
    command.args(&args.filter).args(["--test-threads", THREADS]).args(&args.options);
    if args.list {
        command.arg("--list");
    }
    if args.long {
        // Long tests carry `#[ignore = "long: why"]`, so that a plain `cargo test` leaves them out too.
        command.arg("--ignored");
    }
    if std::io::stdout().is_terminal() {
        // Cargo sees a pipe instead of the terminal, and would print no colours.
        command.args(["--color", "always"]);
    }
    FOREIGN.iter().for_each(|name| {
        command.env_remove(name);
    });
    command.envs(env.iter().copied()).stdout(Stdio::piped());
    let mut cargo = Cargo::start(&mut command)?;
    let mut output = cargo.child.stdout.take().context("the output is piped")?;
    let (mut all, mut chunk) = (Vec::new(), [0; 8192]);
    loop {
        let length = output.read(&mut chunk).await?;
        if length == 0 {
            break;
        }
        all.extend_from_slice(&chunk[..length]);
        std::io::stdout().write_all(&chunk[..length])?;
        std::io::stdout().flush()?;
    }
    let success = cargo.status().await?.success();
    Ok(Summary { success, ..Summary::read(&String::from_utf8_lossy(&all)) })
}

impl Summary {
    /// Reads the lines `test NAME ... FAILED` and `test result: ok. 3 passed; 0 failed; 1 ignored; ...`.
    fn read(output: &str) -> Self {
        let mut summary = Self::default();
        for line in output.lines().map(without_colour) {
            if let Some(counts) = line.strip_prefix("test result: ") {
                let count = |what: &str| -> u64 {
                    let before = counts.split(what).next().unwrap_or_default();
                    before.split_whitespace().last().and_then(|number| number.parse().ok()).unwrap_or(0)
                };
                summary.passed += count(" passed");
                summary.failed += count(" failed");
                summary.ignored += count(" ignored");
            } else if let Some(name) = line.strip_prefix("test ").and_then(|line| line.strip_suffix(" ... FAILED")) {
                summary.failures.push(name.to_owned());
            }
        }
        summary
    }

    fn print(&self, seconds: f64) {
        println!("\n{} passed, {} failed, {} ignored in {seconds:.0} s", self.passed, self.failed, self.ignored);
        for name in &self.failures {
            println!("  failed: {name}");
        }
        if !self.success && self.failed == 0 {
            println!("  failed: see above");
        }
    }

    fn exit_code(&self) -> ExitCode {
        if self.success { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

fn without_colour(line: &str) -> String {
    let mut parts = line.split("\u{1b}[");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.push_str(part.split_once('m').map_or(part, |(_, text)| text));
    }
    plain.replace("\u{1b}(B", "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_added_up_over_all_binaries() {
        let summary = Summary::read(
            "test a::b ... \u{1b}[31mFAILED\u{1b}(B\u{1b}[m\n\
             test result: \u{1b}[31mFAILED\u{1b}(B\u{1b}[m. 3 passed; 1 failed; 2 ignored; 0 measured; finished\n\
             test result: ok. 10 passed; 0 failed; 0 ignored; 0 measured; finished\n",
        );
        assert_eq!((summary.passed, summary.failed, summary.ignored), (13, 1, 2));
        assert_eq!(summary.failures, ["a::b"]);
    }
}
