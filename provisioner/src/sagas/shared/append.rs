//! Appends the events of a step.

use crate::sagas::{ACTOR, StepError, TenantJob};
use kernel::domain::Command;

/// Executes the commands on the tenant of the job in one transaction, which commits only while this worker holds the
/// job. A deadlock is repeated once: programs from before migration 26 lock the head of the events before the job.
pub async fn append(job: TenantJob<'_>, commands: impl IntoIterator<Item = Command>) -> Result<(), StepError> {
    let commands: Vec<_> = commands.into_iter().collect();
    let mut repeated = false;
    loop {
        let mut unit = job.begin().await?;
        match unit.execute_all(&job.tenant.tenant_id, ACTOR, commands.iter().cloned()).await {
            Ok(_) => return Ok(unit.commit().await?),
            Err(error) if error.is_conflict() && !repeated => {
                unit.rollback().await?;
                repeated = true;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Takes back that the tenant goes to another server, as the undo of a job.
pub async fn cancel_move(job: TenantJob<'_>) -> Result<(), StepError> {
    append(job, [Command::CancelMove]).await
}
