//! The step `forget`: the system database stores no credential, no setting and no row of the access log of the tenant.
//! What else it says of the tenant (members, domains, the row of its database) is a projection of its events, and goes
//! with the event that ends the purge. A node may still write rows of the access log for half a second after the
//! deletion; they go with the log's retention.

use crate::sagas::saga::Step;
use crate::sagas::shared::credential;
use crate::sagas::{Context, StepError, TenantJob};
use kernel::jobs::JobError;

/// Rows of the access log removed by one statement.
const CHUNK: u64 = 5_000;

pub const STEP: Step = Step::new("forget", |context| Box::pin(act(context)));

async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    Ok(forget(context.job()).await?)
}

/// Removes the rows.
pub async fn forget(job: TenantJob<'_>) -> Result<(), JobError> {
    let tenant_id = &job.tenant.tenant_id;
    let mut unit = job.begin().await?;
    credential::forget(&mut unit, tenant_id).await?;
    // No rotation runs beside a purge, but a restored system database may hold the row of one.
    credential::forget_next(unit.connection(), tenant_id).await?;
    // Nodes know by now that the tenant is deleted, and report it as served no more.
    for delete in
        ["DELETE FROM saas_tenant_settings WHERE tenant_id = ?", "DELETE FROM saas_served_tenants WHERE tenant_id = ?"]
    {
        sqlx::query(delete).bind(tenant_id.as_str()).execute(unit.connection()).await?;
    }
    unit.commit().await?;
    // In small transactions: a busy tenant has millions of them.
    loop {
        let mut unit = job.begin().await?;
        let removed = sqlx::query("DELETE FROM saas_access_logs WHERE tenant_id = ? LIMIT ?")
            .bind(tenant_id.as_str())
            .bind(CHUNK)
            .execute(unit.connection())
            .await?;
        unit.commit().await?;
        if removed.rows_affected() < CHUNK {
            return Ok(());
        }
    }
}
