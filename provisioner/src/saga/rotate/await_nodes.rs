//! Step 4: every node knows of the switch, or has given no sign of life for so long that it has to look anew anyway.

use super::begun;
use crate::saga::{Context, StepError};
use kernel::domain::Position;
use kernel::jobs::JobError;
use sqlx::MySqlPool;
use std::time::Duration;
use tokio::time::Instant;

/// A node is waited for as long as it has given a sign of life within so many seconds; it gives one each second.
const GRACE: u32 = 10;
/// Waited at a time. Then the job is given back for a moment, so that a suspension need not wait for nodes.
const AT_A_TIME: Duration = Duration::from_millis(700);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);

pub async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    let next = begun(context).await?;
    let switched = next.switched.ok_or(StepError::Transient("the new credential is not in use yet".into()))?;
    follow(context, switched, "the new credential").await
}

/// Waits until every node has followed the events up to `position`.
pub async fn follow(context: &Context<'_>, position: Position, what: &str) -> Result<(), StepError> {
    let until = Instant::now() + AT_A_TIME;
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
