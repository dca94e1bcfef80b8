//! The queries for sessions and memberships in the system database, with the deadline of all look-ups.

use super::WAIT;
use kernel::crypto::tokens;
use kernel::domain::{Role, TenantId, UserId};
use kernel::error::chain;
use kernel::http::{ApiError, Code};
use kernel::process::telemetry::names;
use sqlx::MySqlPool;
use std::time::Duration;

/// A session that has not expired.
pub struct Found {
    /// `user_token.id`.
    pub row: i64,
    pub user_id: UserId,
    /// The time until it expires, by the clock of the database.
    pub left: Duration,
    /// How long it lasts after each use; `None`: uses do not postpone its expiry.
    pub lifetime: Option<Duration>,
}

/// The session of a token, if it exists and has not expired.
pub async fn session(pool: &MySqlPool, token: &str) -> Result<Option<Found>, ApiError> {
    let key = tokens::session_key(token);
    let rows: Vec<(String, i64, String, i64, Option<u32>)> = bounded(
        sqlx::query_as(
            "SELECT token, id, user_id, TIMESTAMPDIFF(SECOND, UTC_TIMESTAMP(), token_expired_at), token_ttl
             FROM user_token
             WHERE token = ? AND token_expired_at > UTC_TIMESTAMP() ORDER BY token_expired_at DESC LIMIT 8",
        )
        .bind(&key)
        .fetch_all(pool),
    )
    .await?;
    Ok(rows.into_iter().filter(|(token, ..)| *token == key).find_map(|(_, row, user_id, left, lifetime)| {
        let seconds = |lifetime: u32| Duration::from_secs(lifetime.into());
        Some(Found {
            row,
            user_id: user_id.parse().ok()?,
            left: Duration::from_secs(u64::try_from(left).ok()?),
            lifetime: lifetime.map(seconds),
        })
    }))
}

/// The role of a user in a tenant, if the user is a member.
pub async fn role(pool: &MySqlPool, tenant: &TenantId, user: &UserId) -> Result<Option<Role>, ApiError> {
    let rows: Vec<(String, Option<String>)> = bounded(
        sqlx::query_as(
            "SELECT user_id, role FROM saas_tenant_users
             WHERE tenant_id = ? AND user_id = ? AND deleted = 0 AND status = 1",
        )
        .bind(tenant.as_str())
        .bind(user.as_str())
        .fetch_all(pool),
    )
    .await?;
    let role = rows.into_iter().find(|(user_id, _)| user_id == user.as_str()).map(|(_, role)| role.unwrap_or_default());
    Ok(role.and_then(|role| {
        role.parse()
            .inspect_err(|_| tracing::error!(%tenant, role, "the node refuses a member whose role is unknown"))
            .ok()
    }))
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
