//! The memory of the migrator does not grow with what it moves.

use super::{Old, SEED};
use crate::world;
use anyhow::{Result, ensure};
use harness::legacy::fill;
use harness::legacy::schema::{DATABASE, Generation};
use harness::process::Process;
use harness::servers::Server;
use std::time::{Duration, Instant};

/// The limit for any source.
const LIMIT: u64 = 200_000_000;

#[tokio::test]
async fn large_rows_and_many_rows_fit_into_200_megabytes() -> Result<()> {
    // 600 structs of 200 kB are 120 MB of text, which would need twice that if the migrator held them.
    measured("legacy-memory", 100_000, 600).await.map(drop)
}

#[tokio::test]
#[ignore = "long: fills and imports a table of 10,000,000 rows"]
async fn ten_million_rows_fit_into_200_megabytes() -> Result<()> {
    let peak = measured("legacy-ten-million", 10_000_000, 2000).await?;
    println!("peak memory of the import of 10,000,000 rows: {:.1} MB", peak as f64 / 1e6);
    Ok(())
}

async fn measured(name: &str, rows: u64, structs: u64) -> Result<u64> {
    let stack = harness::stack::Stack::start(world::without_nodes(name)?).await?;
    let old = Old::empty(&stack, Generation::November2025).await?;
    let root = old.server.url();
    fill::fill(&root, DATABASE, SEED, 1000).await?;
    sqlx::raw_sql("TRUNCATE scenario_favorite").execute(&mut old.connect().await?).await?;
    fill::fill_table(&root, DATABASE, SEED, "scenario_favorite", rows).await?;
    let large = format!(
        "TRUNCATE shifu_log_draft_structs;
         INSERT INTO shifu_log_draft_structs
         SELECT id, LEFT(SHA2(id, 256), 32), '', REPEAT('结构{{}}', 25000), 0, NOW(), '', NOW(), '' FROM scenario_favorite LIMIT {structs}"
    );
    sqlx::raw_sql(&large).execute(&mut old.connect().await?).await?;
    let mut peak = 0;
    for command in ["import", "verify"] {
        let began = Instant::now();
        let mut process = old.start(&stack, &[command])?;
        let command_peak = peak_until_end(&mut process).await?;
        println!(
            "{command} of {rows} small and {structs} large rows: {:.1} MB at most, {:.1} s",
            command_peak as f64 / 1e6,
            began.elapsed().as_secs_f64()
        );
        ensure!(command_peak < LIMIT, "{command} had {command_peak} bytes");
        peak = peak.max(command_peak);
    }
    let sums = (old.sums().await?, old.sums_in_new(&stack).await?);
    ensure!(sums.0["scenario_favorite"].rows == rows, "{:?}", sums.0["scenario_favorite"]);
    let different = harness::legacy::checksum::differences(&sums.0, &sums.1);
    ensure!(different.is_empty(), "{different:?}");
    Ok(peak)
}

/// Polls often, because the peak memory of a process cannot be read after its end.
async fn peak_until_end(process: &mut Process) -> Result<u64> {
    let mut peak = 0;
    loop {
        if let Some(now) = process.peak_memory() {
            peak = peak.max(now);
        }
        if !process.is_alive() {
            let status = process.ended(Duration::ZERO).await?;
            ensure!(status.success(), "{status}: {}", harness::files::tail(&process.log(), 20));
            ensure!(peak > 0, "the import ended before its memory was read");
            return Ok(peak);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
