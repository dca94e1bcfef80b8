//! Step 3: the new credential comes into use, in one transaction with the event that tells nodes to read it.

use super::begun;
use crate::saga::{ACTOR, Context, StepError};
use kernel::domain::Command;
use kernel::jobs::JobError;

pub async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    let next = begun(context).await?;
    if next.switched.is_some() {
        return Ok(());
    }
    let tenant_id = &context.tenant.tenant_id;
    let mut unit = context.tools.store.begin().await.map_err(JobError::from)?;
    let command = Command::CompleteRotation { username: next.username.clone() };
    let tenant = unit.execute(tenant_id, ACTOR, command).await?;
    context.lease.hold(unit.connection()).await?;
    sqlx::query("UPDATE saas_tenant_databases SET db_username = ?, db_password_encrypted = ?, updated_at = updated_at WHERE tenant_id = ?")
        .bind(&next.username)
        .bind(&next.sealed)
        .bind(tenant_id.as_str())
        .execute(unit.connection())
        .await
        .map_err(JobError::from)?;
    sqlx::query(
        "UPDATE saas_next_credentials SET switched_at_position = ?, db_password_encrypted = '' WHERE tenant_id = ?",
    )
    .bind(tenant.position.0)
    .bind(tenant_id.as_str())
    .execute(unit.connection())
    .await
    .map_err(JobError::from)?;
    unit.commit().await.map_err(JobError::from)?;
    Ok(())
}
