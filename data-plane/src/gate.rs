//! [`Gate`] limits the requests of one kind: how many come in a second, how many are at work at once, and how many
//! wait.
//!
//! Every tenant has a gate, so a busy tenant fills its own queue and not that of the others. Look-ups in the system
//! database have gates too. A gate gives permits in the order of asking.

use crate::routing::{Limits, Rate};
use governor::clock::Clock;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

/// Limits for one kind of request.
pub struct Gate {
    /// The label of the wait metric.
    name: &'static str,
    limits: Limits,
    rate: Option<DefaultDirectRateLimiter>,
    permits: Arc<Semaphore>,
    waiting: AtomicU32,
}

/// The right to be at work. It ends when it is dropped.
pub struct Permit {
    _permit: OwnedSemaphorePermit,
}

/// Why a request got no permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPermit {
    /// As many requests as may wait are waiting already.
    QueueFull,
    /// No permit came free before the deadline.
    TooLate,
}

impl Gate {
    pub fn new(name: &'static str, limits: Limits) -> Self {
        let rate = limits
            .rate
            .map(|Rate { per_second, burst }| RateLimiter::direct(Quota::per_second(per_second).allow_burst(burst)));
        let permits = Arc::new(Semaphore::new(limits.concurrency as usize));
        Self { name, limits, rate, permits, waiting: AtomicU32::new(0) }
    }

    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Counts one request against the rate.
    ///
    /// # Errors
    /// The time until there is room for a request.
    pub fn check_rate(&self) -> Result<(), Duration> {
        let Some(rate) = &self.rate else { return Ok(()) };
        rate.check().map_err(|not_until| not_until.wait_time_from(rate.clock().now()))
    }

    /// Waits for a permit, at most until `deadline`.
    pub async fn enter(&self, deadline: Instant) -> Result<Permit, NoPermit> {
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return Ok(Permit { _permit: permit });
        }
        let _waiting = Waiting::begin(self)?;
        metrics::counter!(kernel::process::telemetry::names::WAITS, "for" => self.name).increment(1);
        match timeout_at(deadline, Arc::clone(&self.permits).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Permit { _permit: permit }),
            // The semaphore is never closed.
            Ok(Err(_)) | Err(_) => Err(NoPermit::TooLate),
        }
    }
}

struct Waiting<'g>(&'g Gate);

impl<'g> Waiting<'g> {
    fn begin(gate: &'g Gate) -> Result<Self, NoPermit> {
        let waiting = Self(gate);
        if gate.waiting.fetch_add(1, Ordering::AcqRel) < gate.limits.queue {
            Ok(waiting)
        } else {
            Err(NoPermit::QueueFull)
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
    fn after_a_burst_only_the_rate_is_admitted() {
        assert_eq!(gate(1, 1).check_rate(), Ok(()));
        let rate = |per_second: u32, burst: u32| {
            let rate = Rate { per_second: per_second.try_into().unwrap(), burst: burst.try_into().unwrap() };
            Gate::new("test", Limits { rate: Some(rate), ..Limits::new(1, 1) })
        };
        for (per_second, burst, longest) in [(1, 3, 1_000), (2, 1, 500), (1_000_000, 1, 1)] {
            let gate = rate(per_second, burst);
            for _ in 0..burst {
                assert_eq!(gate.check_rate(), Ok(()));
            }
            if per_second <= 2 {
                let wait = gate.check_rate().unwrap_err();
                assert!(!wait.is_zero() && wait <= Duration::from_millis(longest), "{wait:?}");
            }
        }
        let gate = rate(50, 1);
        assert_eq!(gate.check_rate(), Ok(()));
        std::thread::sleep(Duration::from_millis(25));
        assert_eq!(gate.check_rate(), Ok(()), "there is room again");
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_queue_refuses_at_once() {
        let gate = gate(1, 1);
        let permit = gate.enter(soon()).await.unwrap();
        let second = tokio::spawn({
            let gate = Arc::clone(&gate);
            async move { gate.enter(soon()).await.map(drop) }
        });
        tokio::task::yield_now().await;
        assert_eq!(gate.enter(soon()).await.map(drop), Err(NoPermit::QueueFull));
        drop(permit);
        assert_eq!(second.await.unwrap(), Ok(()));
        assert!(gate.enter(soon()).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_gives_up_leaves_the_queue() {
        let gate = gate(1, 1);
        let _held = gate.enter(soon()).await.unwrap();
        for _ in 0..3 {
            assert_eq!(gate.enter(soon()).await.map(drop), Err(NoPermit::TooLate));
        }
        assert_eq!(gate.waiting.load(Ordering::Acquire), 0);
    }
}
