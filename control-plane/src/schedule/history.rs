//! Removes old rows that are only about the past: answers to idempotency keys, ended operations with their steps, ended
//! runs and collections, rows of the access log. It never removes events, nor anything that has not ended.

use super::{Clock, RoleLease, RunError};
use crate::app::App;
use sqlx::{MySql, QueryBuilder};

/// Rows that one transaction removes: each holds its locks for a moment only.
const BATCH: u32 = 500;

/// The counted days stay. These rows only say which worker counted them, and which tenants it could not count.
const COLLECTIONS: &str = "DELETE FROM saas_collections WHERE ended_at < UTC_TIMESTAMP(6) - INTERVAL ? DAY LIMIT ?";
const FAILURES: &str = "DELETE FROM saas_collection_failures WHERE failed_at < UTC_TIMESTAMP(6) - INTERVAL ? DAY
    AND NOT EXISTS (SELECT 1 FROM saas_collections c WHERE c.collection_id = saas_collection_failures.collection_id)
    LIMIT ?";

/// Traces are of use until their event is published.
const TRACES: &str = "DELETE FROM saas_event_traces WHERE created_at < UTC_TIMESTAMP(6) - INTERVAL ? DAY LIMIT ?";

pub async fn remove_old(clock: &Clock, lease: &RoleLease) -> Result<u64, RunError> {
    let Clock { app, settings } = clock;
    let keys = "DELETE FROM saas_idempotency_keys WHERE created_at < UTC_TIMESTAMP(6) - INTERVAL ? DAY LIMIT ?";
    // The newest run of a schedule stays: it says when the schedule last ran, however long ago.
    let runs = "DELETE FROM saas_schedule_runs WHERE ended_at < UTC_TIMESTAMP(6) - INTERVAL ? DAY
                  AND run_id NOT IN (SELECT run_id FROM (SELECT r.run_id FROM saas_schedule_runs r JOIN
                    (SELECT schedule, MAX(slot) AS slot FROM saas_schedule_runs GROUP BY schedule) newest
                    ON newest.schedule = r.schedule AND newest.slot = r.slot) newest_runs) LIMIT ?";
    let mut removed = rows(app, lease, keys, settings.key_days).await?;
    let requests = "DELETE FROM saas_access_logs WHERE created_at < UTC_TIMESTAMP() - INTERVAL ? DAY LIMIT ?";
    removed += rows(app, lease, runs, settings.run_days).await?;
    removed += rows(app, lease, COLLECTIONS, settings.run_days).await?;
    rows(app, lease, FAILURES, settings.run_days).await?;
    rows(app, lease, TRACES, 1).await?;
    removed += rows(app, lease, requests, settings.access_log_days).await?;
    removed += operations(app, lease, settings.operation_days).await?;
    removed += audits(app, lease, settings.operation_days).await?;
    Ok(removed)
}

async fn rows(app: &App, lease: &RoleLease, delete: &'static str, days: u32) -> Result<u64, RunError> {
    let mut removed = 0;
    loop {
        let mut tx = app.store.pool().begin().await?;
        lease.hold(&mut tx).await?;
        let deleted = sqlx::query(delete).bind(days).bind(BATCH).execute(&mut *tx).await?.rows_affected();
        tx.commit().await?;
        removed += deleted;
        if deleted < u64::from(BATCH) {
            return Ok(removed);
        }
    }
}

/// The newest audit stays, as the newest run does.
async fn audits(app: &App, lease: &RoleLease, days: u32) -> Result<u64, RunError> {
    macro_rules! delete_from {
        ($table:literal) => {
            concat!(
                "DELETE FROM ",
                $table,
                " WHERE audit_id IN (SELECT audit_id FROM (SELECT audit_id FROM saas_audits
                 WHERE created_at < UTC_TIMESTAMP(6) - INTERVAL ? DAY
                   AND audit_id <> (SELECT MAX(audit_id) FROM saas_audits)) old) LIMIT ?"
            )
        };
    }
    let mut removed = 0;
    // Ids are in the order of their making (UUID 7). What belongs to an audit goes before it.
    for delete in [delete_from!("saas_audit_findings"), delete_from!("saas_audit_jobs"), delete_from!("saas_audits")] {
        removed += rows(app, lease, delete, days).await?;
    }
    Ok(removed)
}

async fn operations(app: &App, lease: &RoleLease, days: u32) -> Result<u64, RunError> {
    let mut removed = 0;
    loop {
        let mut tx = app.store.pool().begin().await?;
        lease.hold(&mut tx).await?;
        let ended: Vec<(String,)> = sqlx::query_as(
            "SELECT operation_id FROM saas_operations FORCE INDEX (idx_finished)
             WHERE status IN ('succeeded', 'failed') AND finished_at < UTC_TIMESTAMP(6) - INTERVAL ? DAY LIMIT ?",
        )
        .bind(days)
        .bind(BATCH)
        .fetch_all(&mut *tx)
        .await?;
        if ended.is_empty() {
            return Ok(removed);
        }
        for table in ["DELETE FROM saas_operation_steps", "DELETE FROM saas_backup_jobs", "DELETE FROM saas_operations"]
        {
            let mut delete = QueryBuilder::<MySql>::new(table);
            let mut ids = delete.push(" WHERE operation_id IN (").separated(", ");
            for (id,) in &ended {
                ids.push_bind(id);
            }
            ids.push_unseparated(")");
            delete.build().execute(&mut *tx).await?;
        }
        tx.commit().await?;
        removed += ended.len() as u64;
    }
}
