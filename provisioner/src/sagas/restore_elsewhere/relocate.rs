//! The step `relocate`: the tenant is on this server, with the data of its backup. Its two events, in one transaction,
//! make nodes read the tenant's address again.

use super::is_here;
use crate::sagas::saga::Step;
use crate::sagas::shared::append::append;
use crate::sagas::shared::backup_job::restored_from;
use crate::sagas::{Context, StepError};
use kernel::domain::Command;

/// The point of no return.
pub const STEP: Step = Step::new("relocate", |context| Box::pin(act(context)));

async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    if is_here(context).await? {
        return Ok(());
    }
    let ((server, host, port), from) = (context.tools.server.address(), restored_from(context).await?);
    let commands =
        [Command::CompleteMove { server, host, port }, Command::CompleteRestore { from, end_maintenance: false }];
    append(context.job(), commands).await
}
