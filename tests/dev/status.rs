//! `cargo dev status` shows what runs, and `cargo dev env` prints how to reach it.

use std::process::ExitCode;

use anyhow::{Result, bail};
use harness::servers::probe::Probe;
use serde::Serialize;
use url::Url;

use crate::say;
use crate::state::{Part, State};

/// Exit code of `status` when a part is down.
const NOT_HEALTHY: u8 = 3;

/// The parts that every stack has.
const NAMES: [&str; 6] = ["mariadb", "rabbitmq", "redis", "control-plane", "provisioner", "data-plane"];

/// One line of `status`. Scripts read its fields, so their names must not change.
#[derive(Serialize)]
pub struct Row {
    pub name: String,
    /// `None` when the part is down, or when `cargo dev` did not start it.
    pub pid: Option<i32>,
    /// The address without secrets.
    pub url: Option<String>,
    pub healthy: bool,
}

pub async fn status(json: bool) -> Result<ExitCode> {
    let rows = match State::load()? {
        Some(state) => check(&state).await,
        None => {
            NAMES.map(|name| Row { name: name.to_owned(), pid: None, url: None, healthy: false }).into_iter().collect()
        }
    };
    if json {
        say(&serde_json::to_string_pretty(&rows)?);
    } else {
        say(&format!("{:<16} {:>8}  {:<8} URL", "NAME", "PID", "HEALTHY"));
        for row in &rows {
            let pid = row.pid.map_or("-".to_owned(), |pid| pid.to_string());
            let healthy = if row.healthy { "yes" } else { "NO" };
            say(&format!("{:<16} {pid:>8}  {healthy:<8} {}", row.name, row.url.as_deref().unwrap_or("-")));
        }
    }
    Ok(if rows.iter().all(|row| row.healthy) { ExitCode::SUCCESS } else { ExitCode::from(NOT_HEALTHY) })
}

/// Asks every part whether it serves.
pub async fn check(state: &State) -> Vec<Row> {
    let mut rows = Vec::new();
    for part in &state.parts {
        let process = part.process();
        // Another program may have taken the port of a process that died.
        let healthy = (process.is_some() || part.dir.is_none()) && ask(part).await.is_ok();
        rows.push(Row {
            name: part.name.clone(),
            pid: process.map(|process| process.pid()),
            url: without_secrets(&part.url),
            healthy,
        });
    }
    rows
}

async fn ask(part: &Part) -> Result<()> {
    let url = part.url.clone();
    let probe = match part.name.as_str() {
        "mariadb" => Probe::Database { url },
        "rabbitmq" => Probe::Broker { url, authority: None },
        "redis" => Probe::Redis { url, authority: None },
        _ => Probe::Service { url },
    };
    probe.ask().await
}

fn without_secrets(url: &str) -> Option<String> {
    let mut url = Url::parse(url).ok()?;
    // These two calls fail only for URLs without a host.
    url.set_username("").ok()?;
    url.set_password(None).ok()?;
    url.set_query(None);
    Some(url.to_string().trim_end_matches('/').to_owned())
}

pub fn env() -> Result<ExitCode> {
    let Some(state) = State::load()?.filter(State::is_alive) else {
        bail!("no stack is running; `cargo dev up` starts one");
    };
    for (name, value) in &state.exports {
        // A shell changes nothing inside single quotes, so only a single quote must be escaped.
        say(&format!("export {name}='{}'", value.replace('\'', r"'\''")));
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_url_has_no_secret() {
        assert_eq!(without_secrets("mysql://u:secret@127.0.0.1:1/db").unwrap(), "mysql://127.0.0.1:1/db");
        assert_eq!(without_secrets("redis://:secret@127.0.0.1:1/0").unwrap(), "redis://127.0.0.1:1/0");
        assert_eq!(without_secrets("amqp://u:secret@127.0.0.1:1/%2f").unwrap(), "amqp://127.0.0.1:1/%2f");
        assert_eq!(without_secrets("http://127.0.0.1:1").unwrap(), "http://127.0.0.1:1");
    }
}
