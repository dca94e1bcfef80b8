//! [`Gate`]: how many requests of one kind come in a second, how many are in work, and how many may wait for a turn.
//!
//! Every tenant has one, so a busy tenant fills its own queue and nobody else's. Turns are given in the order of asking.

use crate::routing::{Limits, Rate};
use governor::clock::Clock;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

/// See the module.
pub struct Gate {
    /// In the metrics.
    name: &'static str,
    limits: Limits,
    rate: Option<DefaultDirectRateLimiter>,
    turns: Arc<Semaphore>,
    waiting: AtomicU32,
}

/// The right to be in work; it ends when this is dropped.
pub struct Turn {
    _permit: OwnedSemaphorePermit,
}

/// Why there is no turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoTurn {
    /// Too many are waiting already.
    QueueFull,
    /// None came free in time.
    TooLate,
}

impl Gate {
    /// A gate with these limits.
    pub fn new(name: &'static str, limits: Limits) -> Self {
        let rate = limits
            .rate
            .map(|Rate { per_second, burst }| RateLimiter::direct(Quota::per_second(per_second).allow_burst(burst)));
        let turns = Arc::new(Semaphore::new(limits.concurrency as usize));
        Self { name, limits, rate, turns, waiting: AtomicU32::new(0) }
    }

    /// The limits it was made with.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Counts one more; if there is no room for it in the rate, says how long until there is.
    pub fn admit(&self) -> Result<(), Duration> {
        let Some(rate) = &self.rate else { return Ok(()) };
        rate.check().map_err(|not_until| not_until.wait_time_from(rate.clock().now()))
    }

    /// Waits for a turn, until `deadline` at most.
    pub async fn enter(&self, deadline: Instant) -> Result<Turn, NoTurn> {
        if let Ok(permit) = Arc::clone(&self.turns).try_acquire_owned() {
            return Ok(Turn { _permit: permit });
        }
        let _waiting = Waiting::begin(self)?;
        metrics::counter!(kernel::process::telemetry::names::WAITS, "for" => self.name).increment(1);
        match timeout_at(deadline, Arc::clone(&self.turns).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Turn { _permit: permit }),
            // The semaphore is never closed.
            Ok(Err(_)) | Err(_) => Err(NoTurn::TooLate),
        }
    }
}

struct Waiting<'g>(&'g Gate);

impl<'g> Waiting<'g> {
    fn begin(gate: &'g Gate) -> Result<Self, NoTurn> {
        let waiting = Self(gate);
        if gate.waiting.fetch_add(1, Ordering::AcqRel) < gate.limits.queue {
            Ok(waiting)
        } else {
            Err(NoTurn::QueueFull)
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(concurrency: u32, queue: u32) -> Arc<Gate> {
        Arc::new(Gate::new("test", Limits::new(concurrency, queue)))
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(2)
    }

    #[test]
    fn a_burst_is_admitted_at_once_and_then_no_more_than_the_rate() {
        assert_eq!(gate(1, 1).admit(), Ok(()));
        let rate = |per_second: u32, burst: u32| {
            let rate = Rate { per_second: per_second.try_into().unwrap(), burst: burst.try_into().unwrap() };
            Gate::new("test", Limits { rate: Some(rate), ..Limits::new(1, 1) })
        };
        for (per_second, burst, longest) in [(1, 3, 1_000), (2, 1, 500), (1_000_000, 1, 1)] {
            let gate = rate(per_second, burst);
            for _ in 0..burst {
                assert_eq!(gate.admit(), Ok(()));
            }
            if per_second <= 2 {
                let wait = gate.admit().unwrap_err();
                assert!(!wait.is_zero() && wait <= Duration::from_millis(longest), "{wait:?}");
            }
        }
        let gate = rate(50, 1);
        assert_eq!(gate.admit(), Ok(()));
        std::thread::sleep(Duration::from_millis(25));
        assert_eq!(gate.admit(), Ok(()), "there is room again");
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_queue_refuses_at_once_and_a_short_one_waits() {
        let gate = gate(1, 1);
        let turn = gate.enter(soon()).await.unwrap();
        let second = tokio::spawn({
            let gate = Arc::clone(&gate);
            async move { gate.enter(soon()).await.map(drop) }
        });
        tokio::task::yield_now().await;
        assert_eq!(gate.enter(soon()).await.map(drop), Err(NoTurn::QueueFull));
        drop(turn);
        assert_eq!(second.await.unwrap(), Ok(()));
        assert!(gate.enter(soon()).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_gives_up_leaves_the_queue() {
        let gate = gate(1, 1);
        let _turn = gate.enter(soon()).await.unwrap();
        for _ in 0..3 {
            assert_eq!(gate.enter(soon()).await.map(drop), Err(NoTurn::TooLate));
        }
        assert_eq!(gate.waiting.load(Ordering::Acquire), 0);
    }
}
