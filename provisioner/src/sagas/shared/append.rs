//! Appends the events of a step.

use crate::sagas::{ACTOR, StepError, TenantJob};
use kernel::domain::Command;

/// Executes the commands on the tenant of the job in one transaction, which commits only while this worker holds the
/// job.
pub async fn append(job: TenantJob<'_>, commands: impl IntoIterator<Item = Command>) -> Result<(), StepError> {
    let mut unit = job.begin().await?;
    unit.execute_all(&job.tenant.tenant_id, ACTOR, commands).await?;
    Ok(unit.commit().await?)
}

/// Takes back that the tenant goes to another server, as the undo of a job.
pub async fn cancel_move(job: TenantJob<'_>) -> Result<(), StepError> {
    append(job, [Command::CancelMove]).await
}
