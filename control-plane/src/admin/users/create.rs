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
    let user: NewUser = caller.json()?;
    check_user(&user)?;
    answer(&app, &caller, &user, Answer::created).await
}

/// Names the first field that is not valid. The lengths are those of the columns.
pub fn check_user(user: &NewUser) -> Result<(), ApiError> {
    parse::length("username", &user.username, 1, 255)?;
    parse::length("name", &user.name, 0, 255)?;
    parse::length("email", &user.email, 0, 255)?;
    parse::length("mobile", &user.mobile, 0, 20)?;
    parse::email(&user.email)
}
