//! The processes expose exactly the metrics of the list, and Prometheus accepts them.

use crate::world::{self, SOON};
use anyhow::{Context, Result, ensure};
use harness::install::{self, Tool};
use harness::stack::Stack;
use harness::wait;
use kernel::process::telemetry::names::{self, Kind};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Command, Stdio};

/// Metrics that appear only when something fails or waits, which does not happen here.
const SELDOM: [&str; 12] = [
    names::BACKUP_BYTES,
    names::BACKUP_OLDEST,
    names::BACKUP_TESTS_FAILED,
    names::WAITS,
    names::TENANT_REFUSALS,
    names::DRIFT_FOUND,
    names::DRIFT_REPAIRED,
    names::ACCESS_LOG_DROPPED,
    names::DOMAIN_VERIFICATIONS,
    names::SESSIONS_EXTENDED,
    names::LEGACY_SESSION_CHECKS,
    names::LEGACY_ERRORS,
];

/// A line of an exposition: the name, the labels and the value.
type Sample = (String, BTreeSet<String>, f64);

fn samples(text: &str) -> Result<Vec<Sample>> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').context("a value")?;
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let labels = labels.trim_end_matches('}').split("\",").filter_map(|label| label.split_once('='));
            Ok((name.to_owned(), labels.map(|(label, _)| label.to_owned()).collect(), value.parse()?))
        })
        .collect()
}

/// A stack in which everything that is measured has happened, and the metrics of each kind of process.
async fn expositions(name: &str) -> Result<(Stack, BTreeMap<&'static str, String>)> {
    let stack = Stack::start(
        harness::stack::StackOptions::for_test(name)?.with_env("data-plane", "METRIC_TENANTS", "1").with_env(
            "provisioner",
            "HEALTH_EVERY",
            "1",
        ),
    )
    .await?;
    let admin = stack.admin();
    for id in ["acme", "other-1", "other-2"] {
        admin.create_active_tenant(id, None, SOON).await?;
    }
    let (user, token) =
        world::user(&admin, "ann", &[("acme", "admin"), ("other-1", "admin"), ("other-2", "admin")]).await?;
    let api = stack.tenant_api(0);
    for id in ["acme", "other-1", "other-2"] {
        let host = format!("{id}.saas.example");
        world::served(&api, &host, &token).await?;
        api.get(&host, &token, &format!("/api/users/{user}/orders")).await?;
        api.get(&host, "nobody", "/api/orders").await?;
    }
    stack.run(harness::stack::Role::ControlPlane, &["schedule", "run", "daily-statistics"], &Vec::new()).await?;
    let services = [
        ("control-plane", &stack.control_planes[0]),
        ("provisioner", &stack.provisioners[0]),
        ("data-plane", &stack.data_planes[0]),
    ];
    let found = wait::until_ok(SOON, "every metric to appear", async || {
        let mut found = BTreeMap::new();
        for (service, process) in &services {
            let text = process.metrics().await?;
            let exposed: BTreeSet<String> = samples(&text)?.into_iter().map(|(name, ..)| name).collect();
            for metric in
                names::ALL.iter().filter(|metric| metric.of.contains(service) && !SELDOM.contains(&metric.name))
            {
                let name = if matches!(metric.kind, Kind::Histogram(_)) {
                    format!("{}_count", metric.name)
                } else {
                    metric.name.into()
                };
                ensure!(exposed.contains(&name), "{service} does not expose {name}");
            }
            found.insert(*service, text);
        }
        let says = |service: &str, line: &str| found[service].lines().any(|found: &str| found == line);
        ensure!(says("control-plane", "tenants{state=\"active\"} 4") && says("control-plane", "broker_up 1"), "gauges");
        ensure!(
            says("provisioner", "tenant_databases{server=\"main\",status=\"healthy\"} 4"),
            "the tenants whose databases the provisioner checked"
        );
        Ok(found)
    })
    .await?;
    Ok((stack, found))
}

#[tokio::test]
async fn every_process_exposes_exactly_its_listed_metrics() -> Result<()> {
    let (stack, found) = expositions("metrics").await?;
    public_listeners_show_no_metrics(&stack).await?;
    for (service, text) in &found {
        let known: BTreeMap<&str, _> = names::ALL
            .iter()
            .filter(|metric| metric.of.contains(service))
            .map(|metric| (metric.name, metric))
            .collect();
        for (name, labels, _) in samples(text)? {
            let base = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|end| name.strip_suffix(end))
                .filter(|base| known.contains_key(base));
            let metric = known
                .get(base.unwrap_or(&name))
                .with_context(|| format!("{service} exposes {name}, which is not its own"))?;
            ensure!(base.is_some() == matches!(metric.kind, Kind::Histogram(_)), "{service}: {name}");
            let mut expected: BTreeSet<String> = metric.labels.iter().map(|label| (*label).to_owned()).collect();
            if name.ends_with("_bucket") {
                expected.insert("le".into());
            }
            assert_eq!(labels, expected, "{service}: {name}");
            ensure!(text.contains(&format!("# HELP {} {}", metric.name, metric.help)), "{service}: {name} has no help");
        }
    }
    // One tenant has a label of its own, and the others share one.
    let of_tenants: BTreeSet<&str> = found["data-plane"]
        .lines()
        .filter(|line| line.starts_with("tenant_requests_total{"))
        .filter_map(|line| line.split("tenant_id=\"").nth(1)?.split('"').next())
        .collect();
    assert_eq!(of_tenants, BTreeSet::from(["acme", "other"]));
    Ok(())
}

/// Anybody can reach the public listeners, and metrics name tenants.
async fn public_listeners_show_no_metrics(stack: &Stack) -> Result<()> {
    for service in [&stack.control_planes[0], &stack.data_planes[0]] {
        let name = service.name();
        let status = async |url: &str, path: &str| {
            Ok::<_, anyhow::Error>(reqwest::get(format!("{url}{path}")).await?.status().as_u16())
        };
        assert_eq!(status(service.url(), "/metrics").await?, 404, "{name}");
        for url in [service.url(), service.internal_url()] {
            for path in ["/livez", "/readyz"] {
                assert_eq!(status(url, path).await?, 200, "{name} {url}{path}");
            }
        }
        assert_eq!(status(service.internal_url(), "/admin/tenants").await?, 404, "{name}");
    }
    Ok(())
}

#[tokio::test]
#[ignore = "long: installs Prometheus"]
async fn prometheus_accepts_the_exposed_metrics() -> Result<()> {
    install::ensure(&[Tool::Prometheus]).await?;
    let promtool = install::program("promtool").context("promtool")?;
    let (_stack, found) = expositions("metrics-lint").await?;
    for (service, text) in &found {
        let mut check = Command::new(&promtool)
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        check.stdin.take().context("stdin")?.write_all(text.as_bytes())?;
        let output = check.wait_with_output()?;
        let words = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success() && words.trim().is_empty(), "{service}: {words}");
    }
    Ok(())
}
