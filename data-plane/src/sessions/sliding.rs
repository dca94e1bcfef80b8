//! Sliding expiry: a session in the system database lasts `user_token.token_ttl` seconds from its latest use.
//!
//! A request notes the use in memory, and one task writes many sessions with one statement. So no request waits for the
//! database. **Guarantees.** A session stays valid for at least its lifetime less [`Extension::slack`] after its latest
//! use, if the system database could be reached within that slack and [`INTERVAL`]. No ended session is revived: a
//! revoked one has no row, and an expired one is not extended. The number of noted sessions is bounded; a use that
//! finds no room is noted again at the next use.

use kernel::error::chain;
use kernel::process::shutdown::Shutdown;
use kernel::process::telemetry::names;
use sqlx::MySqlPool;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often the task writes.
const INTERVAL: Duration = Duration::from_secs(1);

/// Longest wait for one answer of the system database.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The most sessions that are noted at once.
const MOST: usize = 100_000;

/// The two numbers of sessions that one statement extends. Only two sizes, so that there are only two prepared
/// statements.
const CHUNKS: [usize; 2] = [16, 500];

/// The sessions that were used and are to be extended. Clones share them.
#[derive(Clone, Default)]
pub struct UsedSessions(Arc<Mutex<BTreeSet<i64>>>);

/// When a session must be extended again.
pub struct Extension {
    /// `user_token.id`.
    row: i64,
    /// How much later than its latest use a session may be extended.
    slack: Duration,
    base: Instant,
    /// Milliseconds since `base`.
    due: AtomicU64,
}

impl Extension {
    /// For a session that lasts `lifetime` after each use and expires in `left`.
    pub fn new(row: i64, lifetime: Duration, left: Duration) -> Self {
        // A hundredth of the lifetime: a session of 7 days is written at most four times an hour, one of a minute every
        // second.
        let slack = (lifetime / 100).clamp(Duration::from_secs(1), Duration::from_secs(900));
        let extended_ago = lifetime.saturating_sub(left);
        let due = AtomicU64::new(millis(slack.saturating_sub(extended_ago)));
        Self { row, slack, base: Instant::now(), due }
    }

    /// Notes a use of the session, if it is time to extend it.
    pub fn touch(&self, used: &UsedSessions) {
        let (now, due) = (millis(self.base.elapsed()), self.due.load(Ordering::Relaxed));
        let next = now + millis(self.slack);
        if now >= due
            && self.due.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
            && !used.note(self.row)
        {
            self.due.store(due, Ordering::Relaxed);
        }
    }
}

impl UsedSessions {
    /// Notes a session. Returns whether there was room.
    fn note(&self, row: i64) -> bool {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = noted.len() < MOST;
        if room {
            noted.insert(row);
        }
        room
    }

    fn take(&self) -> Vec<i64> {
        // Sorted, so that two nodes that extend the same rows lock them in the same order and cannot deadlock.
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_iter().collect()
    }

    /// Extends the noted sessions every second until the process is asked to stop, and then once more.
    pub async fn run(self, pool: MySqlPool, shutdown: Shutdown) {
        loop {
            let stopping = tokio::select! {
                () = tokio::time::sleep(INTERVAL) => false,
                () = shutdown.requested() => true,
            };
            self.write(&pool).await;
            if stopping {
                return;
            }
        }
    }

    async fn write(&self, pool: &MySqlPool) {
        let noted = self.take();
        let mut rows = noted.as_slice();
        while !rows.is_empty() {
            let size = if rows.len() <= CHUNKS[0] { CHUNKS[0] } else { CHUNKS[1] };
            let (chunk, rest) = rows.split_at(rows.len().min(size));
            match tokio::time::timeout(TIMEOUT, extend(pool, chunk, size)).await {
                Ok(Ok(extended)) => metrics::counter!(names::SESSIONS_EXTENDED).increment(extended),
                failed => {
                    let cause = failed.map_or_else(
                        |_| "the system database did not answer in time".into(),
                        |answer| chain(&answer.unwrap_err()),
                    );
                    tracing::debug!(
                        cause,
                        sessions = rows.len(),
                        "sessions in use could not be extended; the node tries again"
                    );
                    for row in rows {
                        self.note(*row);
                    }
                    return;
                }
            }
            rows = rest;
        }
    }
}

/// Extends the sessions that have not expired. The last row is repeated to fill the placeholders of the statement.
async fn extend(pool: &MySqlPool, rows: &[i64], placeholders: usize) -> Result<u64, sqlx::Error> {
    // The type TIMESTAMP ends at that date, so no session can last longer.
    let statement = format!(
        "UPDATE user_token
         SET token_expired_at = LEAST(UTC_TIMESTAMP() + INTERVAL token_ttl SECOND, '2038-01-19 03:14:07')
         WHERE id IN ({}?) AND token_ttl IS NOT NULL AND token_expired_at > UTC_TIMESTAMP()
           AND token_expired_at < LEAST(UTC_TIMESTAMP() + INTERVAL token_ttl SECOND, '2038-01-19 03:14:07')",
        "?, ".repeat(placeholders - 1)
    );
    let last = rows.last().copied().unwrap_or_default();
    let all = rows.iter().copied().chain(std::iter::repeat(last)).take(placeholders);
    let query = all.fold(sqlx::query(&statement), sqlx::query::Query::bind);
    query.execute(pool).await.map(|done| done.rows_affected())
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEEK: Duration = Duration::from_secs(604_800);

    #[test]
    fn a_session_in_use_is_extended_once_per_slack() {
        let used = UsedSessions::default();
        let fresh = Extension::new(7, WEEK, WEEK);
        fresh.touch(&used);
        assert!(used.take().is_empty(), "the session was extended just now");
        let old = Extension::new(8, WEEK, WEEK - Duration::from_secs(901));
        for _ in 0..10 {
            old.touch(&used);
        }
        assert_eq!(used.take(), [8]);
        old.touch(&used);
        assert!(used.take().is_empty(), "noted a moment ago");
    }

    #[test]
    fn a_shorter_session_is_extended_more_often() {
        let minute = Extension::new(1, Duration::from_secs(60), Duration::from_secs(59));
        let used = UsedSessions::default();
        minute.touch(&used);
        assert_eq!(used.take(), [1]);
        assert_eq!(Extension::new(1, WEEK, WEEK).slack, Duration::from_secs(900));
        assert_eq!(Extension::new(1, Duration::from_secs(3600), WEEK).slack, Duration::from_secs(36));
    }

    #[test]
    fn a_use_that_finds_no_room_is_noted_later() {
        let used = UsedSessions::default();
        *used.0.lock().unwrap() = (0..MOST as i64).collect();
        let session = Extension::new(-1, WEEK, Duration::from_secs(1));
        session.touch(&used);
        assert!(!used.take().contains(&-1));
        session.touch(&used);
        assert_eq!(used.take(), [-1]);
    }
}
