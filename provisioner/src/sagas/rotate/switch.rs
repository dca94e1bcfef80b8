//! The step `switch`: the new credential comes into use, in one transaction with the event that makes nodes read it.

use super::Rotation;
use crate::sagas::saga::Step;
use crate::sagas::{ACTOR, Context, StepError};
use kernel::domain::Command;
use kernel::jobs::JobError;

/// The point of no return.
pub const STEP: Step = Step::new("switch", |context| Box::pin(act(context)));

async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    let rotation = Rotation::of_job(context).await?;
    if rotation.switched.is_some() {
        return Ok(());
    }
    let tenant_id = &context.tenant.tenant_id;
    let mut unit = context.job().begin().await?;
    let command = Command::CompleteRotation { username: rotation.username.clone() };
    let tenant = unit.execute(tenant_id, ACTOR, command).await?;
    sqlx::query(
        "UPDATE saas_tenant_databases SET db_username = ?, db_password_encrypted = ?, updated_at = updated_at
         WHERE tenant_id = ?",
    )
    .bind(&rotation.username)
    .bind(&rotation.sealed)
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
    Ok(unit.commit().await?)
}
