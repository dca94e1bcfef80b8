//! [`Freshness`]: how old the routing table is, by a clock that continues while the process is stopped.
//!
//! **Guarantee.** [`Freshness::ensure`] returns at once while the table is younger than [`MAX_AGE`]. If it is older,
//! the process was stopped (SIGSTOP, a frozen machine) or the follower is late. The request then asks the follower for
//! a refresh and waits for its end, at most for [`MAX_WAIT`]. If the refresh fails, the system database cannot be
//! reached, and the request continues with the table as it is. All waiting requests share one refresh.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};

/// The age up to which requests use the table without a refresh.
const MAX_AGE: Duration = Duration::from_secs(2);

/// Longest wait of a request for a refresh.
const MAX_WAIT: Duration = Duration::from_secs(2);

/// Longest wait of a request for a refresh after a tenant's database refused it or closed its connection.
const MAX_RENEWAL: Duration = Duration::from_millis(500);

/// How long requests use the table after a failed refresh. A bit longer than the time between failed refreshes.
const FAILURE_COUNTS: Duration = Duration::from_secs(4);

/// The age of the table. Times are microseconds since `base`; 0 means never.
pub struct Freshness {
    base: Instant,
    as_of: AtomicU64,
    failed_at: AtomicU64,
    refreshes: watch::Sender<()>,
    requested: Notify,
}

impl Default for Freshness {
    fn default() -> Self {
        Self {
            // On Linux this is CLOCK_MONOTONIC, which continues while the process is stopped.
            base: Instant::now(),
            as_of: AtomicU64::new(0),
            failed_at: AtomicU64::new(0),
            refreshes: watch::Sender::new(()),
            requested: Notify::new(),
        }
    }
}

impl Freshness {
    /// Waits, if necessary, until the table is as fresh as it can be.
    pub async fn ensure(&self) {
        if self.is_fresh_enough() {
            return;
        }
        let mut refreshes = self.refreshes.subscribe();
        self.request();
        let newer = async { while !self.is_fresh_enough() && refreshes.changed().await.is_ok() {} };
        if tokio::time::timeout(MAX_WAIT, newer).await.is_err() {
            tracing::warn!("the request uses an old routing table, because no refresh ended in time");
        }
    }

    /// Waits, for a short time, until a refresh that began after this call succeeds, or a refresh fails. A request
    /// calls this when its connection was killed or its login refused, to learn of the change that explains it.
    pub async fn renew(&self) {
        let asked = self.now().0;
        let mut refreshes = self.refreshes.subscribe();
        self.request();
        let ended = |at: &AtomicU64| at.load(Ordering::Acquire) >= asked;
        let newer =
            async { while !ended(&self.as_of) && !ended(&self.failed_at) && refreshes.changed().await.is_ok() {} };
        let _ = tokio::time::timeout(MAX_RENEWAL, newer).await;
    }

    /// Asks the follower for a refresh.
    pub fn request(&self) {
        self.requested.notify_one();
    }

    /// Resolves when a refresh was requested.
    pub async fn requested(&self) {
        self.requested.notified().await;
    }

    /// A channel that changes at the end of every refresh.
    pub fn refreshes(&self) -> watch::Receiver<()> {
        self.refreshes.subscribe()
    }

    /// The time now, for [`Freshness::succeeded`]. The follower takes it before the first query of a refresh.
    pub fn now(&self) -> Timestamp {
        Timestamp(u64::try_from(self.base.elapsed().as_micros()).unwrap_or(u64::MAX).max(1))
    }

    /// Records that a refresh which began at `began` succeeded: the table includes everything that was committed
    /// before.
    pub fn succeeded(&self, began: Timestamp) {
        self.as_of.store(began.0, Ordering::Release);
        self.failed_at.store(0, Ordering::Release);
        self.refreshes.send_replace(());
    }

    /// Records that a refresh failed.
    pub fn failed(&self) {
        self.failed_at.store(self.now().0, Ordering::Release);
        self.refreshes.send_replace(());
    }

    /// The age of the table.
    pub fn age(&self) -> Duration {
        self.since(self.as_of.load(Ordering::Acquire))
    }

    /// Whether the last refresh failed.
    pub fn is_failing(&self) -> bool {
        self.failed_at.load(Ordering::Acquire) != 0
    }

    fn is_fresh_enough(&self) -> bool {
        let failed_at = self.failed_at.load(Ordering::Acquire);
        self.age() <= MAX_AGE || (failed_at != 0 && self.since(failed_at) <= FAILURE_COUNTS)
    }

    fn since(&self, micros: u64) -> Duration {
        Duration::from_micros(self.now().0.saturating_sub(micros))
    }
}

/// A time of the clock of [`Freshness`].
#[derive(Clone, Copy, Debug)]
pub struct Timestamp(u64);

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    /// A table of this age, as if the process had been stopped for that long.
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
        assert!(tokio::time::timeout(Duration::from_millis(1), freshness.requested()).await.is_err());
    }

    #[tokio::test]
    async fn all_requests_wait_for_one_refresh_of_an_old_table() {
        let freshness = Arc::new(aged(Duration::from_secs(60)));
        let waiting: Vec<_> = (0..10)
            .map(|_| {
                let freshness = Arc::clone(&freshness);
                tokio::spawn(async move { freshness.ensure().await })
            })
            .collect();
        freshness.requested().await;
        tokio::task::yield_now().await;
        assert!(waiting.iter().all(|task| !task.is_finished()));
        freshness.succeeded(freshness.now());
        for task in waiting {
            task.await.unwrap();
        }
    }

    #[tokio::test]
    async fn after_a_failed_refresh_requests_continue_for_a_while() {
        let freshness = aged(Duration::from_secs(60));
        freshness.failed();
        freshness.ensure().await;
        // A failure from before the process was stopped does not count.
        freshness.failed_at.store(1, Ordering::Release);
        assert!(!freshness.is_fresh_enough());
    }

    #[tokio::test(start_paused = true)]
    async fn the_wait_for_a_refresh_is_bounded() {
        let began = tokio::time::Instant::now();
        aged(Duration::from_secs(60)).ensure().await;
        assert!(began.elapsed() <= MAX_WAIT + Duration::from_millis(10));
        aged(Duration::ZERO).renew().await;
        assert!(began.elapsed() <= MAX_WAIT + MAX_RENEWAL + Duration::from_millis(20));
    }

    #[tokio::test]
    async fn a_renewal_waits_for_a_refresh_that_began_later() {
        let freshness = Arc::new(aged(Duration::ZERO));
        let earlier = freshness.now();
        tokio::time::sleep(Duration::from_millis(2)).await;
        let waiting = {
            let freshness = Arc::clone(&freshness);
            tokio::spawn(async move { freshness.renew().await })
        };
        freshness.requested().await;
        freshness.succeeded(earlier);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished(), "that refresh had begun before");
        freshness.succeeded(freshness.now());
        waiting.await.unwrap();
    }
}
