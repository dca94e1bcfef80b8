//! Who asks, and whether they belong to the tenant they ask.
//!
//! Both answers come from the system database and are kept in memory, bounded; sessions of the legacy installation are in
//! Redis ([`legacy`]) and count in the default tenant only. **Guarantees:**
//! * A revoked session is refused from the follower's next turn on: a kept session counts only in the epoch in which its
//!   loading began, and every revocation begins a new epoch. Its expiry is checked on every use, and put off by
//!   it ([`sliding`]).
//! * A changed membership counts from the follower's next turn on: a kept one counts only while the tenant's route has no
//!   newer position than the one known before it was loaded. So a load that began before a change is never kept.
//! * Ids are compared here, byte for byte: the database's collation holds `U1` and `u1` equal.
//! * Unknown tokens are kept too, for a moment, and look-ups have a queue of their own: a flood of bad tokens fills that
//!   queue and not the node.
//! * What several requests ask at once is looked up once.

mod legacy;
mod lookup;
mod sliding;
pub mod token;

pub use legacy::LegacySessions;
pub use lookup::bounded;
pub use sliding::Used;

use crate::gate::{Gate, Turn};
use crate::routing::{Limits, Route};
use kernel::crypto::tokens;
use kernel::domain::{Position, Role, TenantId, UserId};
use kernel::http::{ApiError, Code};
use kernel::process::telemetry::names;
use moka::sync::Cache;
use sliding::Slide;
use sqlx::MySqlPool;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, MutexGuard};

/// Longest time a request waits for its look-up to begin, and for its answer.
const WAIT: Duration = Duration::from_secs(1);

/// Look-ups that may wait.
const QUEUE: u32 = 512;

/// Whose session a token is, and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Session {
    /// One of ours: good in every tenant of the user.
    Own(Arc<UserId>),
    /// One of the legacy installation: good in the default tenant, which is what became of it.
    Legacy(Arc<UserId>),
}

/// Why a token opens no session.
#[derive(Debug)]
pub enum NoSession {
    /// Nobody here made it.
    NotOurs,
    /// It is over: expired, revoked, or never was.
    Ended,
    /// Nobody who would know answers.
    Unknown(ApiError),
}

impl From<ApiError> for NoSession {
    fn from(error: ApiError) -> Self {
        Self::Unknown(error)
    }
}

impl From<NoSession> for ApiError {
    fn from(why: NoSession) -> Self {
        match why {
            NoSession::NotOurs | NoSession::Ended => Code::Unauthenticated.into(),
            NoSession::Unknown(error) => error,
        }
    }
}

/// A session of ours that is valid.
#[derive(Clone)]
struct Kept {
    user_id: Arc<UserId>,
    /// By this process's clock, from what the database said was left.
    expires: Instant,
    epoch: u64,
    /// `None`: it ends when it ends.
    slide: Option<Arc<Slide>>,
}

/// A user's role in a tenant, or that they have none.
#[derive(Clone, Copy)]
struct Membership {
    role: Option<Role>,
    /// Position of the tenant's route before it was loaded.
    position: Position,
    loaded: Instant,
}

/// See the module.
pub struct Sessions {
    pool: MySqlPool,
    lookups: Gate,
    lanes: [Mutex<()>; LANES],
    lane_of: RandomState,
    epoch: AtomicU64,
    sessions: Cache<[u8; 32], Kept>,
    unknown: Cache<[u8; 32], u64>,
    members: Cache<(Arc<TenantId>, Arc<UserId>), Membership>,
    legacy: Option<LegacySessions>,
    used: Used,
}

/// How long "this user is no member" is believed when no event says otherwise.
const NO_MEMBER: Duration = Duration::from_secs(5);

/// Lanes for look-ups: few enough to cost nothing, many enough that different ones seldom meet.
const LANES: usize = 256;

