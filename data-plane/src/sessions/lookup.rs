//! The query for a session in the system database.

use crate::lookups::bounded;
use kernel::crypto::tokens;
use kernel::domain::UserId;
use kernel::http::ApiError;
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
