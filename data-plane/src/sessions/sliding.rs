//! Sessions of ours last from their latest use, as the legacy's do: `user_token.token_ttl` seconds.
//!
//! A use is noted in memory and written by one task, many sessions with one statement: nothing is on the path of a request.
//! **Guarantees.** A session that is used is good for at least its lifetime less [`Slide::slack`] after its latest use, if the
//! system database could be reached within that slack and [`EVERY`]. Nothing that is over is brought back: a revoked session has no
//! row, and an expired one is not extended. What is noted is bounded; what finds no room is noted at the next use.

use kernel::error::chain;
use kernel::process::shutdown::Shutdown;
use kernel::process::telemetry::names;
use sqlx::MySqlPool;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often uses are written.
const EVERY: Duration = Duration::from_secs(1);

/// Longest wait for one answer of the system database.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Sessions noted at once.
const MOST: usize = 100_000;

/// Sessions of one statement, and the size for a few: two sizes are two prepared statements.
const CHUNKS: [usize; 2] = [16, 500];

/// Sessions that were used and are to be extended. Clones share them.
#[derive(Clone, Default)]
pub struct Used(Arc<Mutex<BTreeSet<i64>>>);

/// When a session is to be extended again.
pub struct Slide {
    /// `user_token.id`.
    row: i64,
    /// How late it may be.
    slack: Duration,
    base: Instant,
    /// Milliseconds since `base`.
    due: AtomicU64,
}

impl Slide {
    /// Of a session that lasts `lifetime` after a use, of which `left` are left.
    pub fn new(row: i64, lifetime: Duration, left: Duration) -> Self {
        // A hundredth: a session of 7 days is written four times an hour at most, one of a minute every second.
        let slack = (lifetime / 100).clamp(Duration::from_secs(1), Duration::from_secs(900));
        let extended_ago = lifetime.saturating_sub(left);
        let due = AtomicU64::new(millis(slack.saturating_sub(extended_ago)));
        Self { row, slack, base: Instant::now(), due }
    }

    /// The session is being used.
    pub fn touch(&self, used: &Used) {
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

impl Used {
    /// Whether there was room.
    fn note(&self, row: i64) -> bool {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = noted.len() < MOST;
        if room {
            noted.insert(row);
        }
        room
    }

    fn take(&self) -> Vec<i64> {
        // In order: two nodes that extend the same rows meet, and do not wait for each other crosswise.
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_iter().collect()
    }

    /// Writes what is noted, until the process is asked to stop, and then what is left.
    pub async fn keep(self, pool: MySqlPool, shutdown: Shutdown) {
        loop {
            let stopping = tokio::select! {
                () = tokio::time::sleep(EVERY) => false,
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
                    let cause =
                        failed.map_or_else(|_| "no answer in time".into(), |answer| chain(&answer.unwrap_err()));
                    tracing::debug!(cause, sessions = rows.len(), "sessions in use were not extended; later");
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

/// Extends those that live. The last row is repeated to fill the places of the statement.
async fn extend(pool: &MySqlPool, rows: &[i64], places: usize) -> Result<u64, sqlx::Error> {
    // The end of TIMESTAMP, which no session can outlive.
    let statement = format!(
        "UPDATE user_token
         SET token_expired_at = LEAST(UTC_TIMESTAMP() + INTERVAL token_ttl SECOND, '2038-01-19 03:14:07')
         WHERE id IN ({}?) AND token_ttl IS NOT NULL AND token_expired_at > UTC_TIMESTAMP()
           AND token_expired_at < LEAST(UTC_TIMESTAMP() + INTERVAL token_ttl SECOND, '2038-01-19 03:14:07')",
        "?, ".repeat(places - 1)
    );
    let last = rows.last().copied().unwrap_or_default();
    let all = rows.iter().copied().chain(std::iter::repeat(last)).take(places);
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
    fn a_use_is_noted_once_in_a_while() {
        let used = Used::default();
        let fresh = Slide::new(7, WEEK, WEEK);
        fresh.touch(&used);
        assert!(used.take().is_empty(), "it was extended just now");
        let old = Slide::new(8, WEEK, WEEK - Duration::from_secs(901));
        for _ in 0..10 {
            old.touch(&used);
        }
        assert_eq!(used.take(), [8]);
        old.touch(&used);
        assert!(used.take().is_empty(), "noted a moment ago");
    }

    #[test]
    fn short_sessions_are_extended_more_often() {
        let minute = Slide::new(1, Duration::from_secs(60), Duration::from_secs(59));
        let used = Used::default();
        minute.touch(&used);
        assert_eq!(used.take(), [1]);
        assert_eq!(Slide::new(1, WEEK, WEEK).slack, Duration::from_secs(900));
        assert_eq!(Slide::new(1, Duration::from_secs(3600), WEEK).slack, Duration::from_secs(36));
    }

    #[test]
    fn what_finds_no_room_is_noted_later() {
        let used = Used::default();
        *used.0.lock().unwrap() = (0..MOST as i64).collect();
        let session = Slide::new(-1, WEEK, Duration::from_secs(1));
        session.touch(&used);
        assert!(!used.take().contains(&-1));
        session.touch(&used);
        assert_eq!(used.take(), [-1]);
    }
}
