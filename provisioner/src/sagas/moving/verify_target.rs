//! The step `verify_target`: the tenant's credential logs in at the other server and reads, before any node uses it
//! there. The account of a tenant that may not log in anywhere stays locked.

use super::{is_moved, target, verify_closed};
use crate::sagas::saga::Step;
use crate::sagas::shared::tenant_copy::{TenantCopy, present};
use crate::sagas::shared::{credential, enforce};
use crate::sagas::{Context, StepError};

pub const STEP: Step = Step::new("verify_target", |context| Box::pin(act(context)));

async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    if is_moved(context).await? {
        return Ok(());
    }
    verify_closed(context).await?;
    if !enforce::may_log_in(present(context).await?.state) {
        return Ok(());
    }
    let credential = credential::in_use(context).await?;
    let target = target(context).await?;
    let mut there = context.job().open(&target).await?;
    TenantCopy::new(context.job(), &target).open(&mut there, &credential).await?;
    there.close().await;
    Ok(())
}
