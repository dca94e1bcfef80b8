//! Session tokens of a user: issued, listed, revoked. A token is named by the number of its row; the token itself is
//! stored hashed and never shown again.

use crate::admin::answer::{Answer, answer};
use crate::admin::{Caller, parse};
use crate::app::App;
use crate::commands::{DEFAULT_TTL, IssueToken, IssuedToken, RevokeToken, require_user};
use axum::Json;
use axum::extract::State;
use kernel::domain::UserId;
use kernel::http::{ApiError, ApiPath};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Body of `POST /admin/users/{user_id}/tokens`.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// Seconds that it lasts after its latest use; 7 days by default.
    #[serde(default)]
    #[schema(minimum = 60, maximum = 31_536_000)]
    ttl_seconds: Option<u32>,
}

/// Give a user a session token.
///
/// It is shown this once. The body may be left out.
#[utoipa::path(
    post, path = "/admin/users/{user_id}/tokens", tag = "sessions",
    request_body = Option<NewToken>,
    params(("user_id" = UserId, Path)),
    responses(
        (status = 201, description = "The token", body = IssuedToken),
        (status = 404, description = "user_not_found"),
        (status = 422, description = "invalid_user_id, invalid_ttl_seconds"),
    ),
)]
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
    answer(&app, &caller, &IssueToken { user_id: parse::user_id(&user)?, ttl }, Answer::created).await
}

/// The sessions of a user.
#[derive(Serialize, ToSchema)]
pub struct Tokens {
    user_id: UserId,
    tokens: Vec<Token>,
}

/// A session token, without the token.
#[derive(Serialize, ToSchema)]
pub struct Token {
    /// Text, because JavaScript reads a number above 2^53 as another number.
    id: String,
    #[schema(format = DateTime)]
    created_at: Option<String>,
    #[schema(format = DateTime)]
    expires_at: Option<String>,
}

/// A user's valid session tokens, the newest first, at most 1,000. Only hashes of tokens are stored, so none is shown.
#[utoipa::path(
    get, path = "/admin/users/{user_id}/tokens", tag = "sessions",
    params(("user_id" = UserId, Path)),
    responses(
        (status = 200, description = "The tokens", body = Tokens),
        (status = 404, description = "user_not_found"),
        (status = 422, description = "invalid_user_id"),
    ),
)]
pub async fn list(State(app): State<App>, ApiPath(user): ApiPath<String>, _: Caller) -> Result<Json<Tokens>, ApiError> {
    // Rows of the old application may hold the token itself. They open nothing: only hashed tokens are sessions.
    const TOKENS: &str = "SELECT id, DATE_FORMAT(created, '%Y-%m-%dT%H:%i:%sZ'),
               DATE_FORMAT(token_expired_at, '%Y-%m-%dT%H:%i:%sZ')
        FROM user_token WHERE user_id = ? AND CAST(user_id AS BINARY) = ? AND token LIKE 'sha256:%'
             AND token_expired_at > UTC_TIMESTAMP()
        ORDER BY id DESC LIMIT 1000";
    let user_id = parse::user_id(&user)?;
    let mut unit = app.store.begin().await?;
    require_user(&mut unit, &user_id).await?;
    let rows: Vec<(i64, Option<String>, Option<String>)> =
        sqlx::query_as(TOKENS).bind(user_id.as_str()).bind(user_id.as_str()).fetch_all(unit.connection()).await?;
    let tokens =
        rows.into_iter().map(|(id, created_at, expires_at)| Token { id: id.to_string(), created_at, expires_at });
    Ok(Json(Tokens { user_id, tokens: tokens.collect() }))
}

/// End a session: within moments every node refuses its token.
#[utoipa::path(
    delete, path = "/admin/users/{user_id}/tokens/{id}", tag = "sessions",
    params(
        ("user_id" = UserId, Path),
        ("id" = String, Path, pattern = "^[0-9]{1,18}$", description = "As the list has it"),
    ),
    responses(
        (status = 204, description = "Done"),
        (status = 404, description = "not_found"),
        (status = 422, description = "invalid_user_id, invalid_token_id"),
    ),
)]
pub async fn revoke(
    State(app): State<App>,
    ApiPath((user, id)): ApiPath<(String, String)>,
    caller: Caller,
) -> Result<Answer, ApiError> {
    let id = id.parse().map_err(|_| ApiError::invalid("token_id", "id", "a number, as the list has it"))?;
    answer(&app, &caller, &RevokeToken { user_id: parse::user_id(&user)?, id }, Answer::no_content).await
}
