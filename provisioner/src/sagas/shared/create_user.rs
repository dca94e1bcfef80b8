//! The step `create_user`: the tenant's user exists. Its password is made and stored (sealed) before the user is made
//! with it, so that a killed attempt never leaves a user whose password is lost.

use super::credential;
use crate::sagas::saga::Step;
use crate::sagas::{Context, StepError};
use kernel::jobs::JobError;

pub const STEP: Step =
    Step::new("create_user", |context| Box::pin(act(context))).undone_by(|context| Box::pin(undo(context)));

async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    let [username, _] = context.usernames();
    let password = credential::password_or_new(context, &username).await?;
    let _turn = context.tools.server.ddl_turn().await;
    Ok(context.account(&username).create(context.session, &password).await?)
}

async fn undo(context: &mut Context<'_>) -> Result<(), StepError> {
    let [username, _] = context.usernames();
    context.account(&username).drop(context.session).await?;
    Ok(credential::forget(context.tools.store.pool(), &context.tenant.tenant_id).await.map_err(JobError::from)?)
}
