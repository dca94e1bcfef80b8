//! The step `create_user`: the tenant's user exists. Its password is made and stored (sealed) before the user is made
//! with it, so that a killed attempt never leaves a user whose password is lost.

use super::credential;
use super::server_objects::{self, ServerObject};
use crate::sagas::saga::Step;
use crate::sagas::{Context, StepError};
use kernel::process::failpoint;

pub const STEP: Step =
    Step::new("create_user", |context| Box::pin(act(context))).undone_by(|context| Box::pin(undo(context)));

async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    let [username, _] = context.usernames();
    let password = credential::password_or_new(context, &username).await?;
    let _turn = context.tools.server.ddl_turn().await;
    let name = context.job().new_name(&username);
    Ok(context.job().account_named(&name).create(context.session, &password).await?)
}

async fn undo(context: &mut Context<'_>) -> Result<(), StepError> {
    let ([username, _], job) = (context.usernames(), context.job());
    for name in context.accounts_of(&username).await? {
        job.account_named(&name).drop(context.session).await?;
        server_objects::forget_now(job, &job.tools.server.id, ServerObject::Account(&name)).await?;
    }
    failpoint::hit("create_user.dropped").await;
    Ok(credential::forget_now(job).await?)
}
