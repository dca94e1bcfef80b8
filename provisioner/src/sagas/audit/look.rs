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
    let passed_over = present.expected.busy;
    if passed_over && !context.lease.last_attempt {
        return Err(StepError::NotYet("another job of the tenant is in progress".into()));
    }
    let mut unit = context.job().begin().await?;
    let (compared, skipped) = (usize::from(!passed_over), usize::from(passed_over));
    audit::record_compared(&mut unit, compared, skipped).await.map_err(JobError::from)?;
    if !passed_over {
        audit::store(&mut unit, row(context, &audit), &present.findings).await.map_err(JobError::from)?;
    }
    Ok(unit.commit().await?)
}
