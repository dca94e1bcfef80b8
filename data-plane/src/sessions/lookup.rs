//! What the system database says of a token and of a membership.

use super::WAIT;
use kernel::domain::{Role, TenantId, UserId};
use kernel::http::{ApiError, Code, chain};
use kernel::tokens;
use sqlx::MySqlPool;
use std::time::Duration;

/// The user of a token, and how long the session lasts by the database's clock.
pub async fn session(pool: &MySqlPool, token: &str) -> Result<Option<(UserId, Duration)>, ApiError> {
    let key = tokens::session_key(token);
    let rows: Vec<(String, String, i64)> = bounded(
        sqlx::query_as(
            "SELECT token, user_id, TIMESTAMPDIFF(SECOND, UTC_TIMESTAMP(), token_expired_at) FROM user_token
             WHERE token = ? AND token_expired_at > UTC_TIMESTAMP() ORDER BY token_expired_at DESC LIMIT 8",
        )
        .bind(&key)
        .fetch_all(pool),
    )
    .await?;
    Ok(rows
        .into_iter()
        .filter(|(token, ..)| *token == key)
        .find_map(|(_, user_id, left)| Some((user_id.parse().ok()?, Duration::from_secs(u64::try_from(left).ok()?)))))
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
