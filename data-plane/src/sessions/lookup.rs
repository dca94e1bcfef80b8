//! What the system database says of a token and of a membership.

use super::WAIT;
use kernel::crypto::tokens;
use kernel::domain::{Role, TenantId, UserId};
use kernel::error::chain;
use kernel::http::{ApiError, Code};
use sqlx::MySqlPool;
use std::time::Duration;

/// A session that lives.
pub struct Found {
    /// `user_token.id`.
    pub row: i64,
    /// Whose.
    pub user_id: UserId,
    /// How long it lasts, by the database's clock.
    pub left: Duration,
    /// How long it lasts after a use; `None`: uses do not matter.
    pub lifetime: Option<Duration>,
}

/// The session of a token.
pub async fn session(pool: &MySqlPool, token: &str) -> Result<Option<Found>, ApiError> {
    let key = tokens::session_key(token);
    let rows: Vec<(String, i64, String, i64, Option<u32>)> = bounded(
        sqlx::query_as(
            "SELECT token, id, user_id, TIMESTAMPDIFF(SECOND, UTC_TIMESTAMP(), token_expired_at), token_ttl FROM user_token
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

/// The role of a user in a tenant, if they have one.
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
        role.parse().inspect_err(|_| tracing::error!(%tenant, role, "a member has an unknown role and is refused")).ok()
    }))
}

/// An answer of the system database within the time a request may wait for one, else 503.
pub async fn bounded<T>(asking: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, ApiError> {
    match tokio::time::timeout(WAIT, asking).await {
        Ok(answer) => answer.map_err(|error| {
            tracing::warn!(cause = %chain(&error), "the system database did not answer a look-up");
            Code::Unavailable.into()
        }),
        Err(_) => {
            tracing::warn!("the system database did not answer a look-up in time");
            Err(Code::Unavailable.into())
        }
    }
}
