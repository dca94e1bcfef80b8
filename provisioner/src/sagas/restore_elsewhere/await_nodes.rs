//! The step `await_nodes`: every live node refuses the tenant. The event that makes them refuse it was appended with
//! the request for the restore. The undo takes that back.

use super::is_here;
use crate::sagas::saga::Step;
use crate::sagas::shared::append::cancel_move;
use crate::sagas::shared::nodes::await_position;
use crate::sagas::shared::tenant_copy::present;
use crate::sagas::{Context, StepError};

pub const STEP: Step =
    Step::new("await_nodes", |context| Box::pin(act(context))).undone_by(|context| Box::pin(undo(context)));

async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    if is_here(context).await? {
        return Ok(());
    }
    let tenant = present(context).await?;
    if tenant.database.moving_to.as_ref() != Some(&context.tools.server.id) {
        return Err(StepError::Unfit("no event says that the tenant is to come to this server"));
    }
    await_position(context, tenant.position, "the restore").await
}

async fn undo(context: &mut Context<'_>) -> Result<(), StepError> {
    cancel_move(context.job()).await
}
