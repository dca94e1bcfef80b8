//! Replaces credentials by the ordinary command, a few in each run, so that the rotations spread out: first those whose
//! account was made for another host than `TENANT_ACCOUNT_HOST` says by now, then those that are older than the policy
//! allows, the oldest first.
//!
//! A credential's age is that of the event that put it into use. A tenant whose rotation failed waits a day, so that
//! others get their turn.

use super::perform::perform;
use super::{Clock, RoleLease, Run, RunError};
use crate::commands::RotateCredential;
use sqlx::MySqlPool;

/// What keeps a tenant from being chosen: another operation, or a rotation that failed within a day.
const HINDERED: &str = "EXISTS (SELECT 1 FROM saas_operations o
                WHERE o.tenant_id = s.tenant_id AND NOT FIND_IN_SET(o.kind, ?)
                AND (o.status IN ('pending', 'running')
                     OR (o.kind = 'rotate' AND o.status = 'failed'
                         AND o.finished_at > UTC_TIMESTAMP(6) - INTERVAL 1 DAY)))";

pub async fn rotate_old(clock: &Clock, lease: &RoleLease, run: &Run) -> Result<u64, RunError> {
    let Clock { app, settings } = clock;
    let pool = app.store.pool();
    // A run that another leader takes up has requested some already.
    let (begun,): (i64,) =
        sqlx::query_as("SELECT COUNT(*) FROM saas_operations WHERE kind = 'rotate' AND created_at >= ?")
            .bind(run.started_at)
            .fetch_one(pool)
            .await?;
    let left = i64::from(settings.rotations_at_once).saturating_sub(begun).max(0);
    let mut due = at_another_host(pool, left).await?;
    if settings.rotation_days > 0 {
        let left = left.saturating_sub(i64::try_from(due.len()).unwrap_or(i64::MAX));
        for old in older_than(pool, settings.rotation_days, left).await? {
            if !due.contains(&old) {
                due.push(old);
            }
        }
    }
    let mut requested = 0;
    for tenant_id in due.into_iter().filter_map(|id| id.parse().ok()) {
        let rotate = RotateCredential { tenant_id, patience: app.patience };
        requested += perform(app, lease, "schedule:credential-rotation", &rotate).await?;
    }
    Ok(requested)
}

/// Tenants in service whose account in use has another host than the provisioner of its server would give it now.
async fn at_another_host(pool: &MySqlPool, limit: i64) -> Result<Vec<String>, sqlx::Error> {
    let query = format!(
        "SELECT s.tenant_id FROM saas_tenant_snapshots s
         JOIN saas_tenant_databases d ON d.tenant_id = s.tenant_id
         JOIN saas_database_servers v ON v.server_id = s.server_id
         JOIN saas_server_objects a ON a.tenant_id = s.tenant_id AND a.server_id = s.server_id AND a.kind = 'account'
              AND a.name = d.db_username
         WHERE s.status IN (1, 2) AND v.account_host IS NOT NULL AND NOT {HINDERED}
         GROUP BY s.tenant_id, v.account_host HAVING SUM(a.host = v.account_host) = 0
         ORDER BY s.tenant_id LIMIT ?"
    );
    let rows: Vec<(String,)> =
        sqlx::query_as(&query).bind(kernel::jobs::kinds_that_block_nothing()).bind(limit).fetch_all(pool).await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// Tenants in service whose credential is older than so many days.
async fn older_than(pool: &MySqlPool, days: u32, limit: i64) -> Result<Vec<String>, sqlx::Error> {
    let query = format!(
        "SELECT s.tenant_id FROM saas_tenant_snapshots s
         JOIN saas_events e ON e.tenant_id = s.tenant_id
              AND e.event_type IN ('tenant.database_provisioned', 'tenant.database_rotated')
         WHERE s.status IN (1, 2) AND NOT {HINDERED}
         GROUP BY s.tenant_id HAVING MAX(e.occurred_at) < UTC_TIMESTAMP(6) - INTERVAL ? DAY
         ORDER BY MAX(e.occurred_at) LIMIT ?"
    );
    let rows: Vec<(String,)> = sqlx::query_as(&query)
        .bind(kernel::jobs::kinds_that_block_nothing())
        .bind(days)
        .bind(limit)
        .fetch_all(pool)
        .await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}
