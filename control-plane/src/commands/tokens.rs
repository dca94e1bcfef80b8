//! Session tokens of users.
//!
//! **Guarantee.** The row of a revoked token goes and the revocation is announced in one transaction. Every node reads
//! announcements with the head of the event log, at least twice a second, and then forgets the session.

use super::users::require_user;
use super::{Refusal, Write};
use chrono::{DateTime, NaiveDateTime, Utc};
use kernel::crypto::tokens;
use kernel::domain::UserId;
use kernel::http::Code;
use kernel::store::{Announcement, UnitOfWork, announce};
use secrecy::ExposeSecret;
use serde::Serialize;
use utoipa::ToSchema;

/// `user_token.token_type` of the tokens made here; those of the old application have 0.
const TOKEN_TYPE: i32 = 1;

/// Seconds that a token lasts after its latest use unless the caller says otherwise: 7 days, as in the old application.
pub const DEFAULT_TTL: u32 = 604_800;

/// Issues a session token.
pub struct IssueToken {
    pub user_id: UserId,
    /// Seconds that it lasts after its latest use.
    pub ttl: u32,
}

/// A session token.
#[derive(Serialize, ToSchema)]
pub struct IssuedToken {
    pub user_id: UserId,
    /// Shown this once.
    pub token: String,
    pub expires_at: DateTime<Utc>,
}

impl IssueToken {
    /// A token that lasts [`DEFAULT_TTL`].
    pub fn for_default_time(user_id: UserId) -> Self {
        Self { user_id, ttl: DEFAULT_TTL }
    }
}

impl Write for IssueToken {
    type Done = IssuedToken;

    async fn run(&self, unit: &mut UnitOfWork, _: &str) -> Result<IssuedToken, Refusal> {
        require_user(unit, &self.user_id).await?;
        let token = tokens::new_session_token();
        let token = token.expose_secret();
        let expires_at: NaiveDateTime =
            sqlx::query_scalar("SELECT CAST(UTC_TIMESTAMP() + INTERVAL ? SECOND AS DATETIME)")
                .bind(self.ttl)
                .fetch_one(unit.connection())
                .await?;
        sqlx::query(
            "INSERT INTO user_token (user_id, token, token_type, token_expired_at, token_ttl) VALUES (?, ?, ?, ?, ?)",
        )
        .bind(self.user_id.as_str())
        .bind(tokens::session_key(token))
        .bind(TOKEN_TYPE)
        .bind(expires_at)
        .bind(self.ttl)
        .execute(unit.connection())
        .await?;
        Ok(IssuedToken { user_id: self.user_id.clone(), token: token.to_owned(), expires_at: expires_at.and_utc() })
    }
}

/// Ends a session.
pub struct RevokeToken {
    pub user_id: UserId,
    /// The number of the token's row.
    pub id: i64,
}

impl Write for RevokeToken {
    type Done = ();

    async fn run(&self, unit: &mut UnitOfWork, actor: &str) -> Result<(), Refusal> {
        let stored: Option<String> = sqlx::query_scalar(
            "SELECT token FROM user_token
             WHERE id = ? AND user_id = ? AND CAST(user_id AS BINARY) = ? AND token LIKE 'sha256:%' FOR UPDATE",
        )
        .bind(self.id)
        .bind(self.user_id.as_str())
        .bind(self.user_id.as_str())
        .fetch_optional(unit.connection())
        .await?;
        let stored = stored.ok_or(Code::NotFound)?;
        let digest = tokens::stored_digest(&stored).ok_or(Code::NotFound)?;
        sqlx::query("DELETE FROM user_token WHERE id = ?").bind(self.id).execute(unit.connection()).await?;
        announce(unit.connection(), Announcement::SessionRevoked { digest }).await?;
        tracing::info!(actor, user_id = %self.user_id, token = self.id, "a session token was revoked");
        Ok(())
    }
}
