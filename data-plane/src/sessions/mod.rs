//! [`Sessions`]: which user a token belongs to, and which role the user has in a tenant.
//!
//! Both come from the system database and are cached in memory, within bounds. Sessions of the legacy installation are
//! in Redis ([`legacy`]) and count in the default tenant only. **Guarantees.**
//! * A revoked session is refused from the follower's next refresh on. A cached session counts only in the epoch in
//!   which its loading began, and every revocation begins a new epoch. Its expiry is checked on every use, and every
//!   use postpones the expiry ([`sliding`]).
//! * A changed membership takes effect with the follower's next refresh. A cached one counts only while the tenant's
//!   route has no newer position than the one known before it was loaded. So a load that began before a change is never
//!   used after it.
//! * Ids are compared here, byte for byte, because the database's collation treats `U1` and `u1` as equal.
//! * Unknown tokens are cached too, for a moment, and look-ups have a queue of their own. So a flood of bad tokens
//!   fills that queue and does not stop the node.
//! * When several requests need the same look-up at once, it is done once.

mod legacy;
mod lookup;
mod sliding;
pub mod token;

pub use legacy::LegacySessions;
pub use lookup::{bounded, count_lookup};
pub use sliding::UsedSessions;

use crate::gate::{Gate, Permit};
use crate::routing::{Limits, Route};
use kernel::crypto::tokens;
use kernel::domain::{Position, Role, TenantId, UserId};
use kernel::http::{ApiError, Code};
use moka::sync::Cache;
use sliding::Extension;
use sqlx::MySqlPool;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, MutexGuard};

/// Longest time that a request waits for its look-up to begin, and again for the answer.
const WAIT: Duration = Duration::from_secs(1);

/// The most look-ups that wait.
const QUEUE: u32 = 512;

/// The user of a token, by the kind of session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Session {
    /// A session in the system database. It counts in every tenant of the user.
    Own(Arc<UserId>),
    /// A session of the legacy installation. It counts in the default tenant, which continues that installation.
    Legacy(Arc<UserId>),
}

/// Why a token has no session.
#[derive(Debug)]
pub enum NoSession {
    /// This installation did not issue the token.
    Unrecognised,
    /// The session has expired, was revoked, or never existed.
    Ended,
    /// The database or Redis that knows the session does not answer.
    Unavailable(ApiError),
}

impl From<ApiError> for NoSession {
    fn from(error: ApiError) -> Self {
        Self::Unavailable(error)
    }
}

impl From<NoSession> for ApiError {
    fn from(why: NoSession) -> Self {
        match why {
            NoSession::Unrecognised | NoSession::Ended => Code::Unauthenticated.into(),
            NoSession::Unavailable(error) => error,
        }
    }
}

/// A valid session from the system database.
#[derive(Clone)]
struct CachedSession {
    user_id: Arc<UserId>,
    /// By this process's clock, from the time that was left by the clock of the database.
    expires: Instant,
    epoch: u64,
    /// `None`: uses do not postpone its expiry.
    extension: Option<Arc<Extension>>,
}

/// A user's role in a tenant; `None`: the user is no member.
#[derive(Clone, Copy)]
struct Membership {
    role: Option<Role>,
    /// Position of the tenant's route before it was loaded.
    position: Position,
    loaded: Instant,
}

/// Looks up sessions and memberships, and caches them.
pub struct Sessions {
    pool: MySqlPool,
    lookups: Gate,
    stripes: [Mutex<()>; STRIPES],
    stripe_of: RandomState,
    epoch: AtomicU64,
    sessions: Cache<[u8; 32], CachedSession>,
    unknown: Cache<[u8; 32], u64>,
    members: Cache<(Arc<TenantId>, Arc<UserId>), Membership>,
    legacy: Option<LegacySessions>,
    used: UsedSessions,
}

/// How long "this user is no member" is cached if no event invalidates it.
const NO_MEMBER: Duration = Duration::from_secs(5);

/// The number of striped locks for look-ups: few enough to cost nothing, and enough that different look-ups seldom
/// share one.
const STRIPES: usize = 256;

impl Sessions {
    /// Starts with empty caches, and uses at most `lookups` connections of `pool` at once.
    pub fn new(pool: MySqlPool, lookups: u32, legacy: Option<LegacySessions>, used: UsedSessions) -> Self {
        Self {
            pool,
            lookups: Gate::new("lookup", Limits::new(lookups, QUEUE)),
            stripes: std::array::from_fn(|_| Mutex::new(())),
            stripe_of: RandomState::new(),
            epoch: AtomicU64::new(0),
            sessions: Cache::builder().max_capacity(100_000).time_to_live(Duration::from_secs(60)).build(),
            unknown: Cache::builder().max_capacity(10_000).time_to_live(Duration::from_secs(2)).build(),
            members: Cache::builder().max_capacity(200_000).time_to_live(Duration::from_secs(300)).build(),
            legacy,
            used,
        }
    }

    /// Empties the cache of sessions, because some were revoked.
    pub fn forget_sessions(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
        self.sessions.invalidate_all();
        self.unknown.invalidate_all();
    }

    /// Empties all caches, because positions cannot be compared with earlier ones.
    pub fn forget_everything(&self) {
        self.forget_sessions();
        self.members.invalidate_all();
    }

    /// The session of a token.
    pub async fn session(&self, token: &str) -> Result<Session, NoSession> {
        match &self.legacy {
            Some(legacy) if LegacySessions::has_legacy_form(token) => legacy.user(token).await.map(Session::Legacy),
            _ => self.user(token).await?.map(Session::Own).ok_or(NoSession::Ended),
        }
    }

