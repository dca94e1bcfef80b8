//! The step `relocate`: the tenant is on the other server. Its event makes nodes read the tenant's address again.

use super::{is_moved, target, verify_closed};
use crate::sagas::saga::Step;
use crate::sagas::shared::append::append;
use crate::sagas::{Context, StepError};
use kernel::domain::Command;

/// The point of no return.
pub const STEP: Step = Step::new("relocate", |context| Box::pin(act(context)));

async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    if is_moved(context).await? {
        return Ok(());
    }
    verify_closed(context).await?;
    let (server, host, port) = target(context).await?.address();
    append(context, [Command::CompleteMove { server, host, port }]).await
}
