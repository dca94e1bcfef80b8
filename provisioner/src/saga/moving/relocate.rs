//! Step 8: the tenant is on the other server: the event that tells nodes to read its place anew.

use super::{closed, moved, target};
use crate::saga::{ACTOR, Context, StepError};
use kernel::domain::Command;
use kernel::jobs::JobError;

pub async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    if moved(context).await? {
        return Ok(());
    }
    closed(context).await?;
    let target = target(context).await?;
    let command = Command::CompleteMove { server: target.id.clone(), host: target.host.clone(), port: target.port };
    let mut unit = context.tools.store.begin().await.map_err(JobError::from)?;
    unit.execute(&context.tenant.tenant_id, ACTOR, command).await?;
    context.lease.hold(unit.connection()).await?;
    unit.commit().await.map_err(JobError::from)?;
    Ok(())
}
