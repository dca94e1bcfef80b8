//! [`Gate`]: how many requests of one kind are in work, and how many may wait for a turn.
//!
//! Every tenant has one, so a busy tenant fills its own queue and nobody else's. Turns are given in the order of asking.

use crate::routing::Limits;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

/// See the module.
pub struct Gate {
    /// In the metrics.
    name: &'static str,
    limits: Limits,
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
        Self { name, limits, turns: Arc::new(Semaphore::new(limits.concurrency as usize)), waiting: AtomicU32::new(0) }
    }

    /// The limits it was made with.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Waits for a turn, until `deadline` at most.
    pub async fn enter(&self, deadline: Instant) -> Result<Turn, NoTurn> {
        if let Ok(permit) = Arc::clone(&self.turns).try_acquire_owned() {
            return Ok(Turn { _permit: permit });
        }
        let _waiting = Waiting::begin(self)?;
        metrics::counter!(kernel::telemetry::names::WAITS, "for" => self.name).increment(1);
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
    use std::time::Duration;

    fn gate(concurrency: u32, queue: u32) -> Arc<Gate> {
        Arc::new(Gate::new("test", Limits { concurrency, queue }))
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(2)
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
