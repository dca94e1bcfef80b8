//! `control-plane stats`: requests statistics of past days, and shows collections.

use super::{FOUND, system_pool};
use crate::commands::perform;
use crate::statistics::{Collection, RequestCollection, collections};
use chrono::NaiveDate;
use clap::Subcommand;
use kernel::process::config::Settings;
use kernel::store::Store;
use std::process::ExitCode;
use std::time::{Duration, Instant};

#[derive(Subcommand)]
#[command(
    after_help = "Days are in UTC. Provisioners count; a day that is counted again is replaced, so this can be repeated.

Examples:
  control-plane stats backfill --from 2026-01-01 --to 2026-01-31
  control-plane stats list --json"
)]
pub enum StatsCommand {
    /// Have all tenants counted for a range of days, and wait for the end.
    ///
    /// Exit codes: 0 done, 4 a tenant could not be counted, or it has not ended in time.
    Backfill {
        /// First day, such as 2026-01-01.
        #[arg(long, value_name = "DAY")]
        from: NaiveDate,
        /// Last day; at most 366 days in all, and none that has not begun.
        #[arg(long, value_name = "DAY")]
        to: NaiveDate,
        /// Seconds to wait for the end; 0: only request it.
        #[arg(long, value_name = "SECONDS", default_value_t = 600)]
        wait: u64,
        /// Print the result as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show the newest collections.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

pub async fn run(settings: &Settings, command: StatsCommand) -> anyhow::Result<ExitCode> {
    let pool = system_pool(settings, 1)?;
    match command {
        StatsCommand::List { json } => {
            let found = collections(&mut *pool.acquire().await?, None).await?;
            if json {
                println!("{}", serde_json::to_string_pretty(&found)?);
                return Ok(ExitCode::SUCCESS);
            }
            println!(
                "{:<36}  {:<12}  {:<10}  {:<10}  {:>7}  {:>7}  status",
                "request", "server", "from", "to", "counted", "failed"
            );
            for one in found {
                let from = one.from_day.map_or_else(|| "missing".to_owned(), |day| day.to_string());
                println!(
                    "{:<36}  {:<12}  {from:<10}  {:<10}  {:>7}  {:>7}  {}",
                    one.request_id, one.server_id, one.to_day, one.collected, one.failed, one.status
                );
            }
            Ok(ExitCode::SUCCESS)
        }
        StatsCommand::Backfill { from, to, wait, json } => {
            let request = RequestCollection::new((from, to));
            let requested = perform(&Store::new(pool.clone()), "command", &request).await;
            requested.map_err(|refusal| anyhow::Error::new(refusal).context("the collection was refused"))?;
            eprintln!("requested {}", request.request_id);
            if wait == 0 {
                return Ok(ExitCode::SUCCESS);
            }
            let (begun, mut reported) = (Instant::now(), String::new());
            loop {
                let found = collections(&mut *pool.acquire().await?, Some(&request.request_id)).await?;
                let sum = |count: fn(&Collection) -> u32| found.iter().map(count).sum::<u32>();
                let (all, counted, failed) = (sum(|c| c.tenants.unwrap_or(0)), sum(|c| c.collected), sum(|c| c.failed));
                let progress = format!("{counted} of {all} tenants counted, {failed} failed");
                if progress != reported {
                    eprintln!("{progress}");
                    reported = progress;
                }
                let ended = found.iter().all(|one| matches!(one.status.as_str(), "succeeded" | "failed"));
                if ended || begun.elapsed() >= Duration::from_secs(wait) {
                    for failure in found.iter().flat_map(|one| &one.failures) {
                        eprintln!("{failure}");
                    }
                    if json {
                        println!("{}", serde_json::to_string_pretty(&found)?);
                    }
                    if !ended {
                        eprintln!("it has not ended within {wait} s; is a provisioner running?");
                    }
                    let done = ended && failed == 0;
                    return Ok(if done { ExitCode::SUCCESS } else { ExitCode::from(FOUND) });
                }
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        }
    }
}
