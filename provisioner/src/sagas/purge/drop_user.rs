//! The step `drop_user`: the tenant's users are gone, and before them their sessions, which would outlive them.

use crate::sagas::saga::Step;
use crate::sagas::{Context, StepError};

pub const STEP: Step = Step::new("drop_user", |context| Box::pin(act(context)));

async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    let (names, job) = (context.accounts().await?, context.job());
    for name in &names {
        job.account_named(name).remove(context.session).await?;
    }
    Ok(())
}
