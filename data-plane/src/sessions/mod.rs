//! [`Sessions`]: which user a token belongs to.
//!
//! Sessions come from the system database and are cached in memory, within bounds. Sessions of the legacy installation
//! are in Redis ([`legacy`]) and count in the default tenant only. **Guarantees.**
//! * A text that does not have the form of our tokens is refused without a look-up.
//! * A revoked session is refused from the follower's next refresh on, which forgets just that session. A read that
//!   began before the revocation is never used after it.
//! * A cached session continues until it expires, and every use postpones its expiry ([`sliding`]). So revocations and
//!   other changes cost no look-up of other sessions, and while the system database cannot be reached, known sessions
//!   continue for up to an hour.
//! * A flood of invented tokens fills a queue of its own ([`crate::lookups`]). Tokens that were looked up in vain are
//!   remembered for a moment.

mod legacy;
mod lookup;
mod sliding;
pub mod token;

pub use legacy::LegacySessions;
pub use sliding::UsedSessions;

use crate::cache::Cache;
use crate::lookups::{Asker, Lookups, count_lookup};
use kernel::crypto::tokens;
use kernel::domain::UserId;
use kernel::http::{ApiError, Code};
use moka::sync;
use sliding::Extension;
use std::sync::Arc;
use std::time::{Duration, Instant};

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
    /// By this process's clock, from the time that was left by the clock of the database. If uses have postponed the
    /// expiry, the session is looked up again at that time.
    expires: Instant,
    /// `None`: uses do not postpone its expiry.
    extension: Option<Arc<Extension>>,
}

/// The SHA-256 of a token.
type Digest = [u8; 32];

/// The most sessions that are cached, and that are remembered as known.
const MOST: u64 = 100_000;

/// How long a session is used without reading it again. So a row that was changed by hand counts some day, and a node
/// that is cut off from the system database does not honour a revoked session for ever.
const LIFETIME: Duration = Duration::from_secs(3600);

/// How long a token is remembered as one that had a session. It outlives [`LIFETIME`], so that to read a session again
/// does not wait with invented tokens.
const REMEMBERED: Duration = Duration::from_secs(86_400);

/// How long a token that has no session is not looked up again.
const NO_SESSION: Duration = Duration::from_secs(2);

/// Looks up sessions, and caches them.
pub struct Sessions {
    lookups: Arc<Lookups>,
    cached: Cache<Digest, CachedSession>,
    /// Tokens that had no session at the latest look-up.
    ended: sync::Cache<Digest, ()>,
    /// Tokens that had a session at the latest look-up, even if it was forgotten since.
    known: sync::Cache<Digest, ()>,
    legacy: Option<LegacySessions>,
    used: UsedSessions,
}

impl Sessions {
    /// Starts with empty caches.
    pub fn new(lookups: Arc<Lookups>, legacy: Option<LegacySessions>, used: UsedSessions) -> Self {
        Self {
            lookups,
            cached: Cache::new(MOST, LIFETIME, |_| 1),
            ended: sync::Cache::builder().max_capacity(10_000).time_to_live(NO_SESSION).build(),
            known: sync::Cache::builder().max_capacity(MOST).time_to_live(REMEMBERED).build(),
            legacy,
            used,
        }
    }

    /// Forgets the session of a token, because it was revoked.
    pub fn forget(&self, digest: &Digest) {
        self.cached.forget(digest);
        self.remember_end(*digest);
    }

