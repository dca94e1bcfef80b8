//! The step `await_nodes`: every live node refuses the tenant, so that the next step cuts off no request in the middle.
//! That nothing is written does not depend on it: the next step ensures that.

use super::{is_moved, verify_closed};
use crate::sagas::saga::Step;
use crate::sagas::shared::nodes::await_position;
use crate::sagas::shared::tenant_copy::present;
use crate::sagas::{Context, StepError};

pub const STEP: Step = Step::new("await_nodes", |context| Box::pin(act(context)));

async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    if is_moved(context).await? {
        return Ok(());
    }
    verify_closed(context).await?;
    let position = present(context).await?.position;
    await_position(context, position, "the move").await
}
