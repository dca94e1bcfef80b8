//! Step 1: every node refuses the tenant, or has given no sign of life for so long that it has to look anew anyway. That it is to be refused
//! was recorded when the restore was asked for. The undo takes that back.

use super::{arrived, present};
use crate::saga::rotate::await_nodes::follow;
use crate::saga::{ACTOR, Context, StepError};
use kernel::domain::Command;
use kernel::jobs::JobError;

pub async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    if arrived(context).await? {
        return Ok(());
    }
    let tenant = present(context).await?;
    if tenant.database.moving_to.as_ref() != Some(&context.tools.server.id) {
        return Err(StepError::Unfit("nobody has recorded that the tenant is to come here"));
    }
    follow(context, tenant.position, "the restore").await
}

pub async fn undo(context: &mut Context<'_>) -> Result<(), StepError> {
    let mut unit = context.tools.store.begin().await.map_err(JobError::from)?;
    unit.execute(&context.tenant.tenant_id, ACTOR, Command::CancelMove).await?;
    unit.commit().await.map_err(JobError::from)?;
    Ok(())
}
