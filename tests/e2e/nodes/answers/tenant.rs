//! A tenant as the test of answers sees it: when it was stopped, and when it was asked to serve again.

use super::BOUND;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

pub struct Tenant {
    pub id: String,
    /// The tenant is only renamed and rotated, so every answer must be a success.
    pub steady: bool,
    stops: Mutex<Vec<Stop>>,
}

/// The time from the acceptance of a suspension or deletion to the command that undoes it.
struct Stop {
    accepted: Instant,
    undone: Option<Instant>,
}

impl Tenant {
    pub fn new(id: impl Into<String>, steady: bool) -> Arc<Self> {
        Arc::new(Self { id: id.into(), steady, stops: Mutex::default() })
    }

    pub fn stopped(&self) {
        let stop = Stop { accepted: Instant::now(), undone: None };
        self.stops.lock().unwrap_or_else(PoisonError::into_inner).push(stop);
    }

    pub fn resuming(&self) {
        if let Some(stop) = self.stops.lock().unwrap_or_else(PoisonError::into_inner).last_mut() {
            stop.undone = Some(Instant::now());
        }
    }

    /// Whether a request of this time must be refused.
    pub fn refuses(&self, begun: Instant, ended: Instant) -> bool {
        let stops = self.stops.lock().unwrap_or_else(PoisonError::into_inner);
        stops.iter().any(|stop| begun > stop.accepted + BOUND && stop.undone.is_none_or(|undone| ended < undone))
    }
}
