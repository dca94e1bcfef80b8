//! With `--metrics`, the command exposes exactly the metrics of the list, correct to the last row.

use super::{Old, run};
use crate::world;
use anyhow::{Context, Result, ensure};
use harness::legacy::schema::Generation;
use harness::process::Process;
use harness::stack::Stack;
use harness::{ports, wait};
use kernel::process::telemetry::names;
use std::time::Duration;

/// Reads the metrics until the process has ended, and returns the last answer, which is from after its work.
async fn last_figures(mut process: Process, url: &str) -> Result<String> {
    let mut last = None;
    wait::until(Duration::from_secs(120), "the command to end", async || {
        // The client holds no connection, because the command would wait for its end.
        let client = harness::http().pool_max_idle_per_host(0).build().ok()?;
        if let Ok(answer) = client.get(url).send().await
            && let Ok(text) = answer.text().await
        {
            last = Some(text);
        }
        (!process.is_alive()).then_some(())
    })
    .await?;
    last.context("the figures were never read")
}

fn value(text: &str, series: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
}

#[tokio::test]
async fn an_import_exposes_its_progress_and_its_failure() -> Result<()> {
    let stack = Stack::start(world::without_nodes("legacy-figures")?).await?;
    let old = Old::filled(&stack, Generation::September2025, 5000).await?;
    let rows: u64 = old.sums().await?.values().map(|sum| sum.rows).sum();
    let address = format!("127.0.0.1:{}", ports::free()?);
    let url = format!("http://{address}/metrics");

    let text = last_figures(old.start(&stack, &["import", "--metrics", &address])?, &url).await?;
    let importing = |name: &str| value(&text, &format!("{name}{{work=\"importing\"}} ")).with_context(|| text.clone());
    assert_eq!(importing(names::IMPORT_ROWS)?, rows as f64);
    assert_eq!((importing(names::IMPORT_TABLES)?, importing(names::IMPORT_REMAINING)?), (37.0, 0.0));
    ensure!(importing(names::IMPORT_BYTES)? > importing(names::IMPORT_ROWS)?, "{text}");
    ensure!(importing(names::IMPORT_ROWS_EXPECTED)? > 0.0, "{text}");
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap_or_default();
        let metric = names::ALL.iter().find(|metric| metric.name == name && metric.of.contains(&"legacy"));
        let metric = metric.with_context(|| format!("{name} is not in the list"))?;
        ensure!(text.contains(&format!("# HELP {name} {}", metric.help)), "{name} has no help");
    }

    // The source cannot be reached.
    let nowhere = format!("mysql://mover:x@127.0.0.1:{}/{}", ports::free()?, super::DATABASE);
    let env = vec![("LEGACY_DB_URL".to_owned(), nowhere)];
    let args = ["legacy", "verify", "--metrics", &address];
    let failing = Process::start(stack.command(harness::stack::Role::Provisioner, "legacy-failing", &args, &env)?)?;
    let text = last_figures(failing, &url).await?;
    ensure!(text.contains("import_failures_total{reason=") && text.contains("} 1"), "{text}");

    // The command refuses an address in use before it does anything.
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let args = ["verify", "--metrics", &taken.local_addr()?.to_string()];
    let answer = run(&stack, &args, &old.env()).await?.expect(super::REFUSED)?;
    ensure!(answer.errors.contains("cannot listen on"), "{}", answer.errors);
    Ok(())
}
