//! Waits for the role of the leader; as the leader, gives due slots their runs and does them, one after another.

use super::lease::Lead;
use super::{Run, RunError, SCHEDULES, Schedule, find, runs};
use crate::serve::App;
use kernel::error::chain;
use kernel::process::health::{Health, Part};
use kernel::process::telemetry::names;
use std::time::Duration;

/// How often to look for due slots, and for the role.
const LOOK: Duration = Duration::from_millis(500);
const WAIT: Duration = Duration::from_secs(2);
/// Longest time for one run: all of them ask for slow things instead of doing them.
const DEADLINE: Duration = Duration::from_secs(300);

/// Leads, or waits for its turn, until the process stops.
pub async fn lead(app: App, health: Health) {
    let owner = format!("{}:{}", std::process::id(), uuid::Uuid::new_v4());
    loop {
        let term = async {
            let Some(lead) = Lead::begin(&app.store, &owner).await? else { return Ok(()) };
            tracing::info!(epoch = lead.epoch, "this process leads the schedules");
            metrics::gauge!(names::SCHEDULER_IS_LEADER).set(1.0);
            tokio::select! { lost = lead.keep(&app.store) => Err(lost), ended = work(&app, &lead, &health) => ended }
        };
        let ended: Result<(), RunError> =
            tokio::select! { ended = term => ended, () = app.shutdown.requested() => break };
        metrics::gauge!(names::SCHEDULER_IS_LEADER).set(0.0);
        match ended {
            Ok(()) => health.tell("scheduler", Part::Healthy),
            Err(error) => health.tell("scheduler", Part::Degraded(chain(&error))),
        }
        tokio::select! { () = tokio::time::sleep(WAIT) => {}, () = app.shutdown.requested() => break }
    }
    Lead::release(&owner, app.store.pool()).await;
}

async fn work(app: &App, lead: &Lead, health: &Health) -> Result<(), RunError> {
    loop {
        for schedule in &SCHEDULES {
            if let Some(expression) = app.plan.expression(schedule) {
                runs::give_due_slot_its_run(&app.store, lead, schedule, expression).await?;
            }
        }
        while let Some(run) = runs::claim(&app.store, lead).await? {
            kernel::process::failpoint::hit("schedule.claimed").await;
            let ended = match find(&run.schedule) {
                Some(schedule) => one(app, lead, schedule, &run).await?,
                None => Err("this program has no such schedule".to_owned()),
            };
            kernel::process::failpoint::hit("schedule.before_end").await;
            runs::end(&app.store, lead, &run, &ended).await?;
        }
        health.tell("scheduler", Part::Healthy);
        tokio::time::sleep(LOOK).await;
    }
}

/// Does one run. An error of the term itself ends the term, and the run is taken up again.
async fn one(app: &App, lead: &Lead, schedule: &Schedule, run: &Run) -> Result<Result<u64, String>, RunError> {
    let name = schedule.name;
    let ended = match tokio::time::timeout(DEADLINE, (schedule.work)(app, lead, run)).await {
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
