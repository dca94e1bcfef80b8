//! Alerts and dashboards use metrics that exist, each alert has a runbook, and alerts fire and end in a real
//! Prometheus.

use super::documents;
use crate::world::{self, SOON};
use anyhow::{Context, Result, ensure};
use harness::install::{self, Tool};
use harness::process::{Launch, Process};
use harness::servers::Server;
use harness::{paths, ports, wait};
use kernel::process::telemetry::names::{self, Kind};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Metrics that Prometheus itself adds.
const OF_PROMETHEUS: [&str; 1] = ["up"];
const WORDS: [&str; 6] = ["and", "or", "unless", "on", "by", "without"];

fn deploy(path: &str) -> PathBuf {
    paths::workspace().join("deploy").join(path)
}

/// The values of `key` in a file of rules: the rest of its line, or the block below it.
fn values(rules: &str, key: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut lines = rules.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(value) = line.trim_start().trim_start_matches("- ").strip_prefix(&format!("{key}: ")) else {
            continue;
        };
        let indent = line.len() - line.trim_start().len();
        let mut text = value.trim_matches('"').to_owned();
        if value == "|" {
            text.clear();
            while let Some(more) = lines.next_if(|more| more.len() - more.trim_start().len() > indent) {
                text.push_str(more);
                text.push('\n');
            }
        }
        found.push(text);
    }
    found
}

/// The metrics in an expression: what is left without strings, selectors, ranges, groupings, functions and numbers.
fn metrics(expression: &str) -> BTreeSet<String> {
    let mut plain = String::new();
    let mut closing = Vec::new();
    for (at, c) in expression.char_indices() {
        let before = expression[..at].trim_end();
        match c {
            '{' => closing.push('}'),
            '[' => closing.push(']'),
            '(' if ["by", "on", "without"].iter().any(|word| before.ends_with(&format!(" {word}"))) => {
                closing.push(')')
            }
            c if closing.last() == Some(&c) => drop(closing.pop()),
            c if closing.is_empty() => plain.push(c),
            _ => {}
        }
    }
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let mut found = BTreeSet::new();
    let mut rest = plain.as_str();
    while let Some(start) = rest.find(is_word) {
        let word = &rest[start..];
        let end = word.find(|c| !is_word(c)).unwrap_or(word.len());
        let (word, after) = word.split_at(end);
        let a_name = !word.starts_with(|c: char| c.is_ascii_digit()) && !WORDS.contains(&word);
        if a_name && !after.trim_start().starts_with('(') && !is_function_with_grouping(word, after) {
            found.insert(word.to_owned());
        }
        rest = after;
    }
    found
}

/// A function before a grouping, as in `sum by (job) (...)`. The grouping is already removed.
fn is_function_with_grouping(word: &str, after: &str) -> bool {
    ["sum", "max", "min", "count", "avg"].contains(&word)
        && ["by", "without"].iter().any(|grouping| after.trim_start().starts_with(grouping))
}

fn exists(metric: &str) -> bool {
    OF_PROMETHEUS.contains(&metric)
        || names::ALL.iter().any(|known| match known.kind {
            Kind::Histogram(_) => {
                metric.strip_prefix(known.name).is_some_and(|end| ["_bucket", "_sum", "_count"].contains(&end))
            }
            _ => metric == known.name,
        })
}

#[test]
fn expressions_are_read_as_prometheus_reads_them() {
    let expression = "sum by (job, le) (rate(a_total{status=~\"5..\", x=\"b_c\"}[5m])) / on (job, instance) b > 2 and max by (q) (c) == 0";
    assert_eq!(metrics(expression), ["a_total", "b", "c"].map(str::to_owned).into());
}

#[test]
fn alerts_and_dashboards_name_metrics_that_exist() -> Result<()> {
    let mut expressions = values(&fs::read_to_string(deploy("prometheus/alerts.yml"))?, "expr");
    ensure!(expressions.len() > 20, "{} alerts were read", expressions.len());
    for entry in fs::read_dir(deploy("grafana/dashboards"))? {
        let dashboard: Value = serde_json::from_slice(&fs::read(entry?.path())?)?;
        for panel in dashboard["panels"].as_array().context("panels")? {
            for target in panel["targets"].as_array().context("targets")? {
                expressions.push(target["expr"].as_str().context("expr")?.to_owned());
            }
        }
    }
    let mut used = BTreeSet::new();
    for expression in &expressions {
        let named = metrics(expression);
        ensure!(!named.is_empty(), "no metric in {expression}");
        for metric in &named {
            ensure!(exists(metric), "there is no metric {metric}: {expression}");
        }
        used.extend(named);
    }
    ensure!(used.len() > 30, "{used:?}");
    Ok(())
}

