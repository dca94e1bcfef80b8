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
    for username in context.usernames() {
        context.account(&username).lock_out(context.session).await?;
    }
    Ok(())
}
