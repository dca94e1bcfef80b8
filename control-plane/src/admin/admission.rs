//! [`Admission`]: how many requests are in work at once.
//!
//! **Guarantee.** Strangers cannot take what callers with a token need. Callers have turns of their own, and so do
//! strangers who sign up; one address has a few of these. A token that was not valid lately is looked up by a few
//! requests at a time, so made-up tokens do not take all connections to the system database.

use kernel::crypto::tokens;
use kernel::http::{Addresses, Admitted, ApiError, Code};
use moka::sync::Cache;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long a token counts as known after its latest use.
const KNOWN: Duration = Duration::from_secs(600);
/// The most tokens that are known.
const MOST_KNOWN: u64 = 10_000;
/// Look-ups of unknown tokens at once.
const LOOKUPS: usize = 4;
/// The turns of one address, of those that strangers have.
const OF_ADDRESS: usize = 4;

/// How many requests may be in work. Clones share the count.
#[derive(Clone)]
pub struct Admission {
    callers: Arc<Semaphore>,
    strangers: Arc<Semaphore>,
    addresses: Arc<Addresses>,
    lookups: Arc<Semaphore>,
    /// The digests of tokens that were valid lately. They are still looked up: this only says who need not wait.
    known: Cache<[u8; 32], ()>,
}

/// A request in work.
pub struct Turn {
    _permit: OwnedSemaphorePermit,
    _address: Option<Admitted>,
}

impl Admission {
    /// Lets `callers` requests with a token be in work at once, and a quarter as many requests of strangers.
    pub fn new(callers: usize) -> Self {
        Self {
            callers: Arc::new(Semaphore::new(callers)),
            strangers: Arc::new(Semaphore::new(callers.div_ceil(4))),
            addresses: Arc::new(Addresses::new(OF_ADDRESS, Arc::default())),
            lookups: Arc::new(Semaphore::new(LOOKUPS)),
            known: Cache::builder().max_capacity(MOST_KNOWN).time_to_idle(KNOWN).build(),
        }
    }

    /// A turn for a caller with a valid token; 503 if there is none.
    pub fn caller(&self) -> Result<Turn, ApiError> {
        let permit = Arc::clone(&self.callers).try_acquire_owned().map_err(|_| Code::Unavailable)?;
        Ok(Turn { _permit: permit, _address: None })
    }

    /// A turn for a stranger; 429 if the address has as many as it may, 503 if there is none.
    pub fn stranger(&self, address: IpAddr) -> Result<Turn, ApiError> {
        let admitted = self.addresses.admit(SocketAddr::new(address, 0)).ok_or(Code::TooManyRequests)?;
        let permit = Arc::clone(&self.strangers).try_acquire_owned().map_err(|_| Code::Unavailable)?;
        Ok(Turn { _permit: permit, _address: Some(admitted) })
    }

    /// Waits until this token may be looked up. A known token never waits.
    pub async fn lookup(&self, token: &str) -> Option<OwnedSemaphorePermit> {
        if self.known.contains_key(&tokens::digest(token)) {
            return None;
        }
        Some(Arc::clone(&self.lookups).acquire_owned().await.expect("the semaphore is never closed"))
    }

    /// Remembers a token that is valid.
    pub fn remember(&self, token: &str) {
        self.known.insert(tokens::digest(token), ());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_take_no_turn_of_a_caller() {
        let admission = Admission::new(8);
        let of = |address: &str| admission.stranger(address.parse().unwrap());
        let (first, second) = (of("192.0.2.1").unwrap(), of("192.0.2.2").unwrap());
        assert_eq!(of("192.0.2.3").err().unwrap().code(), Code::Unavailable);
        let turns: Vec<_> = (0..8).map(|_| admission.caller().unwrap()).collect();
        assert_eq!(admission.caller().err().unwrap().code(), Code::Unavailable);
        drop((first, second, turns));
        let admission = Admission::new(64);
        let turns: Vec<_> =
            (0..OF_ADDRESS).map(|_| admission.stranger("192.0.2.1".parse().unwrap()).unwrap()).collect();
        let refused = admission.stranger("192.0.2.1".parse().unwrap());
        assert_eq!(refused.err().unwrap().code(), Code::TooManyRequests);
        assert!(admission.stranger("192.0.2.2".parse().unwrap()).is_ok());
        drop(turns);
    }

    #[tokio::test]
    async fn a_known_token_never_waits_for_unknown_ones() {
        let admission = Admission::new(8);
        let mut waiting = Vec::new();
        for token in 0..LOOKUPS {
            waiting.push(admission.lookup(&format!("unknown-{token}")).await.unwrap());
        }
        admission.remember("known");
        assert!(admission.lookup("known").await.is_none());
        let other = tokio::time::timeout(Duration::from_millis(50), admission.lookup("another"));
        assert!(other.await.is_err(), "an unknown token waits");
    }
}
