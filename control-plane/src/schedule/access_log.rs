//! Limits the size of the access log. Its numbers of rows come from a counter, so the difference of two numbers says
//! how many rows are between them at most, without counting.

use super::{Clock, RoleLease, RunError};
use std::time::{Duration, Instant};

/// Rows that one transaction removes: it holds its locks for a moment only.
const BATCH: u64 = 2000;
/// Longest time for one run, because the other schedules wait for it. The next run continues.
const LONGEST: Duration = Duration::from_secs(60);

/// Removes the oldest rows beyond `ACCESS_LOG_MAX_ROWS`. Returns how many it removed.
pub async fn cut(clock: &Clock, lease: &RoleLease) -> Result<u64, RunError> {
    let pool = clock.app.store.pool();
    let newest: Option<u64> =
        sqlx::query_scalar("SELECT CAST(MAX(id) AS UNSIGNED) FROM saas_access_logs").fetch_one(pool).await?;
    let last = newest.unwrap_or_default().saturating_sub(clock.settings.access_log_rows);
    let (began, mut removed) = (Instant::now(), 0);
    loop {
        let mut tx = pool.begin().await?;
        lease.hold(&mut tx).await?;
        let deleted = sqlx::query("DELETE FROM saas_access_logs WHERE id <= ? ORDER BY id LIMIT ?")
            .bind(last)
            .bind(BATCH)
            .execute(&mut *tx)
            .await?
            .rows_affected();
        tx.commit().await?;
        removed += deleted;
        if deleted < BATCH || began.elapsed() >= LONGEST {
            return Ok(removed);
        }
    }
}
