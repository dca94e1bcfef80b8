//! The step `drop_replaced`: the replaced data is gone. That it will be dropped is recorded first.

use super::{Stage, beside, forget_databases, replaced, stage};
use crate::backup::BackupJob;
use crate::sagas::saga::Step;
use crate::sagas::shared::backup_job::restored_from;
use crate::sagas::{Context, StepError};
use kernel::jobs::JobError;

/// The point of no return.
pub const STEP: Step = Step::new("drop_replaced", |context| Box::pin(act(context)));

async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    if stage(context).await? == Stage::Swapped {
        let from = restored_from(context).await?;
        let mut unit = context.job().begin().await?;
        BackupJob::settle(&mut unit, &from).await.map_err(JobError::from)?;
        unit.commit().await?;
    }
    kernel::process::failpoint::hit("restore.settled").await;
    let (beside, replaced, owner) = (beside(context), replaced(context), context.marker());
    context.session.drop_database(&beside, &owner, true).await?;
    context.session.drop_database(&replaced, &owner, true).await?;
    forget_databases(context).await
}
