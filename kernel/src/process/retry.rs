//! How long a process waits before it tries again: the waits grow exponentially, with jitter. How often and for how
//! long a job is tried again is decided by the engine of the sagas, `provisioner/src/sagas/engine.rs`.
//!
//! The waits come from the crate `backoff`, which is no longer maintained
//! (RUSTSEC-2025-0012). It is a small piece of arithmetic without I/O, and only this file uses it, so it can be
//! replaced here.

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff as _;
use std::time::Duration;

/// Waits that grow from `first` to `most`, each with a jitter of half its length. They never end, so the caller decides
/// when to give up.
pub struct Waits(ExponentialBackoff);

impl Waits {
    /// The first wait is about `first`, and none is much longer than `most`.
    pub fn new(first: Duration, most: Duration) -> Self {
        Self(ExponentialBackoff {
            current_interval: first,
            initial_interval: first,
            max_interval: most,
            multiplier: 2.0,
            randomization_factor: 0.5,
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        })
    }

    /// How long to wait before the next attempt.
    pub fn next_wait(&mut self) -> Duration {
        self.0.next_backoff().unwrap_or(self.0.max_interval)
    }

    /// Starts again with the shortest wait, after a success.
    pub fn reset(&mut self) {
        self.0.reset();
    }
}

/// The wait after `attempts` failed attempts, for a caller that stores the number of attempts (in a job's row).
pub fn wait_after(attempts: u32, first: Duration, most: Duration) -> Duration {
    let mut waits = Waits::new(first, most);
    let mut wait = waits.next_wait();
    for _ in 1..attempts.min(32) {
        wait = waits.next_wait();
    }
    wait.min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_are_bounded() {
        let (first, most) = (Duration::from_millis(100), Duration::from_secs(10));
        assert!(wait_after(1, first, most) <= Duration::from_millis(150));
        for attempts in 1..100 {
            assert!(wait_after(attempts, first, most) <= most);
        }
        assert!(wait_after(30, first, most) >= Duration::from_secs(5));
    }

    #[test]
    fn waits_are_jittered() {
        let waits: std::collections::HashSet<_> =
            (0..20).map(|_| wait_after(3, Duration::from_secs(1), Duration::from_secs(60))).collect();
        assert!(waits.len() > 10);
    }
}
