//! [`LegacySessions`]: sessions of the legacy installation stay valid, so no user has to log in again.
//!
//! The token is a JWT (HS256 with the installation's secret, without an expiry of its own). It counts while the Redis
//! key `ai-shifu:user:<token>` holds its user's id, and each use makes the key last 7 days again. The signature alone
//! decides who the user is. What Redis holds can end a session but never change its user, so even a Redis full of
//! forged values grants nothing.
//!
//! **Guarantees.**
//! * A session whose key is gone is refused within a second, because an answer of Redis counts for [`FRESH`] only.
//! * The node asks Redis at most once per session and [`FRESH`], and never asks the system database.
//! * Every wait is bounded by [`TIMEOUT`]. While Redis does not answer, it cannot end a session either: sessions seen
//!   within the last [`OUTAGE_GRACE`] continue, others get 503, and no user is treated as logged out.

use super::NoSession;
use crate::gate::Gate;
use crate::routing::Limits;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use kernel::crypto::tokens;
use kernel::domain::UserId;
use kernel::http::Code;
use kernel::process::config::{ConfigError, wrong};
use kernel::process::telemetry::names;
use moka::sync::Cache;
use redis::aio::ConnectionManager;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long an answer of Redis counts. Together with the wait for the answer it stays below one second.
const FRESH: Duration = Duration::from_millis(600);

/// How long an answer counts while Redis does not answer.
const OUTAGE_GRACE: Duration = Duration::from_secs(60);

/// Longest wait for one answer of Redis.
const TIMEOUT: Duration = Duration::from_millis(300);

/// How long the node does not ask Redis again after it did not answer.
const PAUSE: Duration = Duration::from_millis(500);

/// Seconds that a session lasts after each use: `TOKEN_EXPIRE_TIME` of the legacy application.
const LIFETIME: u32 = 604_800;

/// The prefix of a token's key in Redis.
const PREFIX: &str = "ai-shifu:user:";

/// Checks and extends a session in one round trip. With `pcall`, a key of another type counts as no session, and a
/// replica that cannot extend the key does not refuse the session.
const CHECK: &str = "if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then return 0 end \
                     redis.pcall('EXPIRE', KEYS[1], ARGV[2]) return 1";

/// How many checks run at once, and how many wait.
const CHECKS: Limits = Limits { concurrency: 64, queue: 512, rate: None };

/// Checks sessions of the legacy installation.
pub struct LegacySessions {
    key: DecodingKey,
    validation: Validation,
    redis: ConnectionManager,
    checks: Gate,
    known: Cache<[u8; 32], Known>,
    base: Instant,
    /// In milliseconds since `base`. Before that time the node does not ask Redis.
    silent_until: AtomicU64,
}

#[derive(Clone)]
struct Known {
    user_id: Arc<UserId>,
    /// The time before Redis was asked.
    asked: Instant,
}

#[derive(Deserialize)]
struct Claims {
    user_id: String,
}

/// What Redis answers about a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Alive,
    Ended,
    Missing,
}

impl LegacySessions {
    /// Takes the settings `LEGACY_SECRET_KEY` and `REDIS_URL`. Without the former there are no legacy sessions.
    pub fn new(secret: Option<&SecretString>, redis: Option<&SecretString>) -> Result<Option<Self>, ConfigError> {
        let Some(secret) = secret else { return Ok(None) };
        let redis = redis.ok_or_else(|| wrong("LEGACY_SECRET_KEY", "it needs REDIS_URL, where the sessions are"))?;
        let redis = kernel::database::redis::connection(redis, TIMEOUT)?;
        let mut validation = Validation::new(Algorithm::HS256);
        // As in the legacy application, a token needs no expiry, but an expiry counts to the second.
        validation.required_spec_claims.clear();
        validation.validate_nbf = true;
        validation.leeway = 0;
        Ok(Some(Self {
            key: DecodingKey::from_secret(secret.expose_secret().as_bytes()),
            validation,
            redis,
            checks: Gate::new("legacy_session", CHECKS),
            known: Cache::builder().max_capacity(100_000).time_to_live(OUTAGE_GRACE).build(),
            base: Instant::now(),
            silent_until: AtomicU64::new(0),
        }))
    }

    /// Whether a token is a JWT in form. No token of the system database is.
    pub fn has_legacy_form(token: &str) -> bool {
        token.bytes().filter(|b| *b == b'.').count() == 2
    }

    /// The user of a valid session.
    pub async fn user(&self, token: &str) -> Result<Arc<UserId>, NoSession> {
        let key = tokens::digest(token);
        let known = self.known.get(&key);
        if let Some(known) = known.as_ref().filter(|known| known.asked.elapsed() < FRESH) {
            return Ok(Arc::clone(&known.user_id));
        }
        let user_id = Arc::new(self.signed(token)?);
        let asked = Instant::now();
        match self.ask(token, &user_id).await {
            Answer::Alive => {
                self.known.insert(key, Known { user_id: Arc::clone(&user_id), asked });
                Ok(user_id)
            }
            Answer::Ended => {
                self.known.invalidate(&key);
                Err(NoSession::Ended)
            }
            Answer::Missing => match known.filter(|known| known.asked.elapsed() < OUTAGE_GRACE) {
                Some(known) => Ok(known.user_id),
                None => Err(NoSession::Unavailable(Code::Unavailable.into())),
            },
        }
    }

    fn signed(&self, token: &str) -> Result<UserId, NoSession> {
        match jsonwebtoken::decode::<Claims>(token, &self.key, &self.validation) {
            Ok(token) => token.claims.user_id.parse().map_err(|_| NoSession::Unrecognised),
            Err(error) if matches!(error.kind(), ErrorKind::ExpiredSignature) => Err(NoSession::Ended),
            Err(_) => Err(NoSession::Unrecognised),
        }
    }

    async fn ask(&self, token: &str, user_id: &UserId) -> Answer {
        if self.millis() < self.silent_until.load(Ordering::Relaxed) {
            return Answer::Missing;
        }
        let deadline = tokio::time::Instant::now() + TIMEOUT;
        let Ok(_permit) = self.checks.enter(deadline).await else { return Answer::Missing };
        let mut check = redis::cmd("EVAL");
        check.arg(CHECK).arg(1).arg(format!("{PREFIX}{token}")).arg(user_id.as_str()).arg(LIFETIME);
        let mut redis = self.redis.clone();
        let asking = check.query_async::<i64>(&mut redis);
        let answer = match tokio::time::timeout_at(deadline, asking).await {
            Ok(Ok(1)) => Answer::Alive,
            Ok(Ok(_)) => Answer::Ended,
            Ok(Err(error)) => {
                tracing::debug!(%error, "Redis did not answer whether a legacy session is valid");
                Answer::Missing
            }
            Err(_) => Answer::Missing,
        };
        if answer == Answer::Missing {
            let until = self.millis() + u64::try_from(PAUSE.as_millis()).unwrap_or_default();
            if self.silent_until.swap(until, Ordering::Relaxed) < until.saturating_sub(10_000) {
                tracing::warn!("Redis does not answer: only legacy sessions seen in the last minute are accepted");
            }
        }
        let label = match answer {
            Answer::Alive => "lives",
            Answer::Ended => "ended",
            Answer::Missing => "nothing",
        };
        metrics::counter!(names::LEGACY_SESSION_CHECKS, "said" => label).increment(1);
        answer
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.base.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
#[path = "legacy_tests.rs"]
mod tests;
