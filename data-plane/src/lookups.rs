//! [`Lookups`]: how requests ask the system database for sessions, members and profiles.
//!
//! Look-ups have bounds of their own: a few connections at once, a short queue, a deadline. **Guarantees.**
//! * Tokens that this node has never seen as valid have a queue of their own, and may use less than half of the
//!   connections. So a flood of invented tokens fills that queue, and the sessions that the node knows do not wait for
//!   it.
//! * When several requests need the same look-up at once, it is done once: the others wait for it and then find the
//!   answer in the cache.

use crate::gate::{Gate, Permit};
use crate::routing::Limits;
use kernel::error::chain;
use kernel::http::{ApiError, Code};
use kernel::process::telemetry::names;
use sqlx::MySqlPool;
use std::hash::{BuildHasher, Hash, RandomState};
use std::time::Duration;
use tokio::sync::{Mutex, MutexGuard};

/// Longest time that a request waits for its look-up to begin, and again for the answer.
pub const WAIT: Duration = Duration::from_secs(1);

/// The most look-ups of a kind that wait.
const QUEUE: u32 = 512;

/// The number of striped locks: few enough to cost nothing, and enough that different look-ups seldom share one.
const STRIPES: usize = 256;

/// Whose look-up it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// A session that this node has seen as valid, or the user of one.
    Known,
    /// A token that this node has never seen as valid.
    Stranger,
    /// A request for a profile. It can wait, because looking up sessions is more important.
    Profile,
}

/// Gives out permits for look-ups.
pub struct Lookups {
    pool: MySqlPool,
    known: Gate,
    strangers: Gate,
    profiles: Gate,
    stripes: [Mutex<()>; STRIPES],
    stripe_of: RandomState,
}

/// The right to look something up.
pub struct Turn<'l> {
    _stripe: MutexGuard<'l, ()>,
    _permit: Permit,
}

impl Lookups {
    /// Uses at most `connections` connections of `pool` at once.
    pub fn new(pool: MySqlPool, connections: u32) -> Self {
        // Together they leave a connection to the others, if there are three.
        let half = (connections.saturating_sub(1) / 2).max(1);
        Self {
            pool,
            known: Gate::new("lookup", Limits::new(connections, QUEUE)),
            strangers: Gate::new("stranger", Limits::new(half, QUEUE)),
            profiles: Gate::new("profile", Limits::new(half, QUEUE)),
            stripes: std::array::from_fn(|_| Mutex::new(())),
            stripe_of: RandomState::new(),
        }
    }

    /// The connections to the system database.
    pub fn pool(&self) -> &MySqlPool {
        &self.pool
    }

    /// Waits for the right to look up `what`.
    ///
    /// # Errors
    /// 503 if the queue is full, or if it takes longer than a request may wait.
    pub async fn turn(&self, asker: Asker, what: impl Hash) -> Result<Turn<'_>, ApiError> {
        let deadline = tokio::time::Instant::now() + WAIT;
        let gate = match asker {
            Asker::Known => &self.known,
            Asker::Stranger => &self.strangers,
            Asker::Profile => &self.profiles,
        };
        let permit = gate.enter(deadline).await.map_err(|_| ApiError::from(Code::Unavailable))?;
        let stripe = &self.stripes[usize::try_from(self.stripe_of.hash_one(what)).unwrap_or_default() % STRIPES];
        let stripe = tokio::time::timeout_at(deadline, stripe.lock()).await.map_err(|_| Code::Unavailable)?;
        Ok(Turn { _stripe: stripe, _permit: permit })
    }
}

/// Waits for an answer of the system database, as long as a request may wait for one.
///
/// # Errors
/// 503 if the query fails or takes longer.
pub async fn bounded<T>(asking: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, ApiError> {
    match tokio::time::timeout(WAIT, asking).await {
        Ok(answer) => answer.map_err(|error| {
            tracing::warn!(cause = %chain(&error), "the system database did not answer a look-up of a request");
            Code::Unavailable.into()
        }),
        Err(_) => {
            tracing::warn!("the system database did not answer a look-up of a request in time");
            Err(Code::Unavailable.into())
        }
    }
}

/// Counts a look-up in the cache with this name.
pub fn count_lookup(cache: &'static str, hit: bool) {
    let outcome = if hit { "hit" } else { "miss" };
    metrics::counter!(names::CACHE_LOOKUPS, "cache" => cache, "outcome" => outcome).increment(1);
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use sqlx::mysql::MySqlPoolOptions;

    /// Look-ups in a database that never answers, so every answer comes from a cache.
    pub fn unanswered() -> Lookups {
        let pool = MySqlPoolOptions::new().acquire_timeout(Duration::from_millis(50));
        Lookups::new(pool.connect_lazy("mysql://nobody@127.0.0.1:9/none").unwrap(), 2)
    }

    /// A key that does not share the lock of 0.
    fn other_key(lookups: &Lookups) -> u32 {
        let stripe = |key: u32| lookups.stripe_of.hash_one(key) % STRIPES as u64;
        (1..).find(|key| stripe(*key) != stripe(0)).unwrap()
    }

    #[tokio::test]
    async fn equal_lookups_wait_for_each_other() {
        let lookups = unanswered();
        let other = other_key(&lookups);
        let first = lookups.turn(Asker::Known, 0_u32).await.unwrap();
        assert!(tokio::time::timeout(Duration::ZERO, lookups.turn(Asker::Known, 0_u32)).await.is_err());
        assert!(lookups.turn(Asker::Known, other).await.is_ok());
        drop(first);
        assert!(lookups.turn(Asker::Known, 0_u32).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn strangers_leave_room_for_known_sessions() {
        let lookups = unanswered();
        let other = other_key(&lookups);
        let _stranger = lookups.turn(Asker::Stranger, 0_u32).await.unwrap();
        assert!(lookups.turn(Asker::Stranger, other).await.is_err(), "strangers have one connection of two");
        assert!(lookups.turn(Asker::Known, other).await.is_ok());
    }
}
