//! Replaces credentials that are older than the policy allows, by the ordinary command, a few in each run and the
//! oldest first, so that the rotations spread out.
//!
//! A credential's age is that of the event that put it into use. A tenant whose rotation failed waits a day, so that
//! others get their turn.

use super::perform::perform;
use super::{Clock, RoleLease, Run, RunError};
use crate::commands::RotateCredential;

pub async fn rotate_old(clock: &Clock, lease: &RoleLease, run: &Run) -> Result<u64, RunError> {
    let Clock { app, settings } = clock;
    if settings.rotation_days == 0 {
        return Ok(0);
    }
    // A run that another leader takes up has requested some already.
    let (begun,): (i64,) =
        sqlx::query_as("SELECT COUNT(*) FROM saas_operations WHERE kind = 'rotate' AND created_at >= ?")
            .bind(run.started_at)
            .fetch_one(app.store.pool())
            .await?;
    let left = i64::from(settings.rotations_at_once).saturating_sub(begun).max(0);
    let old: Vec<(String,)> = sqlx::query_as(
        "SELECT s.tenant_id FROM saas_tenant_snapshots s
         JOIN saas_events e ON e.tenant_id = s.tenant_id
              AND e.event_type IN ('tenant.database_provisioned', 'tenant.database_rotated')
         WHERE s.status IN (1, 2)
           AND NOT EXISTS (SELECT 1 FROM saas_operations o
                WHERE o.tenant_id = s.tenant_id AND NOT FIND_IN_SET(o.kind, ?)
                AND (o.status IN ('pending', 'running')
                     OR (o.kind = 'rotate' AND o.status = 'failed'
                         AND o.finished_at > UTC_TIMESTAMP(6) - INTERVAL 1 DAY)))
         GROUP BY s.tenant_id HAVING MAX(e.occurred_at) < UTC_TIMESTAMP(6) - INTERVAL ? DAY
         ORDER BY MAX(e.occurred_at) LIMIT ?",
    )
    .bind(kernel::jobs::kinds_that_block_nothing())
    .bind(settings.rotation_days)
    .bind(left)
    .fetch_all(app.store.pool())
    .await?;
    let mut requested = 0;
    for tenant_id in old.into_iter().filter_map(|(id,)| id.parse().ok()) {
        let rotate = RotateCredential { tenant_id, patience: app.patience };
        requested += perform(app, lease, "schedule:credential-rotation", &rotate).await?;
    }
    Ok(requested)
}