impl Sessions {
    /// Nothing is known yet. At most `lookups` connections of `pool` are used at once.
    pub fn new(pool: MySqlPool, lookups: u32, legacy: Option<LegacySessions>, used: Used) -> Self {
        Self {
            pool,
            lookups: Gate::new("lookup", Limits::new(lookups, QUEUE)),
            lanes: std::array::from_fn(|_| Mutex::new(())),
            lane_of: RandomState::new(),
            epoch: AtomicU64::new(0),
            sessions: Cache::builder().max_capacity(100_000).time_to_live(Duration::from_secs(60)).build(),
            unknown: Cache::builder().max_capacity(10_000).time_to_live(Duration::from_secs(2)).build(),
            members: Cache::builder().max_capacity(200_000).time_to_live(Duration::from_secs(300)).build(),
            legacy,
            used,
        }
    }

    /// Sessions were revoked: what is known of them counts no more.
    pub fn forget_sessions(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
        self.sessions.invalidate_all();
        self.unknown.invalidate_all();
    }

    /// Positions do not mean what they meant.
    pub fn forget_everything(&self) {
        self.forget_sessions();
        self.members.invalidate_all();
    }

    /// Whose session a token is.
    pub async fn session(&self, token: &str) -> Result<Session, NoSession> {
        match &self.legacy {
            Some(legacy) if LegacySessions::is_one(token) => legacy.user(token).await.map(Session::Legacy),
            _ => self.user(token).await?.map(Session::Own).ok_or(NoSession::Ended),
        }
    }

    /// The user of a token of ours; `None`: the token is unknown or has expired.
    async fn user(&self, token: &str) -> Result<Option<Arc<UserId>>, ApiError> {
        let key = tokens::digest(token);
        if let Some(known) = self.known_session(&key) {
            looked_up("session", true);
            return Ok(known);
        }
        looked_up("session", false);
        let _turn = self.turn(&key).await?;
        // Somebody else may have looked it up while this one waited.
        if let Some(known) = self.known_session(&key) {
            return Ok(known);
        }
        let epoch = self.epoch.load(Ordering::Acquire);
        let asked = Instant::now();
        match lookup::session(&self.pool, token).await? {
            Some(found) => {
                let user_id = Arc::new(found.user_id);
                let slide = found.lifetime.map(|lifetime| Arc::new(Slide::new(found.row, lifetime, found.left)));
                let session = Kept { user_id: Arc::clone(&user_id), expires: asked + found.left, epoch, slide };
                self.use_of(&session);
                self.sessions.insert(key, session);
                Ok(Some(user_id))
            }
            None => {
                self.unknown.insert(key, epoch);
                Ok(None)
            }
        }
    }

    fn known_session(&self, key: &[u8; 32]) -> Option<Option<Arc<UserId>>> {
        let epoch = self.epoch.load(Ordering::Acquire);
        let counts = |session: &Kept| session.epoch == epoch && Instant::now() < session.expires;
        if let Some(session) = self.sessions.get(key).filter(counts) {
            self.use_of(&session);
            return Some(Some(session.user_id));
        }
        self.unknown.get(key).filter(|of_epoch| *of_epoch == epoch).map(|_| None)
    }

    fn use_of(&self, session: &Kept) {
        if let Some(slide) = &session.slide {
            slide.touch(&self.used);
        }
    }

    /// The role of a user in a tenant; `None`: they do not belong to it.
    pub async fn role(&self, route: &Route, user_id: &Arc<UserId>) -> Result<Option<Role>, ApiError> {
        let key = (Arc::clone(&route.tenant_id), Arc::clone(user_id));
        let known = self.known_member(&key, route.position);
        looked_up("member", known.is_some());
        if let Some(known) = known {
            return Ok(known.role);
        }
        let _turn = self.turn(&key).await?;
        if let Some(known) = self.known_member(&key, route.position) {
            return Ok(known.role);
        }
        let loaded = Instant::now();
        let role = lookup::role(&self.pool, &route.tenant_id, user_id).await?;
        self.members.insert(key, Membership { role, position: route.position, loaded });
        Ok(role)
    }

    fn known_member(&self, key: &(Arc<TenantId>, Arc<UserId>), position: Position) -> Option<Membership> {
        let known = self.members.get(key)?;
        let counts = known.position >= position && (known.role.is_some() || known.loaded.elapsed() < NO_MEMBER);
        counts.then_some(known)
    }

