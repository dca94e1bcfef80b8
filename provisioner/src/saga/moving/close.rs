//! Step 2: nodes are told to refuse the tenant, by an event. Its undo opens the tenant where it was, account and nodes.

use super::{moved, target};
use crate::saga::{ACTOR, Context, StepError, enforce};
use kernel::domain::Command;
use kernel::jobs::JobError;

pub async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    if moved(context).await? {
        return Ok(());
    }
    let server = target(context).await?.id.clone();
    let mut unit = context.tools.store.begin().await.map_err(JobError::from)?;
    unit.execute(&context.tenant.tenant_id, ACTOR, Command::StartMove { server }).await?;
    context.lease.hold(unit.connection()).await?;
    unit.commit().await.map_err(JobError::from)?;
    Ok(())
}

pub async fn undo(context: &mut Context<'_>) -> Result<(), StepError> {
    let mut unit = context.tools.store.begin().await.map_err(JobError::from)?;
    unit.execute(&context.tenant.tenant_id, ACTOR, Command::CancelMove).await?;
    unit.commit().await.map_err(JobError::from)?;
    enforce::act(context).await
}
