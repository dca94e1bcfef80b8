//! A user's session tokens after they were made: which ones count, and ending one.
//!
//! A token is named by its row's id; the token itself is kept hashed and never shown again. **Guarantee:** the row goes
//! and the count of revocations rises in one transaction, and every data node reads that count with the head of the
//! event log, at least once a second: then it forgets all sessions it has kept.

use super::Caller;
use super::users::{path_user_id, require_user};
use crate::serve::App;
use crate::write::{Answer, Refusal, Write, answer};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use kernel::domain::UserId;
use kernel::http::{ApiError, ApiPath, Code};
use kernel::store::UnitOfWork;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// The sessions of a user.
#[derive(Serialize, ToSchema)]
pub struct Tokens {
    user_id: UserId,
    tokens: Vec<Token>,
}

/// A session token, without the token.
#[derive(Serialize, ToSchema)]
pub struct Token {
    /// Text, because a number above 2^53 is another one to JavaScript.
    id: String,
    #[schema(format = DateTime)]
    created_at: Option<String>,
    #[schema(format = DateTime)]
    expires_at: Option<String>,
}

/// A user's session tokens that count now, the newest first, at most 1,000. The tokens themselves are not kept.
#[utoipa::path(get, path = "/admin/users/{user_id}/tokens", tag = "sessions", params(("user_id" = UserId, Path)), responses(
    (status = 200, description = "The tokens", body = Tokens),
    (status = 404, description = "user_not_found"),
    (status = 422, description = "invalid_user_id")))]
pub async fn list(State(app): State<App>, ApiPath(user): ApiPath<String>, _: Caller) -> Result<Json<Tokens>, ApiError> {
    // Legacy rows may hold the token itself, and open nothing: only hashed ones are sessions.
    const TOKENS: &str = "SELECT id, DATE_FORMAT(created, '%Y-%m-%dT%H:%i:%sZ'),
               DATE_FORMAT(token_expired_at, '%Y-%m-%dT%H:%i:%sZ')
        FROM user_token WHERE user_id = ? AND CAST(user_id AS BINARY) = ? AND token LIKE 'sha256:%'
             AND token_expired_at > UTC_TIMESTAMP()
        ORDER BY id DESC LIMIT 1000";
    let user_id = path_user_id(&user)?;
    let mut unit = app.store.begin().await.map_err(|error| ApiError::database(&error))?;
    require_user(&mut unit, &user_id).await?;
    let rows: Vec<(i64, Option<String>, Option<String>)> = sqlx::query_as(TOKENS)
        .bind(user_id.as_str())
        .bind(user_id.as_str())
        .fetch_all(unit.connection())
        .await
        .map_err(|error| ApiError::database(&error))?;
    let tokens =
        rows.into_iter().map(|(id, created_at, expires_at)| Token { id: id.to_string(), created_at, expires_at });
    Ok(Json(Tokens { user_id, tokens: tokens.collect() }))
}

/// End a session: within moments every node refuses its token.
#[utoipa::path(delete, path = "/admin/users/{user_id}/tokens/{id}", tag = "sessions", params(("user_id" = UserId, Path), ("id" = String, Path, pattern = "^[0-9]{1,18}$", description = "As the list has it")), responses(
    (status = 204, description = "Done"),
    (status = 404, description = "not_found"),
    (status = 422, description = "invalid_user_id, invalid_token_id")))]
pub async fn revoke(
    State(app): State<App>,
    ApiPath((user, id)): ApiPath<(String, String)>,
    caller: Caller,
) -> Result<Answer, ApiError> {
    let id = id.parse().map_err(|_| ApiError::invalid("token_id", "id", "a number, as the list has it"))?;
    answer(&app, &caller, &Revoke { user_id: path_user_id(&user)?, id }).await
}

struct Revoke {
    user_id: UserId,
    id: i64,
}

impl Write for Revoke {
    async fn run(&self, unit: &mut UnitOfWork, actor: &str) -> Result<Answer, Refusal> {
        let revoked = sqlx::query(
            "DELETE FROM user_token
             WHERE id = ? AND user_id = ? AND CAST(user_id AS BINARY) = ? AND token LIKE 'sha256:%'",
        )
        .bind(self.id)
        .bind(self.user_id.as_str())
        .bind(self.user_id.as_str())
        .execute(unit.connection())
        .await?;
        if revoked.rows_affected() == 0 {
            return Err(Code::NotFound.into());
        }
        sqlx::query("UPDATE saas_heads SET position = position + 1 WHERE name = 'sessions'")
            .execute(unit.connection())
            .await?;
        tracing::info!(actor, user_id = %self.user_id, token = self.id, "a session token is revoked");
        Ok(Answer::new(StatusCode::NO_CONTENT, Value::Null))
    }
}
