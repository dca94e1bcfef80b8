//! Step 3: what was replaced goes. There is no way back from here.

use super::{Stage, beside, replaced, restored_from, stage};
use crate::backup::Wish;
use crate::saga::{Context, StepError};
use kernel::jobs::JobError;

pub async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    if stage(context).await? == Stage::Swapped {
        let from = restored_from(context).await?;
        Wish::settle(context.tools.store.pool(), context.lease, &from).await.map_err(JobError::from)?;
    }
    kernel::process::failpoint::hit("restore.settled").await;
    let (beside, replaced, owner) = (beside(context), replaced(context), context.mark());
    context.session.drop_database(&beside, &owner, true).await?;
    Ok(context.session.drop_database(&replaced, &owner, true).await?)
}
