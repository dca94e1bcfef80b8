//! Step 3: no credential, no setting and no row of the access log is kept. What else the system database says of the tenant (members, domains,
//! the row of its database) is folded from its events, and goes with the event that ends the purge. A node may still hold rows of
//! the access log for half a second after the deletion: those go with the log's retention.

use crate::saga::{Context, StepError};
use kernel::jobs::JobError;

/// Rows of the access log removed by one statement.
const CHUNK: u64 = 5_000;

pub async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    sqlx::query("UPDATE saas_tenant_databases SET db_username = '', db_password_encrypted = '', updated_at = updated_at WHERE tenant_id = ?")
        .bind(context.tenant.tenant_id.as_str())
        .execute(context.tools.store.pool())
        .await
        .map_err(JobError::from)?;
    // No rotation is in progress while a purge is; this is for what a restored backup may hold.
    sqlx::query("DELETE FROM saas_next_credentials WHERE tenant_id = ?")
        .bind(context.tenant.tenant_id.as_str())
        .execute(context.tools.store.pool())
        .await
        .map_err(JobError::from)?;
    sqlx::query("DELETE FROM saas_tenant_settings WHERE tenant_id = ?")
        .bind(context.tenant.tenant_id.as_str())
        .execute(context.tools.store.pool())
        .await
        .map_err(JobError::from)?;
    // In small transactions: a busy tenant has millions of them.
    loop {
        let removed = sqlx::query("DELETE FROM saas_access_logs WHERE tenant_id = ? LIMIT ?")
            .bind(context.tenant.tenant_id.as_str())
            .bind(CHUNK)
            .execute(context.tools.store.pool())
            .await
            .map_err(JobError::from)?;
        if removed.rows_affected() < CHUNK {
            return Ok(());
        }
    }
}