    /// The user of a session in the system database; `None`: the token is unknown or has expired.
    async fn user(&self, token: &str) -> Result<Option<Arc<UserId>>, ApiError> {
        let key = tokens::digest(token);
        if let Some(known) = self.known_session(&key) {
            count_lookup("session", true);
            return Ok(known);
        }
        count_lookup("session", false);
        let _permit = self.lookup_permit(&key).await?;
        // Another request may have looked it up while this one waited.
        if let Some(known) = self.known_session(&key) {
            return Ok(known);
        }
        let epoch = self.epoch.load(Ordering::Acquire);
        let asked = Instant::now();
        match lookup::session(&self.pool, token).await? {
            Some(found) => {
                let user_id = Arc::new(found.user_id);
                let extension =
                    found.lifetime.map(|lifetime| Arc::new(Extension::new(found.row, lifetime, found.left)));
                let session =
                    CachedSession { user_id: Arc::clone(&user_id), expires: asked + found.left, epoch, extension };
                self.note_use(&session);
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
        let counts = |session: &CachedSession| session.epoch == epoch && Instant::now() < session.expires;
        if let Some(session) = self.sessions.get(key).filter(counts) {
            self.note_use(&session);
            return Some(Some(session.user_id));
        }
        self.unknown.get(key).filter(|of_epoch| *of_epoch == epoch).map(|_| None)
    }

    fn note_use(&self, session: &CachedSession) {
        if let Some(extension) = &session.extension {
            extension.touch(&self.used);
        }
    }

    /// The role of a user in a tenant; `None`: the user is no member.
    pub async fn role(&self, route: &Route, user_id: &Arc<UserId>) -> Result<Option<Role>, ApiError> {
        let key = (Arc::clone(&route.tenant_id), Arc::clone(user_id));
        let known = self.known_member(&key, route.position);
        count_lookup("member", known.is_some());
        if let Some(known) = known {
            return Ok(known.role);
        }
        let _permit = self.lookup_permit(&key).await?;
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

    /// Waits for a permit to look something up. Requests for the same key wait for the same striped lock, so the second
    /// one finds the answer of the first in the cache.
    async fn lookup_permit(&self, of: impl Hash) -> Result<(MutexGuard<'_, ()>, Permit), ApiError> {
        let deadline = tokio::time::Instant::now() + WAIT;
        let permit = self.lookups.enter(deadline).await.map_err(|_| ApiError::from(Code::Unavailable))?;
        let stripe = &self.stripes[usize::try_from(self.stripe_of.hash_one(of)).unwrap_or_default() % STRIPES];
        let stripe = tokio::time::timeout_at(deadline, stripe.lock()).await.map_err(|_| Code::Unavailable)?;
        Ok((stripe, permit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::route_for_tests;
    use sqlx::mysql::MySqlPoolOptions;

    /// Sessions whose database never answers, so every answer comes from the cache.
    fn sessions() -> Sessions {
        let pool = MySqlPoolOptions::new().acquire_timeout(Duration::from_millis(50));
        Sessions::new(pool.connect_lazy("mysql://nobody@127.0.0.1:9/none").unwrap(), 2, None, UsedSessions::default())
    }

    fn user() -> Arc<UserId> {
        Arc::new("u1".parse().unwrap())
    }

    fn cache_session(sessions: &Sessions, token: &str, left: Duration) {
        let epoch = sessions.epoch.load(Ordering::Acquire);
        let session = CachedSession { user_id: user(), expires: Instant::now() + left, epoch, extension: None };
        sessions.sessions.insert(tokens::digest(token), session);
    }

    #[tokio::test]
    async fn a_cached_session_counts_until_it_expires_or_is_revoked() {
        let sessions = sessions();
        cache_session(&sessions, "a", Duration::from_secs(60));
        cache_session(&sessions, "b", Duration::ZERO);
        assert_eq!(sessions.user("a").await.unwrap(), Some(user()));
        assert!(sessions.user("b").await.is_err(), "an expired session is looked up again");
        sessions.unknown.insert(tokens::digest("b"), 0);
        assert_eq!(sessions.user("b").await.unwrap(), None);
        sessions.forget_sessions();
        assert_eq!(sessions.user("a").await.unwrap_err().code(), Code::Unavailable);
    }

    #[tokio::test]
    async fn a_session_loaded_before_a_revocation_is_not_used() {
        let sessions = sessions();
        let before = CachedSession { user_id: user(), expires: Instant::now() + WAIT, epoch: 0, extension: None };
        sessions.forget_sessions();
        sessions.sessions.insert(tokens::digest("a"), before);
        assert!(sessions.user("a").await.is_err());
    }

    #[tokio::test]
    async fn equal_lookups_wait_for_each_other() {
        let sessions = sessions();
        let stripe = |key: u32| sessions.stripe_of.hash_one(key) % STRIPES as u64;
        let other = (1..).find(|key| stripe(*key) != stripe(0)).unwrap();
        let first = sessions.lookup_permit(0_u32).await.unwrap();
        assert!(tokio::time::timeout(Duration::ZERO, sessions.lookup_permit(0_u32)).await.is_err());
        assert!(sessions.lookup_permit(other).await.is_ok());
        drop(first);
        assert!(sessions.lookup_permit(0_u32).await.is_ok());
    }

    #[tokio::test]
    async fn a_cached_membership_counts_until_the_route_is_newer() {
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
