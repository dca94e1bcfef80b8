//! `POST /admin/users`.

use crate::admin::answer::{Answer, answer};
use crate::admin::{Caller, parse};
use crate::app::App;
use crate::commands::{NewUser, User};
use axum::extract::State;
use kernel::http::ApiError;

/// Create a user.
#[utoipa::path(
    post, path = "/admin/users", tag = "users",
    request_body = NewUser,
    responses(
        (status = 201, description = "The user", body = User),
        (status = 409, description = "user_exists"),
        (status = 422, description = "invalid_username, invalid_name, invalid_email, invalid_mobile"),
    ),
)]
pub async fn create(State(app): State<App>, caller: Caller) -> Result<Answer, ApiError> {
    let user = check_user(caller.json()?)?;
    answer(&app, &caller, &user, Answer::created).await
}

/// The user without blanks at the ends of values; names the first field that is not valid. The lengths are those of the
/// columns.
pub fn check_user(user: NewUser) -> Result<NewUser, ApiError> {
    Ok(NewUser {
        username: parse::visible("username", &user.username, 1, 255)?,
        name: parse::visible("name", &user.name, 0, 255)?,
        mobile: parse::visible("mobile", &user.mobile, 0, 20)?,
        email: parse::email(&user.email)?,
    })
}
