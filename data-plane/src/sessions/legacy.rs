//! Sessions of the legacy installation, as they are: nobody has to log in again.
//!
//! The token is a JWT (HS256 with the installation's secret, no expiry of its own), and counts while the Redis key
//! `ai-shifu:user:<token>` holds its user's id; each use makes the key last 7 days again. Who the user is says the
//! signature alone: what Redis holds can end a session and never change whose it is, so a Redis full of somebody else's
//! values opens nothing.
//!
//! **Guarantees.**
//! * A session whose key is gone is refused within a second: an answer of Redis counts for [`FRESH`].
//! * One question to Redis per session and [`FRESH`], none in between, and the system database is not asked.
//! * Every wait is bounded by [`TIMEOUT`]. While Redis is silent nobody can end a session there either: those seen in the
//!   last [`KEPT`] go on, others are told to try again (503), and nobody is taken for logged out.

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
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long an answer of Redis counts. With the time of the answer itself it stays below the second of the promise.
const FRESH: Duration = Duration::from_millis(600);

/// How long one counts while Redis is silent: as long as our own sessions count while the system database is.
const KEPT: Duration = Duration::from_secs(60);

/// Longest wait for one answer of Redis.
const TIMEOUT: Duration = Duration::from_millis(300);

/// So long after a silence nobody asks again.
const PAUSE: Duration = Duration::from_millis(500);

/// Seconds that each use makes the session last: the legacy's `TOKEN_EXPIRE_TIME`.
const LIFETIME: u32 = 604_800;

/// What the legacy puts before a token in Redis.
const PREFIX: &str = "ai-shifu:user:";

/// One round trip. `pcall`: a key of another type is no session, and a replica that cannot extend is no reason to refuse.
const CHECK: &str = "if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then return 0 end \
                     redis.pcall('EXPIRE', KEYS[1], ARGV[2]) return 1";

/// Questions to Redis at once, and how many may wait.
const QUESTIONS: Limits = Limits { concurrency: 64, queue: 512, rate: None };

/// See the module.
pub struct LegacySessions {
    key: DecodingKey,
    validation: Validation,
    redis: ConnectionManager,
    questions: Gate,
    known: Cache<[u8; 32], Known>,
    base: Instant,
    /// Milliseconds since `base`; before it nobody asks Redis.
    silent_until: AtomicU64,
}

#[derive(Clone)]
struct Known {
    user_id: Arc<UserId>,
    /// Before Redis was asked.
    asked: Instant,
}

#[derive(Deserialize)]
struct Claims {
    user_id: String,
}

/// What Redis says of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Lives,
    Ended,
    Nothing,
}

impl LegacySessions {
    /// With the settings `LEGACY_SECRET_KEY` and `REDIS_URL`; without the former there are no legacy sessions.
    pub fn new(secret: Option<&SecretString>, redis: Option<&SecretString>) -> Result<Option<Self>, ConfigError> {
        let Some(secret) = secret else { return Ok(None) };
        let redis = redis.ok_or_else(|| wrong("LEGACY_SECRET_KEY", "it needs REDIS_URL, where the sessions are"))?;
        let client = kernel::database::redis::client(redis)?;
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(1)
            .set_max_delay(TIMEOUT)
            .set_connection_timeout(Some(TIMEOUT))
            .set_response_timeout(Some(TIMEOUT));
        let redis = ConnectionManager::new_lazy_with_config(client, config)
            .map_err(|_| wrong("REDIS_URL", "no client can be made of it"))?;
        let mut validation = Validation::new(Algorithm::HS256);
        // As the legacy decodes: an expiry is not needed, but counts if there is one, to the second.
        validation.required_spec_claims.clear();
        validation.validate_nbf = true;
        validation.leeway = 0;
        Ok(Some(Self {
            key: DecodingKey::from_secret(secret.expose_secret().as_bytes()),
            validation,
            redis,
            questions: Gate::new("legacy_session", QUESTIONS),
            known: Cache::builder().max_capacity(100_000).time_to_live(KEPT).build(),
            base: Instant::now(),
            silent_until: AtomicU64::new(0),
        }))
    }

    /// Whether a token has the form of theirs. None of ours has.
    pub fn is_one(token: &str) -> bool {
        token.bytes().filter(|b| *b == b'.').count() == 2
    }

    /// The user of a session that counts.
    pub async fn user(&self, token: &str) -> Result<Arc<UserId>, NoSession> {
        let key = tokens::digest(token);
        let known = self.known.get(&key);
        if let Some(known) = known.as_ref().filter(|known| known.asked.elapsed() < FRESH) {
            return Ok(Arc::clone(&known.user_id));
        }
        let user_id = Arc::new(self.signed(token)?);
        let asked = Instant::now();
        match self.ask(token, &user_id).await {
            Said::Lives => {
                self.known.insert(key, Known { user_id: Arc::clone(&user_id), asked });
                Ok(user_id)
            }
            Said::Ended => {
                self.known.invalidate(&key);
                Err(NoSession::Ended)
            }
            Said::Nothing => match known.filter(|known| known.asked.elapsed() < KEPT) {
                Some(known) => Ok(known.user_id),
                None => Err(NoSession::Unknown(Code::Unavailable.into())),
            },
        }
    }

    fn signed(&self, token: &str) -> Result<UserId, NoSession> {
        match jsonwebtoken::decode::<Claims>(token, &self.key, &self.validation) {
            Ok(token) => token.claims.user_id.parse().map_err(|_| NoSession::NotOurs),
            Err(error) if matches!(error.kind(), ErrorKind::ExpiredSignature) => Err(NoSession::Ended),
            Err(_) => Err(NoSession::NotOurs),
        }
    }

    async fn ask(&self, token: &str, user_id: &UserId) -> Said {
        if self.millis() < self.silent_until.load(Ordering::Relaxed) {
            return Said::Nothing;
        }
        let deadline = tokio::time::Instant::now() + TIMEOUT;
        let Ok(_turn) = self.questions.enter(deadline).await else { return Said::Nothing };
        let mut question = redis::cmd("EVAL");
        question.arg(CHECK).arg(1).arg(format!("{PREFIX}{token}")).arg(user_id.as_str()).arg(LIFETIME);
        let mut redis = self.redis.clone();
        let asking = question.query_async::<i64>(&mut redis);
        let said = match tokio::time::timeout_at(deadline, asking).await {
            Ok(Ok(1)) => Said::Lives,
            Ok(Ok(_)) => Said::Ended,
            Ok(Err(error)) => {
                tracing::debug!(%error, "Redis did not say whether a legacy session lives");
                Said::Nothing
            }
            Err(_) => Said::Nothing,
        };
        if said == Said::Nothing {
            let until = self.millis() + u64::try_from(PAUSE.as_millis()).unwrap_or_default();
            if self.silent_until.swap(until, Ordering::Relaxed) < until.saturating_sub(10_000) {
                tracing::warn!("Redis is silent: legacy sessions count that were seen in the last minute");
            }
        }
        let said_what = match said {
            Said::Lives => "lives",
            Said::Ended => "ended",
            Said::Nothing => "nothing",
        };
        metrics::counter!(names::LEGACY_SESSION_CHECKS, "said" => said_what).increment(1);
        said
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.base.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
#[path = "legacy_tests.rs"]
mod tests;
