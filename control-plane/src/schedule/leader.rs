//! The leader of the schedules: it inserts a run for each due slot, and does the runs one after another.

use super::{Clock, Run, RunError, SCHEDULES, Schedule, find, runs};
use kernel::error::chain;
use kernel::lease::{Role, RoleLease};
use kernel::process::health::{Health, Part};
use kernel::process::telemetry::names;
use std::time::Duration;

/// A leader that does not renew its lease for so long loses the role.
const LEASE: Duration = Duration::from_secs(15);
/// How often the leader checks for due slots and requested runs.
const CHECK: Duration = Duration::from_secs(1);
/// How often another process tries to become the leader.
const WAIT: Duration = Duration::from_secs(2);
/// Longest time for one run: a run requests slow work, it does none.
const DEADLINE: Duration = Duration::from_secs(300);

/// Leads, or waits until no other process leads, until the process stops.
pub async fn lead(clock: Clock, health: Health) {
    let app = &clock.app;
    let role = Role::new("scheduler", LEASE);
    loop {
        let term = async {
            let Some(lease) = role.take(app.store.pool()).await? else { return Ok(()) };
            tracing::info!(epoch = lease.epoch(), "this process leads the schedules");
            metrics::gauge!(names::SCHEDULER_IS_LEADER).set(1.0);
            tokio::select! {
                lost = lease.keep(app.store.pool()) => Err(lost.into()),
                ended = work(&clock, &lease, &health) => ended,
            }
        };
        let ended: Result<(), RunError> =
            tokio::select! { ended = term => ended, () = app.shutdown.requested() => break };
        metrics::gauge!(names::SCHEDULER_IS_LEADER).set(0.0);
        match ended {
            Ok(()) => health.report("scheduler", Part::Healthy),
            Err(error) => health.report_error("scheduler", Part::Degraded(error.to_string()), &error),
        }
        tokio::select! { () = tokio::time::sleep(WAIT) => {}, () = app.shutdown.requested() => break }
    }
    role.release(app.store.pool()).await;
}

async fn work(clock: &Clock, lease: &RoleLease, health: &Health) -> Result<(), RunError> {
    let app = &clock.app;
    loop {
        let slots = runs::slots(app.store.pool()).await?;
        let mut has_run = slots.has_open_run;
        for schedule in &SCHEDULES {
            let expression = clock.settings.expression(schedule);
            if let Some(slot) = expression.and_then(|expression| slots.due(schedule, expression)) {
                runs::give_slot_its_run(&app.store, lease, schedule, slot).await?;
                has_run = true;
            }
        }
        while has_run && let Some(run) = runs::claim(&app.store, lease).await? {
            kernel::process::failpoint::hit("schedule.claimed").await;
            let ended = match find(&run.schedule) {
                Some(schedule) => one(clock, lease, schedule, &run).await?,
                None => Err("this program has no such schedule".to_owned()),
            };
            kernel::process::failpoint::hit("schedule.before_end").await;
            runs::end(&app.store, lease, &run, &ended).await?;
        }
        health.report("scheduler", Part::Healthy);
        tokio::time::sleep(CHECK).await;
    }
}

/// Does one run. An error of the term itself ends the term, and the run is taken up again.
async fn one(
    clock: &Clock,
    lease: &RoleLease,
    schedule: &Schedule,
    run: &Run,
) -> Result<Result<u64, String>, RunError> {
    let name = schedule.name;
    let ended = match tokio::time::timeout(DEADLINE, (schedule.work)(clock, lease, run)).await {
        Ok(Ok(items)) => Ok(items),
        Ok(Err(RunError::Lost)) => return Err(RunError::Lost),
        Ok(Err(RunError::Database(error))) if kernel::jobs::is_transient(&error) => return Err(error.into()),
        Ok(Err(error)) => Err(chain(&error)),
        Err(_) => Err(format!("not done within {} s", DEADLINE.as_secs())),
    };
    let outcome = if ended.is_ok() { "succeeded" } else { "failed" };
    metrics::counter!(names::SCHEDULE_RUNS, "schedule" => name, "outcome" => outcome).increment(1);
    match &ended {
        Ok(0) => tracing::debug!(schedule = name, "a run found nothing to do"),
        Ok(items) => tracing::info!(schedule = name, items, "a run has ended"),
        Err(error) => tracing::error!(schedule = name, cause = %error, "a run failed"),
    }
    Ok(ended)
}
