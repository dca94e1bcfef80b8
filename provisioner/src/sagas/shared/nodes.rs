//! Waits until every node has read the events up to a position.

use crate::sagas::{Context, StepError};
use kernel::domain::Position;
use kernel::jobs::JobError;
use sqlx::MySqlPool;
use std::time::Duration;
use tokio::time::Instant;

/// A node is waited for while its last sign of life is at most so many seconds old; it gives one each second. A node
/// that is silent for longer reads everything again before it serves anybody.
const GRACE: u32 = 10;
/// Longest wait of one attempt. Then the job is released for a moment, so that a suspension of the tenant need not wait
/// for nodes.
const ATTEMPT: Duration = Duration::from_millis(700);
/// Between two checks.
const PAUSE: Duration = Duration::from_millis(50);

/// Waits until every node has passed `position`. `what` says in the operation's error what the nodes have to learn.
pub async fn await_position(context: &Context<'_>, position: Position, what: &str) -> Result<(), StepError> {
    let until = Instant::now() + ATTEMPT;
    loop {
        let behind = behind(context.tools.store.pool(), position).await?;
        if behind == 0 {
            return Ok(());
        }
        if Instant::now() >= until {
            return Err(StepError::NotYet(format!("{behind} nodes do not know of {what} yet")));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn behind(pool: &MySqlPool, position: Position) -> Result<i64, JobError> {
    let (count,): (i64,) = sqlx::query_as(
        "SELECT COUNT(*) FROM saas_nodes WHERE position < ? AND seen_at > UTC_TIMESTAMP(6) - INTERVAL ? SECOND",
    )
    .bind(position.0)
    .bind(GRACE)
    .fetch_one(pool)
    .await?;
    Ok(count)
}
