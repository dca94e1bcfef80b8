//! [`Admission`]: how many requests are in work at once.
//!
//! **Guarantee.** Strangers cannot take what callers with a token need. Callers have turns of their own, and so do
//! strangers who sign up; one address has a few of these. A token that was not valid lately is looked up by a few
//! requests at a time, so made-up tokens do not take all connections to the system database. A bounded number of
//! requests wait for that, and one address has a part of it, so no address makes the others wait long.

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
/// Requests that look up an unknown token or wait for that.
const WAITING: usize = 1024;
/// Those of one address. An address has room for a burst of requests with one token after a start of the process.
const WAITING_OF_ADDRESS: usize = 256;
/// The turns of one address, of those that strangers have.
const OF_ADDRESS: usize = 4;

/// How many requests may be in work. Clones share the count.
#[derive(Clone)]
pub struct Admission {
    callers: Arc<Semaphore>,
    strangers: Arc<Semaphore>,
    addresses: Arc<Addresses>,
    lookups: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    waiting_of: Arc<Addresses>,
    /// The digests of tokens that were valid lately. They are still looked up: this only says who need not wait.
    known: Cache<[u8; 32], ()>,
}

/// A request in work.
pub struct Turn {
    _permit: OwnedSemaphorePermit,
    _address: Option<Admitted>,
}

/// A request whose token may be looked up.
pub enum Entry {
    /// The token was valid lately, so the request is in work already.
    Known(Turn),
    /// The token may be made up, so the request takes its turn only when the token is found.
    Unknown(Lookup),
}

/// A look-up of an unknown token.
pub struct Lookup {
    _permit: OwnedSemaphorePermit,
    _place: OwnedSemaphorePermit,
    _address: Admitted,
}

impl Admission {
    /// Lets `callers` requests with a token be in work at once, and a quarter as many requests of strangers.
    pub fn new(callers: usize) -> Self {
        Self {
            callers: Arc::new(Semaphore::new(callers)),
            strangers: Arc::new(Semaphore::new(callers.div_ceil(4))),
            addresses: Arc::new(Addresses::new(OF_ADDRESS, Arc::default())),
            lookups: Arc::new(Semaphore::new(LOOKUPS)),
            waiting: Arc::new(Semaphore::new(WAITING)),
            waiting_of: Arc::new(Addresses::new(WAITING_OF_ADDRESS, Arc::default())),
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

    /// Waits until the token of this client may be looked up. A known token never waits, but needs a turn; 503 if there
    /// is none. An unknown token is answered 503 if too many wait, of its address or in all.
    pub async fn enter(&self, token: &str, client: IpAddr) -> Result<Entry, ApiError> {
        if self.known.contains_key(&tokens::digest(token)) {
            return self.caller().map(Entry::Known);
        }
        let admitted = self.waiting_of.admit(SocketAddr::new(client, 0)).ok_or(Code::Unavailable)?;
        let place = Arc::clone(&self.waiting).try_acquire_owned().map_err(|_| Code::Unavailable)?;
        let permit = Arc::clone(&self.lookups).acquire_owned().await.expect("the semaphore is never closed");
        Ok(Entry::Unknown(Lookup { _permit: permit, _place: place, _address: admitted }))
    }

    /// A turn for a request whose token was found, and is known from now on; 503 if there is none.
    pub fn found(&self, token: &str, entry: Entry) -> Result<Turn, ApiError> {
        self.known.insert(tokens::digest(token), ());
        match entry {
            Entry::Known(turn) => Ok(turn),
            Entry::Unknown(lookup) => {
                drop(lookup);
                self.caller()
            }
        }
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

    const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[tokio::test]
    async fn a_known_token_never_waits_for_unknown_ones() {
        let admission = Admission::new(1);
        let entry = admission.enter("known", CLIENT).await.unwrap();
        drop(admission.found("known", entry).unwrap());
        let mut busy = Vec::new();
        for token in 0..LOOKUPS {
            busy.push(admission.enter(&format!("unknown-{token}"), CLIENT).await.unwrap());
        }
        let known = admission.enter("known", CLIENT).await.unwrap();
        assert!(matches!(known, Entry::Known(_)));
        let refused = admission.enter("known", CLIENT).await.err().unwrap();
        assert_eq!(refused.code(), Code::Unavailable, "it takes its turn before the look-up");
        let other = tokio::time::timeout(Duration::from_millis(50), admission.enter("another", CLIENT));
        assert!(other.await.is_err(), "an unknown token waits");
    }

    #[tokio::test]
    async fn one_address_has_a_part_of_a_bounded_queue_of_unknown_tokens() {
        let admission = Admission::new(8);
        let address = |number: usize| IpAddr::from([192, 0, 2, u8::try_from(number).unwrap()]);
        let enter = |client: IpAddr| {
            let admission = admission.clone();
            tokio::spawn(async move { admission.enter("unknown", client).await })
        };
        let mut queue = Vec::new();
        for number in 0..WAITING / WAITING_OF_ADDRESS {
            queue.extend((0..WAITING_OF_ADDRESS).map(|_| enter(address(number))));
            while admission.waiting.available_permits() > WAITING - queue.len() {
                tokio::task::yield_now().await;
            }
            assert_eq!(admission.enter("x", address(number)).await.err().unwrap().code(), Code::Unavailable);
        }
        assert_eq!(admission.enter("x", address(200)).await.err().unwrap().code(), Code::Unavailable);
        queue.iter().for_each(tokio::task::JoinHandle::abort);
        drop(queue);
        let freed = tokio::time::timeout(Duration::from_secs(20), admission.enter("x", address(200))).await;
        assert!(matches!(freed, Ok(Ok(_))), "a request that is given up leaves the queue");
    }
}
