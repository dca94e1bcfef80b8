//! The step `close`: an event tells nodes to refuse the tenant. Its undo opens the tenant where it was, for nodes and
//! at its account.

use super::{is_moved, target};
use crate::sagas::saga::Step;
use crate::sagas::shared::append::{append, cancel_move};
use crate::sagas::shared::enforce;
use crate::sagas::{Context, StepError};
use kernel::domain::Command;

pub const STEP: Step =
    Step::new("close", |context| Box::pin(act(context))).undone_by(|context| Box::pin(undo(context)));

async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    if is_moved(context).await? {
        return Ok(());
    }
    let server = target(context).await?.id.clone();
    append(context.job(), [Command::StartMove { server }]).await
}

async fn undo(context: &mut Context<'_>) -> Result<(), StepError> {
    cancel_move(context.job()).await?;
    enforce::act(context).await
}
