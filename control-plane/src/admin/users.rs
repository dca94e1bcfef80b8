//! Users, who exist once for all tenants, and their session tokens.

use super::{Caller, directory};
use crate::serve::App;
use crate::write::{Answer, Refusal, Write, answer};
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, NaiveDateTime, Utc};
use kernel::crypto::tokens;
use kernel::domain::UserId;
use kernel::http::{ApiError, ApiPath, Code};
use kernel::store::UnitOfWork;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::FromRow;
use utoipa::ToSchema;

/// `user_token.token_type` of the tokens made here; the legacy's own are 0.
const TOKEN_TYPE: i32 = 1;

/// Lifetime of a token after its latest use unless the caller says otherwise: the legacy's 7 days.
const DEFAULT_TTL: u32 = 604_800;

/// Body of `POST /admin/users`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    #[schema(min_length = 1, max_length = 255, example = "ann")]
    pub username: String,
    #[serde(default)]
    #[schema(max_length = 255)]
    pub name: String,
    #[serde(default)]
    #[schema(max_length = 255, example = "ann@example.com")]
    pub email: String,
    #[serde(default)]
    #[schema(max_length = 20)]
    pub mobile: String,
}

/// A user.
#[derive(Serialize, FromRow, ToSchema)]
pub struct User {
    #[serde(skip)]
    id: u64,
    user_id: String,
    /// Its name for logging in. Old installations have users who share one.
    pub username: String,
    name: String,
    pub email: String,
    pub mobile: String,
    user_language: Option<String>,
    created: DateTime<Utc>,
    updated: DateTime<Utc>,
}

impl User {
    /// All users, without a condition.
    pub const SELECT: &str = "SELECT CAST(id AS UNSIGNED) AS id, user_id, username, name, email, mobile, user_language,
        created, updated FROM user_info";

    /// The row's number, in the order of creation.
    pub fn number(&self) -> u64 {
        self.id
    }
}

/// Create a user.
#[utoipa::path(post, path = "/admin/users", tag = "users", request_body = NewUser, responses(
    (status = 201, description = "The user", body = User),
    (status = 409, description = "user_exists"),
    (status = 422, description = "invalid_username, invalid_name, invalid_email, invalid_mobile")))]
pub async fn create(State(app): State<App>, caller: Caller) -> Result<Answer, ApiError> {
    let user: NewUser = caller.json()?;
    check_user(&user)?;
    answer(&app, &caller, &user).await
}

/// Names the first field that is not valid. The columns' lengths.
pub fn check_user(user: &NewUser) -> Result<(), ApiError> {
    check_length("username", &user.username, 1, 255)?;
    check_length("name", &user.name, 0, 255)?;
    check_length("email", &user.email, 0, 255)?;
    check_length("mobile", &user.mobile, 0, 20)?;
    check_email(&user.email)
}

/// Between so many characters, none of them a control character.
pub fn check_length(field: &'static str, text: &str, least: usize, most: usize) -> Result<(), ApiError> {
    if (least..=most).contains(&text.chars().count()) && !text.chars().any(char::is_control) {
        Ok(())
    } else {
        Err(ApiError::invalid(field, field, format!("{least} to {most} characters without control characters")))
    }
}

/// Empty, or with an '@' between two parts.
pub fn check_email(text: &str) -> Result<(), ApiError> {
    let parts = text.rsplit_once('@').is_some_and(|(name, domain)| !name.is_empty() && !domain.is_empty());
    if text.is_empty() || parts {
        Ok(())
    } else {
        Err(ApiError::invalid("email", "email", "an address has an '@' between two parts"))
    }
}

impl Write for NewUser {
    async fn run(&self, unit: &mut UnitOfWork, _: &str) -> Result<Answer, Refusal> {
        directory::one_at_a_time(unit).await?;
        for (field, value) in [("username", &self.username), ("email", &self.email), ("mobile", &self.mobile)] {
            directory::free(unit, field, value, None).await?;
        }
        let user_id = insert(unit, self).await?;
        let user = directory::read(unit.connection(), &user_id).await?;
        Ok(Answer::new(StatusCode::CREATED, json!(user)))
    }
}

/// Makes the user, who has been checked. It asks for nobody else's values: a stranger who signs up may not learn of them.
pub async fn insert(unit: &mut UnitOfWork, user: &NewUser) -> Result<UserId, sqlx::Error> {
    let user_id = UserId::generate();
    sqlx::query("INSERT INTO user_info (user_id, username, name, email, mobile) VALUES (?, ?, ?, ?, ?)")
        .bind(user_id.as_str())
        .bind(&user.username)
        .bind(&user.name)
        .bind(&user.email)
        .bind(&user.mobile)
        .execute(unit.connection())
        .await?;
    Ok(user_id)
}

/// Body of `POST /admin/users/{user_id}/tokens`.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// How long it counts after its latest use; 7 days unless told otherwise.
    #[serde(default)]
    #[schema(minimum = 60, maximum = 31_536_000)]
    ttl_seconds: Option<u32>,
}

/// Give a user a session token.
///
/// It is shown this once. The body may be left out.
#[utoipa::path(post, path = "/admin/users/{user_id}/tokens", tag = "sessions", request_body = Option<NewToken>, params(("user_id" = UserId, Path)), responses(
    (status = 201, description = "The token", body = IssuedToken),
    (status = 404, description = "user_not_found"),
    (status = 422, description = "invalid_user_id, invalid_ttl_seconds")))]
pub async fn issue_token(
    State(app): State<App>,
    ApiPath(user): ApiPath<String>,
    caller: Caller,
) -> Result<Answer, ApiError> {
    let body: NewToken = caller.json_or_default()?;
    let ttl = body.ttl_seconds.unwrap_or(DEFAULT_TTL);
    if !(60..=31_536_000).contains(&ttl) {
        return Err(ApiError::invalid("ttl_seconds", "ttl_seconds", "60 seconds to 365 days"));
    }
    answer(&app, &caller, &IssueToken { user_id: path_user_id(&user)?, ttl }).await
}

/// A session token.
#[derive(Serialize, ToSchema)]
struct IssuedToken<'a> {
    user_id: &'a UserId,
    /// Shown this once.
    token: String,
    expires_at: DateTime<Utc>,
}

/// The wish for a session token.
pub struct IssueToken {
    user_id: UserId,
    ttl: u32,
}

impl IssueToken {
    /// One of the usual lifetime.
    pub fn for_default_time(user_id: UserId) -> Self {
        Self { user_id, ttl: DEFAULT_TTL }
    }
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
        sqlx::query(
            "INSERT INTO user_token (user_id, token, token_type, token_expired_at, token_ttl) VALUES (?, ?, ?, ?, ?)",
        )
        .bind(self.user_id.as_str())
        .bind(tokens::session_key(&token))
        .bind(TOKEN_TYPE)
        .bind(expires_at)
        .bind(self.ttl)
        .execute(unit.connection())
        .await?;
        let issued = IssuedToken { user_id: &self.user_id, token, expires_at: expires_at.and_utc() };
        Ok(Answer::new(StatusCode::CREATED, json!(issued)))
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
