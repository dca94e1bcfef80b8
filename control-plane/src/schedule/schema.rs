//! Requests a job for each tenant whose schema is older than this program's. The provisioners do a few of them at once.
//!
//! A tenant whose migration failed gets another job a day later, or on request; the others do not wait for it.

use super::{RoleLease, RunError};
use crate::app::App;
use crate::schema::BEHIND;
use kernel::database::migrate::tenant_schema;
use kernel::domain::TenantId;
use kernel::jobs::{self, JobKind, NewJob};

/// Jobs that one transaction enqueues.
const BATCH: u32 = 200;

pub async fn migrate_behind(app: &App, lease: &RoleLease) -> Result<u64, RunError> {
    let mut asked = 0;
    loop {
        let mut tx = app.store.pool().begin().await?;
        lease.hold(&mut tx).await?;
        let behind: Vec<(String, String)> = sqlx::query_as(&format!(
            "SELECT s.tenant_id, s.server_id FROM saas_tenant_snapshots s WHERE {BEHIND}
               AND NOT EXISTS (SELECT 1 FROM saas_operations o WHERE o.tenant_id = s.tenant_id AND o.kind = 'migrate'
                    AND (o.status IN ('pending', 'running')
                         OR (o.status = 'failed' AND o.schema_version >= ?
                             AND o.finished_at > UTC_TIMESTAMP(6) - INTERVAL 1 DAY)))
             ORDER BY s.created_position LIMIT ?"
        ))
        .bind(tenant_schema())
        .bind(tenant_schema())
        .bind(BATCH)
        .fetch_all(&mut *tx)
        .await?;
        let migrations = behind.iter().filter_map(|(tenant_id, server)| {
            let tenant_id: TenantId = tenant_id.parse().ok()?;
            let job = NewJob::for_tenant(JobKind::Migrate, &tenant_id, server, app.patience);
            Some(job.needs_schema(tenant_schema()))
        });
        let migrations: Vec<NewJob> = migrations.collect();
        jobs::enqueue(&mut tx, &migrations).await?;
        tx.commit().await?;
        kernel::process::failpoint::hit("schedule.asked").await;
        asked += migrations.len() as u64;
        if behind.len() < BATCH as usize || migrations.is_empty() {
            return Ok(asked);
        }
    }
}
