//! Queues in which jobs are due and no worker works.
//!
//! A job of a lane that queues may wait for hours while its workers are busy. That nobody works at all shows in the
//! lane as a whole: it has due jobs, none of its jobs is being worked on or waits for its next attempt, and none has
//! ended for a while.

use super::kind::lanes_that_queue;
use crate::store::servers::IN_USE;
use sqlx::MySqlPool;

/// For so long a queue may rest although a job is due.
const MINUTES: u32 = 10;

/// A queue of a database server.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct IdleLane {
    /// The database server.
    pub server_id: String,
    /// The lane, as in `saas_operations.lane`.
    pub lane: String,
    /// Since when its first job has been due, in seconds.
    pub seconds: i64,
}

/// The queues in which jobs have been due for ten minutes and no worker has worked. A job whose tenant is being worked
/// for in another lane is not due. For each queue of each server this reads the beginnings of ranges of indexes.
pub async fn idle_lanes(pool: &MySqlPool) -> Result<Vec<IdleLane>, sqlx::Error> {
    let of_lane = |lane: &str| {
        format!(
            "SELECT i.server_id, i.lane, CAST(i.seconds AS SIGNED) AS seconds FROM
               (SELECT s.server_id, '{lane}' AS lane,
                  (SELECT TIMESTAMPDIFF(SECOND, o.due_at, UTC_TIMESTAMP(6))
                   FROM saas_operations o FORCE INDEX (idx_claim)
                   WHERE o.server_id = s.server_id AND o.lane = '{lane}'
                     AND o.due_at < UTC_TIMESTAMP(6) - INTERVAL {MINUTES} MINUTE
                     AND (SELECT COUNT(*) FROM saas_operations busy FORCE INDEX (idx_busy)
                          WHERE busy.busy_tenant = o.tenant_id AND busy.lease_until > UTC_TIMESTAMP(6)) = 0
                   ORDER BY o.due_at LIMIT 1) AS seconds
                FROM saas_database_servers s WHERE {IN_USE}) i
             WHERE i.seconds IS NOT NULL
               AND NOT EXISTS (SELECT 1 FROM saas_operations w FORCE INDEX (idx_claim)
                               WHERE w.server_id = i.server_id AND w.lane = '{lane}' AND w.due_at > UTC_TIMESTAMP(6)
                                 AND w.attempts > 0)
               AND NOT EXISTS (SELECT 1 FROM saas_operations f FORCE INDEX (idx_finished)
                               WHERE f.finished_at > UTC_TIMESTAMP(6) - INTERVAL {MINUTES} MINUTE
                                 AND f.attempts > 0 AND f.server_id = i.server_id AND f.lane = '{lane}')"
        )
    };
    let parts: Vec<String> = lanes_that_queue().split(',').map(of_lane).collect();
    sqlx::query_as(&parts.join(" UNION ALL ")).fetch_all(pool).await
}
