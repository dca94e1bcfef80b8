//! How old the routing table is, by a clock that goes on while the process is stopped.
//!
//! **Guarantee.** [`Freshness::ensure`] returns at once while the table is younger than [`MAX_AGE`]. If it is older, then
//! the process was stopped (SIGSTOP, a frozen machine) or the follower is late: the request asks for a turn of the
//! follower and waits for its end, at most [`MAX_WAIT`]. If that turn fails, the system database is away, and the request
//! goes on with what is known. All requests that wait share one turn.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};

/// Oldest table that is used without a question.
const MAX_AGE: Duration = Duration::from_secs(2);

/// Longest wait of a request for a newer one.
const MAX_WAIT: Duration = Duration::from_secs(2);

/// Longest wait of a request that was surprised by a tenant's database.
const MAX_RENEWAL: Duration = Duration::from_millis(500);

/// So long a failed turn counts as an answer to "is there anything newer?". A bit longer than failed turns are apart.
const FAILURE_COUNTS: Duration = Duration::from_secs(4);

/// See the module. Times are microseconds since `base`; 0 means never.
pub struct Freshness {
    base: Instant,
    as_of: AtomicU64,
    failed_at: AtomicU64,
    turns: watch::Sender<()>,
    wanted: Notify,
}

impl Default for Freshness {
    fn default() -> Self {
        Self {
            // On Linux this is CLOCK_MONOTONIC, which a stopped process does not stop.
            base: Instant::now(),
            as_of: AtomicU64::new(0),
            failed_at: AtomicU64::new(0),
            turns: watch::Sender::new(()),
            wanted: Notify::new(),
        }
    }
}

impl Freshness {
    /// Waits, if need be, until the table is as fresh as it can be.
    pub async fn ensure(&self) {
        if self.good_enough() {
            return;
        }
        let mut turns = self.turns.subscribe();
        self.want();
        let newer = async { while !self.good_enough() && turns.changed().await.is_ok() {} };
        if tokio::time::timeout(MAX_WAIT, newer).await.is_err() {
            tracing::warn!("answering with an old routing table: nothing newer came in time");
        }
    }

    /// Waits for a turn that begins after this call, or for a failed one, but not for long. For a request that met something
    /// that only a change explains (its connection was killed, its login is refused), to learn of that change.
    pub async fn renew(&self) {
        let asked = self.mark().0;
        let mut turns = self.turns.subscribe();
        self.want();
        let ended = |turn: &AtomicU64| turn.load(Ordering::Acquire) >= asked;
        let newer = async { while !ended(&self.as_of) && !ended(&self.failed_at) && turns.changed().await.is_ok() {} };
        let _ = tokio::time::timeout(MAX_RENEWAL, newer).await;
    }

    /// Asks the follower for a turn.
    pub fn want(&self) {
        self.wanted.notify_one();
    }

    /// Resolves when somebody asked for a turn.
    pub async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// Changes at the end of every turn.
    pub fn turns(&self) -> watch::Receiver<()> {
        self.turns.subscribe()
    }

    /// Now, to be handed to [`Freshness::succeeded`]. Take it before the first query of a turn.
    pub fn mark(&self) -> Mark {
        Mark(u64::try_from(self.base.elapsed().as_micros()).unwrap_or(u64::MAX).max(1))
    }

    /// A turn that began at `began` succeeded: the table includes everything that was committed before.
    pub fn succeeded(&self, began: Mark) {
        self.as_of.store(began.0, Ordering::Release);
        self.failed_at.store(0, Ordering::Release);
        self.turns.send_replace(());
    }

    /// A turn failed.
    pub fn failed(&self) {
        self.failed_at.store(self.mark().0, Ordering::Release);
        self.turns.send_replace(());
    }

    /// How old the table is.
    pub fn age(&self) -> Duration {
        self.since(self.as_of.load(Ordering::Acquire))
    }

    /// Whether the last turn failed.
    pub fn is_failing(&self) -> bool {
        self.failed_at.load(Ordering::Acquire) != 0
    }

    fn good_enough(&self) -> bool {
        let failed_at = self.failed_at.load(Ordering::Acquire);
        self.age() <= MAX_AGE || (failed_at != 0 && self.since(failed_at) <= FAILURE_COUNTS)
    }

    fn since(&self, micros: u64) -> Duration {
        Duration::from_micros(self.mark().0.saturating_sub(micros))
    }
}

/// A moment of the clock of [`Freshness`].
#[derive(Clone, Copy, Debug)]
pub struct Mark(u64);

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    /// A table as old as the test wants it: as if the process had been stopped for that long.
    fn aged(age: Duration) -> Freshness {
        let freshness = Freshness { base: Instant::now() - Duration::from_secs(3600), ..Freshness::default() };
        let micros = (Duration::from_secs(3600) - age).as_micros();
        freshness.as_of.store(u64::try_from(micros).unwrap(), Ordering::Release);
        freshness
    }

    #[tokio::test]
    async fn a_fresh_table_is_used_at_once() {
        let freshness = aged(Duration::from_millis(500));
        freshness.ensure().await;
        assert!(tokio::time::timeout(Duration::from_millis(1), freshness.wanted()).await.is_err());
    }

    #[tokio::test]
    async fn an_old_table_waits_for_one_turn_shared_by_all() {
        let freshness = Arc::new(aged(Duration::from_secs(60)));
        let waiting: Vec<_> = (0..10)
            .map(|_| {
                let freshness = Arc::clone(&freshness);
                tokio::spawn(async move { freshness.ensure().await })
            })
            .collect();
        freshness.wanted().await;
        tokio::task::yield_now().await;
        assert!(waiting.iter().all(|task| !task.is_finished()));
        freshness.succeeded(freshness.mark());
        for task in waiting {
            task.await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_failed_turn_lets_requests_go_on_for_a_while() {
        let freshness = aged(Duration::from_secs(60));
        freshness.failed();
        freshness.ensure().await;
        // A failure from before the stop is no answer any more.
        freshness.failed_at.store(1, Ordering::Release);
        assert!(!freshness.good_enough());
    }

    #[tokio::test(start_paused = true)]
    async fn the_wait_is_bounded() {
        let began = tokio::time::Instant::now();
        aged(Duration::from_secs(60)).ensure().await;
        assert!(began.elapsed() <= MAX_WAIT + Duration::from_millis(10));
        aged(Duration::ZERO).renew().await;
        assert!(began.elapsed() <= MAX_WAIT + MAX_RENEWAL + Duration::from_millis(20));
    }

    #[tokio::test]
    async fn a_renewal_is_a_turn_that_began_later() {
        let freshness = Arc::new(aged(Duration::ZERO));
        let earlier = freshness.mark();
        tokio::time::sleep(Duration::from_millis(2)).await;
        let waiting = {
            let freshness = Arc::clone(&freshness);
            tokio::spawn(async move { freshness.renew().await })
        };
        freshness.wanted().await;
        freshness.succeeded(earlier);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished(), "that turn had begun before");
        freshness.succeeded(freshness.mark());
        waiting.await.unwrap();
    }
}
