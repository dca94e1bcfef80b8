//! Waits until every node has read the events up to a position.

use crate::sagas::{Context, StepError};
use kernel::domain::Position;
use kernel::jobs::JobError;
use std::time::Duration;

/// Longest wait of one attempt. Then the job is released for a moment, so that a suspension of the tenant need not wait
/// for nodes.
const ATTEMPT: Duration = Duration::from_millis(700);
/// Between two checks.
const PAUSE: Duration = Duration::from_millis(50);

/// Waits until every node has passed `position`. `what` says in the operation's error what the nodes have to learn.
pub async fn await_position(context: &Context<'_>, position: Position, what: &str) -> Result<(), StepError> {
    match context.tools.store.await_nodes(position, ATTEMPT, PAUSE).await.map_err(JobError::from)? {
        0 => Ok(()),
        behind => Err(StepError::NotYet(format!("{behind} nodes do not know of {what} yet"))),
    }
}
