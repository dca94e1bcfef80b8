//! The step `look`: what differs is stored. A tenant whose other jobs do not end for a while is passed over.

use super::{audit_of, examine, row};
use crate::sagas::saga::Step;
use crate::sagas::{Context, StepError};
use kernel::audit;
use kernel::jobs::JobError;

pub const STEP: Step = Step::new("look", |context| Box::pin(act(context)));

async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    let audit = audit_of(context).await?;
    let present = examine(context).await?;
    let pool = context.tools.store.pool();
    let passed_over = present.expected.busy;
    if passed_over && !context.lease.last_attempt {
        return Err(StepError::NotYet("another job of the tenant is in progress".into()));
    }
    audit::record_compared(pool, context.lease.operation_id, usize::from(!passed_over), usize::from(passed_over))
        .await
        .map_err(JobError::from)?;
    if !passed_over {
        let mut tx = pool.begin().await.map_err(JobError::from)?;
        context.lease.hold(&mut tx).await?;
        audit::store(&mut tx, row(context, &audit), &present.findings).await.map_err(JobError::from)?;
        tx.commit().await.map_err(JobError::from)?;
    }
    Ok(())
}
