//! `control-plane schedule`: shows the schedules, and requests a run.

use super::{FOUND, system_pool};
use crate::commands::perform;
use crate::schedule::{Due, RequestRun, SCHEDULES, ScheduleSettings, find, find_run, register, report};
use anyhow::Context;
use chrono::NaiveDateTime;
use clap::Subcommand;
use kernel::process::config::Settings;
use kernel::store::Store;
use std::process::ExitCode;
use std::time::{Duration, Instant};

#[derive(Subcommand)]
#[command(
    after_help = "Expressions are cron in UTC, seconds first: \"0 30 2 * * *\" is 02:30:00 every day. They are settings
(SCHEDULE_...); an empty one switches its schedule off. One process at a time leads. After a time without a leader the
newest missed slot is caught up, once.

Examples:
  control-plane schedule list --json
  control-plane schedule run history-retention"
)]
pub enum ScheduleCommand {
    /// Show each schedule with its last and next run, and the process that leads.
    ///
    /// Exit codes: 0 all is well, 4 the last run of a schedule failed.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Request a run now, and wait for its end. The leading `control-plane serve` does it.
    ///
    /// Exit codes: 0 done, 4 it failed or has not ended in time.
    Run {
        /// The name of a schedule; see `list`.
        name: String,
        /// Seconds to wait for its end; 0: only request it.
        #[arg(long, value_name = "SECONDS", default_value_t = 60)]
        wait: u64,
    },
}

pub async fn run(settings: &Settings, command: ScheduleCommand) -> anyhow::Result<ExitCode> {
    let schedules = ScheduleSettings::from_settings(settings)?;
    let pool = system_pool(settings, 1)?;
    match command {
        ScheduleCommand::List { json } => {
            let report = report(&pool, &schedules).await?;
            let failed =
                report.schedules.iter().filter_map(|due| due.last_run.as_ref()).any(|run| run.status == "failed");
            if json {
                println!("{}", serde_json::to_string_pretty(&report)?);
            } else {
                println!(
                    "{:<20}  {:<18}  {:<20}  {:<20}  outcome",
                    "schedule", "expression", "next (UTC)", "last (UTC)"
                );
                let text = |time: Option<NaiveDateTime>| {
                    time.map_or("-".to_owned(), |time| time.format("%Y-%m-%dT%H:%M:%S").to_string())
                };
                for Due { name, expression, next_run, last_run, .. } in &report.schedules {
                    let expression = expression.as_deref().unwrap_or("off");
                    let next = text(next_run.map(|time| time.naive_utc()));
                    let slot = text(last_run.as_ref().map(|run| run.slot));
                    let status = last_run.as_ref().map_or("-", |run| &run.status);
                    println!("{name:<20}  {expression:<18}  {next:<20}  {slot:<20}  {status}");
                }
                println!("leader: {}", report.leader.map_or_else(|| "none".into(), |leader| leader.owner));
            }
            Ok(if failed { ExitCode::from(FOUND) } else { ExitCode::SUCCESS })
        }
        ScheduleCommand::Run { name, wait } => {
            let names = SCHEDULES.map(|schedule| schedule.name).join(", ");
            let schedule = find(&name).with_context(|| format!("there is no schedule {name}; there are {names}"))?;
            register(&pool).await?;
            let requested =
                perform(&Store::new(pool.clone()), "command", &RequestRun { schedule: schedule.name }).await;
            let requested = requested.map_err(|refusal| anyhow::Error::new(refusal).context("the run was refused"))?;
            let run_id = requested.context("the run has no row")?.run_id;
            eprintln!("requested run {run_id}");
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_secs(wait) {
                let run = find_run(&mut *pool.acquire().await?, &run_id).await?;
                match run.as_ref().map(|run| run.status.as_str()) {
                    Some("succeeded") => {
                        println!("{}", serde_json::to_string(&run)?);
                        return Ok(ExitCode::SUCCESS);
                    }
                    Some("failed") => {
                        println!("{}", serde_json::to_string(&run)?);
                        return Ok(ExitCode::from(FOUND));
                    }
                    _ => tokio::time::sleep(Duration::from_millis(200)).await,
                }
            }
            if wait == 0 {
                return Ok(ExitCode::SUCCESS);
            }
            eprintln!("it has not ended within {wait} s; is a control plane running?");
            Ok(ExitCode::from(FOUND))
        }
    }
}