    /// The turn to look something up. What several ask at once is looked up once: they wait in the same lane.
    async fn turn(&self, of: impl Hash) -> Result<(MutexGuard<'_, ()>, Turn), ApiError> {
        let deadline = tokio::time::Instant::now() + WAIT;
        let turn = self.lookups.enter(deadline).await.map_err(|_| ApiError::from(Code::Unavailable))?;
        let lane = &self.lanes[usize::try_from(self.lane_of.hash_one(of)).unwrap_or_default() % LANES];
        let lane = tokio::time::timeout_at(deadline, lane.lock()).await.map_err(|_| Code::Unavailable)?;
        Ok((lane, turn))
    }
}

/// Counts a look into a cache.
pub fn looked_up(cache: &'static str, hit: bool) {
    let outcome = if hit { "hit" } else { "miss" };
    metrics::counter!(names::CACHE_LOOKUPS, "cache" => cache, "outcome" => outcome).increment(1);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::route_for_tests;
    use sqlx::mysql::MySqlPoolOptions;

    /// Its database is never there: whatever is answered was known.
    fn sessions() -> Sessions {
        let pool = MySqlPoolOptions::new().acquire_timeout(Duration::from_millis(50));
        Sessions::new(pool.connect_lazy("mysql://nobody@127.0.0.1:9/none").unwrap(), 2, None, Used::default())
    }

    fn user() -> Arc<UserId> {
        Arc::new("u1".parse().unwrap())
    }

    fn keep_session(sessions: &Sessions, token: &str, left: Duration) {
        let epoch = sessions.epoch.load(Ordering::Acquire);
        let session = Kept { user_id: user(), expires: Instant::now() + left, epoch, slide: None };
        sessions.sessions.insert(tokens::digest(token), session);
    }

    #[tokio::test]
    async fn a_known_session_counts_until_it_expires_or_is_revoked() {
        let sessions = sessions();
        keep_session(&sessions, "a", Duration::from_secs(60));
        keep_session(&sessions, "b", Duration::ZERO);
        assert_eq!(sessions.user("a").await.unwrap(), Some(user()));
        assert!(sessions.user("b").await.is_err(), "an expired one is looked up again");
        sessions.unknown.insert(tokens::digest("b"), 0);
        assert_eq!(sessions.user("b").await.unwrap(), None);
        sessions.forget_sessions();
        assert_eq!(sessions.user("a").await.unwrap_err().code(), Code::Unavailable);
    }

    #[tokio::test]
    async fn a_session_whose_loading_began_before_a_revocation_is_not_used() {
        let sessions = sessions();
        let before = Kept { user_id: user(), expires: Instant::now() + WAIT, epoch: 0, slide: None };
        sessions.forget_sessions();
        sessions.sessions.insert(tokens::digest("a"), before);
        assert!(sessions.user("a").await.is_err());
    }

    #[tokio::test]
    async fn what_is_asked_twice_at_once_waits_for_the_first_answer() {
        let sessions = sessions();
        let lane = |key: u32| sessions.lane_of.hash_one(key) % LANES as u64;
        let other = (1..).find(|key| lane(*key) != lane(0)).unwrap();
        let first = sessions.turn(0_u32).await.unwrap();
        assert!(tokio::time::timeout(Duration::ZERO, sessions.turn(0_u32)).await.is_err());
        assert!(sessions.turn(other).await.is_ok());
        drop(first);
        assert!(sessions.turn(0_u32).await.is_ok());
    }

    #[tokio::test]
    async fn a_membership_counts_until_the_route_is_newer() {
        let sessions = sessions();
        let mut route = route_for_tests("t1");
        let key = (Arc::clone(&route.tenant_id), user());
        let known = Membership { role: Some(Role::User), position: Position(5), loaded: Instant::now() };
        sessions.members.insert(key.clone(), known);
        route.position = Position(5);
        assert_eq!(sessions.role(&route, &user()).await.unwrap(), Some(Role::User));
        route.position = Position(6);
        assert!(sessions.role(&route, &user()).await.is_err());
        let no_member = Membership { role: None, position: Position(6), loaded: Instant::now() };
        sessions.members.insert(key, no_member);
        assert_eq!(sessions.role(&route, &user()).await.unwrap(), None);
    }
}
