//! Data nodes, as they report themselves in `saas_nodes`, and the wait until all of them have read an event.

use super::Store;
use crate::domain::Position;
use std::time::Duration;
use tokio::time::Instant;

/// A node counts while its last report is at most this old, in seconds; it reports each second. A node that was silent
/// for longer reads everything again before it serves.
const GRACE: u32 = 10;

/// How many nodes report, and how many of them have not read the events up to a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nodes {
    /// Nodes that report.
    pub all: i64,
    /// Nodes among them that are behind.
    pub behind: i64,
}

impl Store {
    /// Counts the nodes, and those that have not read the events up to `position`.
    pub async fn nodes(&self, position: Position) -> Result<Nodes, sqlx::Error> {
        let (all, behind) = sqlx::query_as(
            "SELECT COUNT(*), CAST(COALESCE(SUM(position < ?), 0) AS SIGNED) FROM saas_nodes
             WHERE seen_at > UTC_TIMESTAMP(6) - INTERVAL ? SECOND",
        )
        .bind(position.0)
        .bind(GRACE)
        .fetch_one(self.pool())
        .await?;
        Ok(Nodes { all, behind })
    }

    /// Waits until every node has read the events up to `position`, for `patience` at most, and asks again every
    /// `pause`. Returns how many nodes are still behind.
    pub async fn await_nodes(
        &self,
        position: Position,
        patience: Duration,
        pause: Duration,
    ) -> Result<i64, sqlx::Error> {
        let until = Instant::now() + patience;
        loop {
            let behind = self.nodes(position).await?.behind;
            if behind == 0 || Instant::now() >= until {
                return Ok(behind);
            }
            tokio::time::sleep(pause).await;
        }
    }
}