#[test]
fn every_alert_has_a_runbook() -> Result<()> {
    let rules = fs::read_to_string(deploy("prometheus/alerts.yml"))?;
    let operations = fs::read_to_string(deploy("OPERATIONS.md"))?;
    let anchors = documents::anchors(&operations);
    let (alerts, runbooks) = (values(&rules, "alert"), values(&rules, "runbook_url"));
    assert_eq!(alerts.len(), runbooks.len(), "an alert without a runbook, or a runbook without an alert");
    for runbook in &runbooks {
        let anchor = runbook.strip_prefix("deploy/OPERATIONS.md#").with_context(|| runbook.clone())?;
        ensure!(anchors.contains(anchor), "OPERATIONS.md has no section #{anchor}");
    }
    Ok(())
}

/// A Prometheus that scrapes every second. Every `for` of the alerts is one second.
async fn prometheus(dir: &Path, targets: &[(&str, &str)]) -> Result<(Process, String)> {
    let program = install::program("prometheus").context("prometheus")?;
    let folder = dir.join("prometheus");
    harness::files::private_dir(&folder)?;
    let rules = fs::read_to_string(deploy("prometheus/alerts.yml"))?;
    let impatient: Vec<String> = rules
        .lines()
        .map(|line| match line.split_once("for: ") {
            Some((indent, _)) if indent.trim().is_empty() => format!("{indent}for: 1s"),
            _ => line.to_owned(),
        })
        .collect();
    fs::write(folder.join("alerts.yml"), impatient.join("\n"))?;
    let mut config = "global: { scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s }\nrule_files: [alerts.yml]\nscrape_configs:\n".to_owned();
    for (job, url) in targets {
        let address = url.trim_start_matches("http://").trim_end_matches('/');
        config.push_str(&format!("  - {{ job_name: {job}, static_configs: [{{ targets: [\"{address}\"] }}] }}\n"));
    }
    fs::write(folder.join("prometheus.yml"), config)?;
    let port = ports::free()?;
    let launch = Launch::new("prometheus", program, &folder).args([
        format!("--config.file={}", folder.join("prometheus.yml").display()),
        format!("--storage.tsdb.path={}", folder.join("data").display()),
        format!("--web.listen-address=127.0.0.1:{port}"),
    ]);
    Ok((Process::start(launch)?, format!("http://127.0.0.1:{port}")))
}

/// Names of the alerts that fire.
async fn firing(url: &str) -> Result<BTreeSet<String>> {
    let answer: Value = reqwest::get(format!("{url}/api/v1/alerts")).await?.json().await?;
    let alerts = answer["data"]["alerts"].as_array().context("alerts")?;
    let fire = alerts.iter().filter(|alert| alert["state"] == "firing");
    Ok(fire.filter_map(|alert| alert["labels"]["alertname"].as_str().map(str::to_owned)).collect())
}

#[tokio::test]
async fn alerts_fire_and_end_in_a_real_prometheus() -> Result<()> {
    install::ensure(&[Tool::Prometheus]).await?;
    let promtool = install::program("promtool").context("promtool")?;
    let tested =
        Command::new(promtool).args(["test", "rules", "alerts_test.yml"]).current_dir(deploy("prometheus")).output()?;
    ensure!(
        tested.status.success(),
        "{}{}",
        String::from_utf8_lossy(&tested.stdout),
        String::from_utf8_lossy(&tested.stderr)
    );

    let mut stack = world::start("alerts").await?;
    let targets = [
        ("control-plane", stack.control_planes[0].internal_url().to_owned()),
        ("provisioner", stack.provisioners[0].internal_url().to_owned()),
        ("data-plane", stack.data_planes[0].internal_url().to_owned()),
    ];
    let targets: Vec<(&str, &str)> = targets.iter().map(|(job, url)| (*job, url.as_str())).collect();
    let (_process, url) = prometheus(stack.dir(), &targets).await?;
    let fires = async |alert: &str, wanted: bool| {
        wait::until_ok(SOON, &format!("{alert} to fire: {wanted}"), async || {
            let firing = firing(&url).await?;
            ensure!(firing.contains(alert) == wanted, "{firing:?}");
            Ok(())
        })
        .await
    };
    // Prometheus must see the service up once before it can see it down.
    wait::until_ok(SOON, "three services to be scraped", async || {
        let up: Value = reqwest::get(format!("{url}/api/v1/query?query=sum(up)")).await?.json().await?;
        ensure!(up["data"]["result"][0]["value"][1] == "3", "{up}");
        Ok(())
    })
    .await?;
    fires("ServiceDown", false).await?;
    stack.data_planes[0].kill9()?;
    fires("ServiceDown", true).await?;
    stack.data_planes[0].restart(&[]).await?;
    fires("ServiceDown", false).await?;
    stack.mariadb.as_mut().context("an own MariaDB")?.kill9()?;
    fires("SystemDatabaseDown", true).await?;
    stack.mariadb.as_mut().context("an own MariaDB")?.restart().await?;
    fires("SystemDatabaseDown", false).await
}
