//! Requests backups, and tests that they can be restored: a job each. The provisioners do a few of them at once.
//!
//! A run that another leader takes up requests only what it has not requested yet.

use super::{Clock, RoleLease, Run, RunError};
use crate::app::App;
use kernel::jobs::{self, JobKind, NewJob};
use std::time::Duration;

/// Jobs that one transaction enqueues.
const BATCH: u32 = 200;
/// How long a failing job is retried.
const PATIENCE: Duration = Duration::from_secs(3600);

/// A backup of every tenant that has data, and of the system database.
pub async fn back_up(clock: &Clock, lease: &RoleLease, run: &Run) -> Result<u64, RunError> {
    let Clock { app, settings } = clock;
    if !settings.backups {
        return Ok(0);
    }
    let mut asked = 0;
    loop {
        let mut tx = app.store.pool().begin().await?;
        lease.hold(&mut tx).await?;
        let tenants: Vec<(String, String)> = sqlx::query_as(
            "SELECT t.tenant_id, t.server_id FROM saas_tenant_snapshots t
             WHERE t.has_database = 1
               AND NOT EXISTS (SELECT 1 FROM saas_backup_jobs j
                    JOIN saas_operations o ON o.operation_id = j.operation_id
                    WHERE j.source_tenant_id = t.tenant_id AND o.kind = 'backup'
                      AND (o.status IN ('pending', 'running') OR o.created_at >= ?))
             ORDER BY t.created_position LIMIT ?",
        )
        .bind(run.started_at)
        .bind(BATCH)
        .fetch_all(&mut *tx)
        .await?;
        jobs::enqueue(&mut tx, &of_backups(JobKind::Backup, &tenants)).await?;
        tx.commit().await?;
        asked += tenants.len() as u64;
        if tenants.len() < BATCH as usize {
            break;
        }
    }
    Ok(asked + system(app, lease, run).await?)
}

async fn system(app: &App, lease: &RoleLease, run: &Run) -> Result<u64, RunError> {
    let mut tx = app.store.pool().begin().await?;
    lease.hold(&mut tx).await?;
    let asked: Option<(String,)> = sqlx::query_as(
        "SELECT o.operation_id FROM saas_backup_jobs j JOIN saas_operations o ON o.operation_id = j.operation_id
         WHERE j.source_tenant_id = '' AND o.kind = 'backup'
           AND (o.status IN ('pending', 'running') OR o.created_at >= ?) LIMIT 1",
    )
    .bind(run.started_at)
    .fetch_optional(&mut *tx)
    .await?;
    if asked.is_some() {
        return Ok(0);
    }
    let job = NewJob::for_server(JobKind::Backup, "main", PATIENCE).about_backup_of("");
    jobs::enqueue(&mut tx, &[job]).await?;
    tx.commit().await?;
    Ok(1)
}

/// A test of the tenants whose newest backups have waited longest for one. A test that failed for a reason of its server
/// is no verdict on the backup, and yet its tenant goes behind the others: three of those would take every night's tests.
pub async fn test(clock: &Clock, lease: &RoleLease, run: &Run) -> Result<u64, RunError> {
    let Clock { app, settings } = clock;
    if !settings.backups {
        return Ok(0);
    }
    let mut tx = app.store.pool().begin().await?;
    lease.hold(&mut tx).await?;
    let (begun,): (i64,) =
        sqlx::query_as("SELECT COUNT(*) FROM saas_operations WHERE kind = 'restore_test' AND created_at >= ?")
            .bind(run.started_at)
            .fetch_one(&mut *tx)
            .await?;
    let left = i64::from(settings.restore_tests).saturating_sub(begun).max(0);
    let tenants: Vec<(String, String)> = sqlx::query_as(
        "SELECT t.tenant_id, t.server_id FROM saas_tenant_snapshots t JOIN saas_backups b ON b.tenant_id = t.tenant_id
         LEFT JOIN (SELECT j.source_tenant_id, MAX(o.created_at) AS requested_at
                    FROM saas_operations o JOIN saas_backup_jobs j ON j.operation_id = o.operation_id
                    WHERE o.kind = 'restore_test' GROUP BY j.source_tenant_id) a ON a.source_tenant_id = t.tenant_id
         WHERE t.has_database = 1
           AND NOT EXISTS (SELECT 1 FROM saas_backup_jobs j JOIN saas_operations o ON o.operation_id = j.operation_id
                WHERE j.source_tenant_id = t.tenant_id AND o.kind = 'restore_test'
                  AND o.status IN ('pending', 'running'))
         GROUP BY t.tenant_id, t.server_id ORDER BY GREATEST(MAX(COALESCE(b.tested_at, TIMESTAMP('2000-01-01'))),
                  MAX(COALESCE(a.requested_at, TIMESTAMP('2000-01-01')))), t.tenant_id LIMIT ?",
    )
    .bind(left)
    .fetch_all(&mut *tx)
    .await?;
    jobs::enqueue(&mut tx, &of_backups(JobKind::RestoreTest, &tenants)).await?;
    tx.commit().await?;
    Ok(tenants.len() as u64)
}

/// A job of `kind` for each of the tenants, on the server that the tenant is on.
fn of_backups(kind: JobKind, tenants: &[(String, String)]) -> Vec<NewJob> {
    tenants.iter().map(|(id, server)| NewJob::for_server(kind, server, PATIENCE).about_backup_of(id)).collect()
}
