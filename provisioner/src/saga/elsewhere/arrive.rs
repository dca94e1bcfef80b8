//! Step 5: the tenant is here, with the data of its backup: the events that tell nodes to read its place anew, in one transaction.

use super::arrived;
use crate::saga::restore::restored_from;
use crate::saga::{ACTOR, Context, StepError};
use kernel::domain::Command;
use kernel::jobs::JobError;

pub async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    if arrived(context).await? {
        return Ok(());
    }
    let (server, from) = (&context.tools.server, restored_from(context).await?);
    let commands = [
        Command::CompleteMove { server: server.id.clone(), host: server.host.clone(), port: server.port },
        Command::CompleteRestore { from, end_maintenance: false },
    ];
    let mut unit = context.tools.store.begin().await.map_err(JobError::from)?;
    unit.execute_all(&context.tenant.tenant_id, ACTOR, commands).await?;
    context.lease.hold(unit.connection()).await?;
    unit.commit().await.map_err(JobError::from)?;
    Ok(())
}
