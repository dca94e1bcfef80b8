//! The step `lock_source`: the tenant's users on its server are locked and have no session, so that its rows stay as
//! they are from here on.

use super::{is_moved, verify_closed};
use crate::sagas::saga::Step;
use crate::sagas::{Context, StepError};

pub const STEP: Step = Step::new("lock_source", |context| Box::pin(act(context)));

async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    if is_moved(context).await? {
        return Ok(());
    }
    verify_closed(context).await?;
    let (names, job) = (context.accounts().await?, context.job());
    for name in &names {
        job.account_named(name).lock_out(context.session).await?;
    }
    Ok(())
}
