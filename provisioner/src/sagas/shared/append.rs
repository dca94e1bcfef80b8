//! Appends the events of a step.

use crate::sagas::{ACTOR, Context, StepError};
use kernel::domain::Command;
use kernel::jobs::JobError;

/// Executes the commands on the tenant of the job in one transaction, which commits only while this worker holds the
/// job.
pub async fn append(context: &Context<'_>, commands: impl IntoIterator<Item = Command>) -> Result<(), StepError> {
    let mut unit = context.tools.store.begin().await.map_err(JobError::from)?;
    unit.execute_all(&context.tenant.tenant_id, ACTOR, commands).await?;
    context.lease.hold(unit.connection()).await?;
    Ok(unit.commit().await.map_err(JobError::from)?)
}

/// Takes back that the tenant goes to another server, as the undo of a job.
pub async fn cancel_move(context: &Context<'_>) -> Result<(), StepError> {
    let mut unit = context.tools.store.begin().await.map_err(JobError::from)?;
    unit.execute(&context.tenant.tenant_id, ACTOR, Command::CancelMove).await?;
    Ok(unit.commit().await.map_err(JobError::from)?)
}
