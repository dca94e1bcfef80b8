//! The step `retire_user`: the former user is gone, and before it its sessions. Statements that still run have a moment
//! to end by themselves; a node repeats a statement that was killed.

use super::{Rotation, other_username};
use crate::sagas::saga::Step;
use crate::sagas::shared::server_objects::{self, ServerObject};
use crate::sagas::{Context, StepError};
use std::time::Duration;
use tokio::time::Instant;

/// How long statements of the former user may still run.
const LINGER: Duration = Duration::from_secs(1);
/// Between two checks.
const PAUSE: Duration = Duration::from_millis(50);

pub const STEP: Step = Step::new("retire_user", |context| Box::pin(act(context)));

async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    let rotation = Rotation::of_job(context).await?;
    if rotation.switched.is_none() {
        return Err(StepError::Transient("the new credential is not in use yet".into()));
    }
    let former = other_username(context, &rotation.username);
    let (names, job) = (context.accounts_of(&former).await?, context.job());
    let mut exists = false;
    for name in &names {
        exists |= job.account_named(name).lock(context.session).await?;
    }
    if !exists {
        return Ok(());
    }
    let until = Instant::now() + LINGER;
    while Instant::now() < until && !context.session.sessions_of(&former).await?.is_empty() {
        tokio::time::sleep(PAUSE).await;
    }
    context.session.kill_sessions_of(&former).await?;
    for name in &names {
        let account = job.account_named(name);
        account.drop(context.session).await?;
        if account.lock(context.session).await? {
            return Err(StepError::Transient(format!("the former database user {former} is still there")));
        }
        server_objects::forget_now(job, &job.tools.server.id, ServerObject::Account(name)).await?;
    }
    Ok(())
}
