//! [`Freshness`]: how old the node's knowledge is, by a clock that continues while the process is stopped.
//!
//! **Guarantee.** [`Freshness::ensure`] returns at once while the knowledge is younger than [`MAX_AGE`]. If it is
//! older, the process was stopped (SIGSTOP, a frozen machine), or the follower is late because the system database is
//! slow. The request then asks the follower for a refresh and waits for its end, at most for [`MAX_WAIT`]. All waiting
//! requests share one refresh.
//!
//! What follows depends on why there is no newer knowledge. If the system database is away (it refuses connections, or
//! has not answered a question for a while), the request continues with what the node knows: an outage of the system
//! database must not stop the tenants. If it answers, but too slowly, the request is refused, because a change that it
//! has committed may be missing here.

use kernel::http::{ApiError, Code};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};

/// The age up to which requests use the knowledge without a refresh.
pub const MAX_AGE: Duration = Duration::from_secs(2);

/// Longest wait of a request for a refresh.
const MAX_WAIT: Duration = Duration::from_secs(2);

/// Longest wait of a request for a refresh after a tenant's database refused it or closed its connection.
const MAX_RENEWAL: Duration = Duration::from_millis(500);

/// How long the system database counts as away after it was found so. A bit longer than one attempt to refresh takes.
const AWAY_COUNTS: Duration = Duration::from_secs(10);

/// The age of the knowledge. Times are microseconds since `base`; 0 means never.
pub struct Freshness {
    base: Instant,
    as_of: AtomicU64,
    away_at: AtomicU64,
    refreshes: watch::Sender<()>,
    requested: Notify,
}

impl Default for Freshness {
    fn default() -> Self {
        Self {
            // On Linux this is CLOCK_MONOTONIC, which continues while the process is stopped.
            base: Instant::now(),
            as_of: AtomicU64::new(0),
            away_at: AtomicU64::new(0),
            refreshes: watch::Sender::new(()),
            requested: Notify::new(),
        }
    }
}

impl Freshness {
    /// Waits, if necessary, until the knowledge is as fresh as it can be.
    ///
    /// # Errors
    /// 503 if the system database answers too slowly.
    pub async fn ensure(&self) -> Result<(), ApiError> {
        if self.is_usable() {
            return Ok(());
        }
        let mut refreshes = self.refreshes.subscribe();
        self.request();
        let newer = async { while !self.is_usable() && refreshes.changed().await.is_ok() {} };
        tokio::time::timeout(MAX_WAIT, newer).await.map_err(|_| {
            tracing::warn!("the node refuses a request, because the system database answers too slowly");
            Code::Unavailable.into()
        })
    }

    /// Waits, for a short time, until a refresh that began after this call succeeds, or the system database is away. A
    /// request calls this when its connection was killed or its login refused, to learn of the change that explains it.
    pub async fn renew(&self) {
        let asked = self.now().0;
        let mut refreshes = self.refreshes.subscribe();
        self.request();
        let ended = |at: &AtomicU64| at.load(Ordering::Acquire) >= asked;
        let newer =
            async { while !ended(&self.as_of) && !ended(&self.away_at) && refreshes.changed().await.is_ok() {} };
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

    /// Records that a refresh succeeded whose last look at the heads began at `began`: the node knows everything that
    /// was committed before.
    pub fn succeeded(&self, began: Timestamp) {
        self.as_of.store(began.0, Ordering::Release);
        self.away_at.store(0, Ordering::Release);
        self.refreshes.send_replace(());
    }

    /// Records that the system database is away.
    pub fn away(&self) {
        self.away_at.store(self.now().0, Ordering::Release);
        self.refreshes.send_replace(());
    }

    /// Records that the system database has answered something, however late: it is not away.
    pub fn answered(&self) {
        if self.away_at.swap(0, Ordering::AcqRel) != 0 {
            self.refreshes.send_replace(());
        }
    }

    /// Records that a refresh failed, although the system database is not away.
    pub fn failed(&self) {
        self.refreshes.send_replace(());
    }

    /// The age of the knowledge.
    pub fn age(&self) -> Duration {
        self.since(self.as_of.load(Ordering::Acquire))
    }

    /// Whether the system database is away.
    pub fn is_away(&self) -> bool {
        self.away_at.load(Ordering::Acquire) != 0
    }

    fn is_usable(&self) -> bool {
        let away_at = self.away_at.load(Ordering::Acquire);
        self.age() <= MAX_AGE || (away_at != 0 && self.since(away_at) <= AWAY_COUNTS)
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

    /// Knowledge of this age, as if the process had been stopped for that long.
    fn aged(age: Duration) -> Freshness {
        let freshness = Freshness { base: Instant::now() - Duration::from_secs(3600), ..Freshness::default() };
        let micros = (Duration::from_secs(3600) - age).as_micros();
        freshness.as_of.store(u64::try_from(micros).unwrap(), Ordering::Release);
        freshness
    }

    #[tokio::test]
    async fn fresh_knowledge_is_used_at_once() {
        let freshness = aged(Duration::from_millis(500));
        freshness.ensure().await.unwrap();
        assert!(tokio::time::timeout(Duration::ZERO, freshness.requested()).await.is_err(), "no refresh is requested");
    }

    #[tokio::test]
    async fn waiting_requests_share_one_refresh() {
        let freshness = Arc::new(aged(Duration::from_secs(60)));
        let waiting: Vec<_> = (0..3)
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
            task.await.unwrap().unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn without_the_database_requests_continue_for_a_while() {
        let freshness = aged(Duration::from_secs(60));
        freshness.away();
        freshness.ensure().await.unwrap();
        // That it was away before the process was stopped does not count.
        freshness.away_at.store(1, Ordering::Release);
        assert!(freshness.ensure().await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_database_means_a_refusal_in_bounded_time() {
        let began = tokio::time::Instant::now();
        let freshness = aged(Duration::from_secs(60));
        assert!(freshness.ensure().await.is_err());
        assert!(began.elapsed() <= MAX_WAIT + Duration::from_millis(10));
        freshness.away();
        assert!(freshness.ensure().await.is_ok());
        freshness.answered();
        assert!(freshness.ensure().await.is_err(), "it has answered, so it is not away");
        let began = tokio::time::Instant::now();
        aged(Duration::ZERO).renew().await;
        assert!(began.elapsed() <= MAX_RENEWAL + Duration::from_millis(20));
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
