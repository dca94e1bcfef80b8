//! Describes the machine and the servers that a run was measured on.

use std::fs;

use anyhow::{Context, Result};
use chrono::{SecondsFormat, Utc};
use harness::install;
use harness::stack::Stack;
use serde::Serialize;
use sqlx::{Connection, MySqlConnection};
use tokio::process::Command;

/// What a reader needs to know to judge the figures.
#[derive(Debug, Serialize)]
pub struct Machine {
    pub date: String,
    pub cores: usize,
    pub processor: String,
    pub memory_gib: f64,
    pub kernel: String,
    /// The load average of the minute before the run, which other processes on the machine caused.
    pub load: String,
    pub mariadb: String,
    pub rabbitmq: String,
    pub redis: String,
    pub wrk: String,
}

impl Machine {
    /// Asks the machine and the servers of the stack.
    pub async fn read(stack: &Stack, load: String) -> Result<Self> {
        let mut connection = MySqlConnection::connect(&stack.urls.root).await?;
        let mariadb = sqlx::query_scalar("SELECT VERSION()").fetch_one(&mut connection).await?;
        connection.close().await?;
        let home = install::rabbitmq_home().unwrap_or_default();
        let rabbitmq = home.file_name().unwrap_or_default().to_string_lossy();
        let redis = first_line("redis-server", "--version").await?;
        let wrk = first_line("wrk", "-v").await?;
        Ok(Self {
            date: Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true),
            cores: std::thread::available_parallelism()?.get(),
            processor: field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".to_owned()),
            memory_gib: memory_gib().unwrap_or(0.0),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
            load,
            mariadb,
            rabbitmq: rabbitmq.trim_start_matches("rabbitmq_server-").to_owned(),
            redis: word_after(&redis, "v=").to_owned(),
            wrk: word_after(&wrk, "wrk ").to_owned(),
        })
    }

    pub fn text(&self) -> String {
        let Self { date, cores, processor, memory_gib, kernel, load, mariadb, rabbitmq, redis, wrk } = self;
        format!(
            "{date}; {cores} cores ({processor}), {memory_gib:.0} GiB, Linux {kernel}, load {load} at the start\n\
             MariaDB {mariadb}, RabbitMQ {rabbitmq}, Redis {redis}, wrk {wrk}; services compiled with --release, \
             everything on this one machine"
        )
    }
}

/// The load average of the last minute.
pub fn load() -> String {
    let all = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    all.split(' ').next().unwrap_or_default().to_owned()
}

fn memory_gib() -> Option<f64> {
    let kib: f64 = field("/proc/meminfo", "MemTotal")?.split(' ').next()?.parse().ok()?;
    Some(kib / (1024.0 * 1024.0))
}

/// The value of the first line of the form `name : value`.
fn field(file: &str, name: &str) -> Option<String> {
    let content = fs::read_to_string(file).ok()?;
    let line = content.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

async fn first_line(program: &str, argument: &str) -> Result<String> {
    let path = install::program(program).with_context(|| format!("{program} is not installed"))?;
    // The exit code is ignored, because `wrk -v` prints its version and fails.
    let output = Command::new(path).arg(argument).output().await?;
    Ok(String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned())
}

fn word_after<'t>(text: &'t str, prefix: &str) -> &'t str {
    let rest = text.split_once(prefix).map_or(text, |(_, rest)| rest);
    rest.split(' ').next().unwrap_or_default()
}
