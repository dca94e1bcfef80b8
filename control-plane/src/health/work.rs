//! The work that should run by itself: the relay, the jobs, the schedules.

use super::Part;
use chrono::NaiveDateTime;
use kernel::jobs::IdleLane;
use serde_json::{Map, Value, json};
use sqlx::MySqlPool;

/// An event that waits for so long to be published shows that the relay is stuck.
const RELAY_STUCK_SECONDS: i64 = 5;
/// A job that has been due for so long without a lease waits for a worker that is not there.
const OVERDUE_SECONDS: u32 = 60;
/// A job that is retried for so long does not fail by chance.
const RETRIED_SECONDS: u32 = 30;
/// For so long an operator should check a job that failed.
const FAILED_MINUTES: u32 = 10;

pub async fn relay(pool: &MySqlPool) -> Result<Part, sqlx::Error> {
    let (cursor, head, oldest, leads): (u64, u64, Option<i64>, bool) = sqlx::query_as(
        "SELECT l.position, h.position,
                (SELECT TIMESTAMPDIFF(SECOND, e.occurred_at, UTC_TIMESTAMP(6)) FROM saas_events e
                 WHERE e.position = l.position + 1),
                (l.lease_until > UTC_TIMESTAMP(6)) <> 0
         FROM saas_leases l JOIN saas_heads h ON h.name = 'events' WHERE l.name = 'relay'",
    )
    .fetch_one(pool)
    .await?;
    let stuck = oldest.filter(|seconds| *seconds > RELAY_STUCK_SECONDS);
    let reasons = stuck.map(|seconds| format!("the relay has not published an event that is {seconds} s old"));
    let value = json!({
        "position": cursor,
        "head": head,
        "lag_events": head.saturating_sub(cursor),
        "lag_seconds": oldest.unwrap_or(0).max(0),
        "leader": leads,
    });
    Ok(Part::new(value, reasons.into_iter().collect()))
}

pub async fn jobs(pool: &MySqlPool) -> Result<Part, sqlx::Error> {
    let states: Vec<(String, i64)> = sqlx::query_as(
        "SELECT status, COUNT(*) FROM saas_operations FORCE INDEX (idx_open) WHERE due_at IS NOT NULL GROUP BY status
         UNION ALL
         SELECT status, COUNT(*) FROM saas_operations FORCE INDEX (idx_finished)
         WHERE finished_at > UTC_TIMESTAMP(6) - INTERVAL 1 DAY GROUP BY status",
    )
    .fetch_all(pool)
    .await?;
    let (overdue, retried, failed): (i64, i64, i64) = sqlx::query_as(&format!(
        "SELECT CAST(COALESCE(SUM(NOT FIND_IN_SET(lane, ?)
                         AND due_at < UTC_TIMESTAMP(6) - INTERVAL {OVERDUE_SECONDS} SECOND), 0) AS SIGNED),
                CAST(COALESCE(SUM(attempts >= 3 AND error IS NOT NULL AND NOT FIND_IN_SET(kind, ?)
                         AND created_at < UTC_TIMESTAMP(6) - INTERVAL {RETRIED_SECONDS} SECOND), 0) AS SIGNED),
                (SELECT COUNT(*) FROM saas_operations FORCE INDEX (idx_finished)
                 WHERE status = 'failed' AND finished_at > UTC_TIMESTAMP(6) - INTERVAL {FAILED_MINUTES} MINUTE)
         FROM saas_operations FORCE INDEX (idx_open) WHERE due_at IS NOT NULL"
    ))
    .bind(kernel::jobs::lanes_that_queue())
    .bind(kernel::jobs::kinds_that_wait_for_a_server())
    .fetch_one(pool)
    .await?;
    let mut reasons = Vec::new();
    if overdue > 0 {
        reasons.push(format!("{overdue} jobs are due and no worker takes them"));
    }
    let idle = kernel::jobs::idle_lanes(pool).await?;
    reasons.extend(idle.iter().map(|IdleLane { server_id, lane, seconds }| {
        format!("no worker of server {server_id} works in the lane {lane}, where a job has been due for {seconds} s")
    }));
    if retried > 0 {
        reasons.push(format!("{retried} jobs fail again and again"));
    }
    if failed > 0 {
        reasons.push(format!("{failed} jobs failed in the last {FAILED_MINUTES} minutes"));
    }
    // Of the last day, as far as they have ended.
    let mut of_state: Map<String, Value> =
        ["pending", "running", "succeeded", "failed"].map(|state| (state.into(), json!(0))).into_iter().collect();
    of_state.extend(states.into_iter().map(|(state, count)| (state, json!(count))));
    of_state.extend(
        [("overdue", overdue), ("idle_lanes", idle.len() as i64), ("retried", retried), ("failed_lately", failed)]
            .map(|(name, count)| (name.into(), json!(count))),
    );
    Ok(Part::new(Value::Object(of_state), reasons))
}

pub async fn scheduler(pool: &MySqlPool) -> Result<Part, sqlx::Error> {
    let (leads,): (bool,) =
        sqlx::query_as("SELECT (lease_until > UTC_TIMESTAMP(6)) <> 0 FROM saas_leases WHERE name = 'scheduler'")
            .fetch_one(pool)
            .await?;
    // The newest ended run of each schedule.
    let failed: Vec<(String, Option<String>, Option<NaiveDateTime>)> = sqlx::query_as(
        "SELECT r.schedule, r.error, r.ended_at FROM saas_schedule_runs r WHERE r.status = 'failed'
           AND r.slot = (SELECT MAX(n.slot) FROM saas_schedule_runs n
                         WHERE n.schedule = r.schedule AND n.ended_at IS NOT NULL)",
    )
    .fetch_all(pool)
    .await?;
    let mut reasons: Vec<String> =
        failed.iter().map(|(name, ..)| format!("the last run of the schedule {name} failed")).collect();
    if !leads {
        reasons.push("no process leads the schedules".into());
    }
    let failed: Vec<Value> = failed
        .into_iter()
        .map(|(name, error, ended)| {
            let ended_at = ended.map(|time| time.and_utc());
            json!({"schedule": name, "error": error, "ended_at": ended_at})
        })
        .collect();
    Ok(Part::new(json!({"leader": leads, "failed": failed}), reasons))
}