    /// Forgets all sessions, because it is not known which ones were revoked.
    pub fn forget_all(&self) {
        self.cached.forget_all();
        self.ended.invalidate_all();
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
        if !tokens::is_session_token(token) {
            return Ok(None);
        }
        let digest = tokens::digest(token);
        if let Some(answer) = self.in_memory(&digest) {
            count_lookup("session", true);
            return Ok(answer);
        }
        count_lookup("session", false);
        let asker = if self.known.contains_key(&digest) { Asker::Known } else { Asker::Stranger };
        let _turn = self.lookups.turn(asker, digest).await?;
        // Another request may have looked it up while this one waited.
        if let Some(answer) = self.in_memory(&digest) {
            return Ok(answer);
        }
        let (reading, asked) = (self.cached.begin(digest), Instant::now());
        let Some(found) = lookup::session(self.lookups.pool(), token).await? else {
            self.remember_end(digest);
            return Ok(None);
        };
        let user_id = Arc::new(found.user_id);
        let extension = found.lifetime.map(|lifetime| Arc::new(Extension::new(found.row, lifetime, found.left)));
        let session = CachedSession { user_id: Arc::clone(&user_id), expires: asked + found.left, extension };
        self.note_use(&session);
        self.known.insert(digest, ());
        reading.store(session);
        Ok(Some(user_id))
    }

    fn in_memory(&self, digest: &Digest) -> Option<Option<Arc<UserId>>> {
        if let Some(session) = self.cached.get(digest).filter(|session| Instant::now() < session.expires) {
            self.note_use(&session);
            return Some(Some(session.user_id));
        }
        self.ended.contains_key(digest).then_some(None)
    }

    fn remember_end(&self, digest: Digest) {
        self.known.invalidate(&digest);
        self.ended.insert(digest, ());
    }

    fn note_use(&self, session: &CachedSession) {
        if let Some(extension) = &session.extension {
            extension.touch(&self.used);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lookups::tests::unanswered;
    use secrecy::ExposeSecret;

    /// Sessions whose database never answers, so every answer comes from the cache.
    fn sessions() -> Sessions {
        Sessions::new(Arc::new(unanswered()), None, UsedSessions::default())
    }

    fn user() -> Arc<UserId> {
        Arc::new("u1".parse().unwrap())
    }

    fn cached(sessions: &Sessions, left: Duration) -> String {
        let token = tokens::new_session_token().expose_secret().to_owned();
        let session = CachedSession { user_id: user(), expires: Instant::now() + left, extension: None };
        sessions.cached.begin(tokens::digest(&token)).store(session);
        token
    }

    #[tokio::test]
    async fn a_cached_session_counts_until_it_expires_or_is_revoked() {
        let sessions = sessions();
        let [first, second] = [(); 2].map(|()| cached(&sessions, Duration::from_secs(60)));
        let expired = cached(&sessions, Duration::ZERO);
        assert_eq!(sessions.user(&first).await.unwrap(), Some(user()));
        assert!(sessions.user(&expired).await.is_err(), "an expired session is looked up again");
        sessions.forget(&tokens::digest(&first));
        assert_eq!(sessions.user(&first).await.unwrap(), None, "a revoked session is refused without a look-up");
        assert_eq!(sessions.user(&second).await.unwrap(), Some(user()), "another session stays");
        sessions.forget_all();
        assert_eq!(sessions.user(&second).await.unwrap_err().code(), Code::Unavailable);
    }

    #[tokio::test]
    async fn a_text_without_the_form_of_a_token_is_not_looked_up() {
        let sessions = sessions();
        for text in ["", "x", "usr_", "usr_nonsense", &"0".repeat(64)] {
            assert_eq!(sessions.user(text).await.unwrap(), None, "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn known_sessions_do_not_wait_for_invented_tokens() {
        let sessions = sessions();
        let known = cached(&sessions, Duration::ZERO);
        sessions.known.insert(tokens::digest(&known), ());
        let _stranger = sessions.lookups.turn(Asker::Stranger, 0).await.unwrap();
        let began = tokio::time::Instant::now();
        let invented = tokens::new_session_token();
        assert!(sessions.user(invented.expose_secret()).await.is_err());
        assert!(began.elapsed() >= crate::lookups::WAIT, "an invented token waits for its turn");
        let began = tokio::time::Instant::now();
        assert!(sessions.user(&known).await.is_err(), "the database does not answer");
        assert!(began.elapsed() < crate::lookups::WAIT, "a known session does not wait for a turn");
    }
}
