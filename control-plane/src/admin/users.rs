//! Users, who exist once for all tenants, and their session tokens.

use super::Caller;
use crate::serve::App;
use crate::write::{Answer, Refusal, Write, answer};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use chrono::NaiveDateTime;
use kernel::domain::UserId;
use kernel::http::{ApiError, Code};
use kernel::store::UnitOfWork;
use kernel::tokens;
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::json;

/// `user_token.token_type` of the tokens made here; the legacy's own are 0.
const TOKEN_TYPE: i32 = 1;

/// Lifetime of a token unless the caller says otherwise: the legacy's 7 days.
const DEFAULT_TTL: u32 = 604_800;

/// Body of `POST /admin/users`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    username: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    email: String,
    #[serde(default)]
    mobile: String,
}

/// `POST /admin/users`.
pub async fn create(State(app): State<App>, caller: Caller) -> Result<Answer, ApiError> {
    let user: NewUser = caller.json()?;
    // The columns' lengths.
    check("username", &user.username, 1, 255)?;
    check("name", &user.name, 0, 255)?;
    check("email", &user.email, 0, 255)?;
    check("mobile", &user.mobile, 0, 20)?;
    if !user.email.is_empty() && !user.email.contains('@') {
        return Err(ApiError::invalid("email", "email", "an address has an '@'"));
    }
    answer(&app, &caller, &user).await
}

fn check(field: &'static str, text: &str, least: usize, most: usize) -> Result<(), ApiError> {
    if (least..=most).contains(&text.chars().count()) && !text.chars().any(char::is_control) {
        Ok(())
    } else {
        Err(ApiError::invalid(field, field, format!("{least} to {most} characters without control characters")))
    }
}

impl Write for NewUser {
    async fn run(&self, unit: &mut UnitOfWork, _: &str) -> Result<Answer, Refusal> {
        let user_id = UserId::generate();
        sqlx::query("INSERT INTO user_info (user_id, username, name, email, mobile) VALUES (?, ?, ?, ?, ?)")
            .bind(user_id.as_str())
            .bind(&self.username)
            .bind(&self.name)
            .bind(&self.email)
            .bind(&self.mobile)
            .execute(unit.connection())
            .await?;
        let body = json!({
            "user_id": user_id, "username": self.username, "name": self.name, "email": self.email, "mobile": self.mobile,
        });
        Ok(Answer::new(StatusCode::CREATED, body))
    }
}

/// Body of `POST /admin/users/{user_id}/tokens`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    #[serde(default)]
    ttl_seconds: Option<u32>,
}

/// `POST /admin/users/{user_id}/tokens`: a session token, shown once.
pub async fn issue_token(State(app): State<App>, Path(user): Path<String>, caller: Caller) -> Result<Answer, ApiError> {
    let body: NewToken = caller.json_or_default()?;
    let ttl = body.ttl_seconds.unwrap_or(DEFAULT_TTL);
    if !(60..=31_536_000).contains(&ttl) {
        return Err(ApiError::invalid("ttl_seconds", "ttl_seconds", "60 seconds to 365 days"));
    }
    answer(&app, &caller, &IssueToken { user_id: path_user_id(&user)?, ttl }).await
}

struct IssueToken {
    user_id: UserId,
    ttl: u32,
}

impl Write for IssueToken {
    async fn run(&self, unit: &mut UnitOfWork, _: &str) -> Result<Answer, Refusal> {
        require_user(unit, &self.user_id).await?;
        let secret = tokens::new_secret();
        let token = format!("usr_{}", secret.expose_secret());
        let (expires_at,): (NaiveDateTime,) =
            sqlx::query_as("SELECT CAST(UTC_TIMESTAMP() + INTERVAL ? SECOND AS DATETIME)")
                .bind(self.ttl)
                .fetch_one(unit.connection())
                .await?;
        sqlx::query("INSERT INTO user_token (user_id, token, token_type, token_expired_at) VALUES (?, ?, ?, ?)")
            .bind(self.user_id.as_str())
            .bind(tokens::session_key(&token))
            .bind(TOKEN_TYPE)
            .bind(expires_at)
            .execute(unit.connection())
            .await?;
        let body = json!({"user_id": self.user_id, "token": token, "expires_at": expires_at.and_utc()});
        Ok(Answer::new(StatusCode::CREATED, body))
    }
}

/// A user id in a path.
pub fn path_user_id(text: &str) -> Result<UserId, ApiError> {
    text.parse().map_err(|error| ApiError::invalid("user_id", "user_id", error))
}

/// `user_not_found` unless the user exists.
pub async fn require_user(unit: &mut UnitOfWork, user_id: &UserId) -> Result<(), Refusal> {
    let found: Option<(i64,)> =
        sqlx::query_as("SELECT id FROM user_info WHERE user_id = ? AND BINARY user_id = ? LIMIT 1")
            .bind(user_id.as_str())
            .bind(user_id.as_str())
            .fetch_optional(unit.connection())
            .await?;
    found.map(drop).ok_or(Code::UserNotFound.into())
}
