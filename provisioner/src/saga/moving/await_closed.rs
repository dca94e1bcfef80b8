//! Step 3: every node refuses the tenant, so that nobody is cut off in the middle of a request; or has given no sign of life for
//! so long that it has to look anew anyway. That nobody writes does not depend on it: the next step sees to that.

use super::{closed, moved, present};
use crate::saga::rotate::await_nodes::follow;
use crate::saga::{Context, StepError};

pub async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    if moved(context).await? {
        return Ok(());
    }
    closed(context).await?;
    let position = present(context).await?.position;
    follow(context, position, "the move").await
}
