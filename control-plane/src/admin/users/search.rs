//! Finding users, reading and changing one.

use crate::admin::answer::{Answer, answer};
use crate::admin::{Caller, parse};
use crate::app::App;
use crate::commands::{ChangeUser, User, UserChange, find_user, push_same_value};
use crate::cursor::Page;
use axum::Json;
use axum::extract::State;
use kernel::domain::{UserId, VisibleText};
use kernel::http::{ApiError, ApiPath, ApiQuery, Code};
use serde::{Deserialize, Serialize};
use sqlx::QueryBuilder;
use utoipa::{IntoParams, ToSchema};

/// Query of `GET /admin/users`.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Search {
    /// Only users of this name; case does not matter.
    username: Option<String>,
    /// Only users of this address; case does not matter.
    email: Option<String>,
    /// Only users of this number.
    mobile: Option<String>,
    /// Most rows of the page; 50 by default.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 500)]
    limit: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// A page of users.
#[derive(Serialize, ToSchema)]
pub struct Users {
    users: Vec<User>,
    /// Where the next page begins; null on the last one.
    next_cursor: Option<String>,
}

/// Users, oldest first; by username, email or mobile.
#[utoipa::path(
    get, path = "/admin/users", tag = "users",
    params(Search),
    responses(
        (status = 200, description = "A page", body = Users),
        (status = 422, description = "invalid_limit, invalid_cursor"),
    ),
)]
pub async fn find(
    State(app): State<App>,
    ApiQuery(search): ApiQuery<Search>,
    _: Caller,
) -> Result<Json<Users>, ApiError> {
    let page = Page::parse('u', search.limit.as_deref(), search.cursor.as_deref(), (50, 500))?;
    let mut query = QueryBuilder::new(User::SELECT);
    query.push(" WHERE id > ").push_bind(page.after);
    for (column, value) in [("username", search.username), ("email", search.email), ("mobile", search.mobile)] {
        if let Some(value) = value {
            // Values are stored as a visible text. One that is none may be that of an old row.
            let value = value.parse().map_or_else(|_| value.trim().to_owned(), VisibleText::into_string);
            push_same_value(&mut query, column, value);
        }
    }
    query.push(" ORDER BY id LIMIT ").push_bind(page.rows());
    let rows = query.build_query_as().fetch_all(app.store.pool()).await?;
    let (users, next_cursor) = page.cut(rows, User::number);
    Ok(Json(Users { users, next_cursor }))
}

/// A user.
#[utoipa::path(
    get, path = "/admin/users/{user_id}", tag = "users",
    params(("user_id" = UserId, Path)),
    responses(
        (status = 200, description = "The user", body = User),
        (status = 404, description = "user_not_found"),
        (status = 422, description = "invalid_user_id"),
    ),
)]
pub async fn get(State(app): State<App>, ApiPath(user): ApiPath<String>, _: Caller) -> Result<Json<User>, ApiError> {
    let user_id = parse::user_id(&user)?;
    let user = find_user(&mut *app.store.pool().acquire().await?, &user_id).await?;
    user.map(Json).ok_or(Code::UserNotFound.into())
}

/// Change a user.
#[utoipa::path(
    patch, path = "/admin/users/{user_id}", tag = "users",
    params(("user_id" = UserId, Path)),
    request_body = UserChange,
    responses(
        (status = 200, description = "The user", body = User),
        (status = 404, description = "user_not_found"),
        (status = 409, description = "user_exists"),
        (
            status = 422,
            description = "invalid_user_id, invalid_username, invalid_name, invalid_email, invalid_mobile, \
                invalid_user_language",
        ),
    ),
)]
pub async fn change(
    State(app): State<App>,
    ApiPath(user): ApiPath<String>,
    caller: Caller,
) -> Result<Answer, ApiError> {
    let change: UserChange = caller.json()?;
    let user_id = parse::user_id(&user)?;
    let visible = |field, value: Option<String>, least, most| {
        value.map(|value| parse::visible(field, &value, least, most)).transpose()
    };
    let change = UserChange {
        username: visible("username", change.username, 1, 255)?,
        name: visible("name", change.name, 0, 255)?,
        mobile: visible("mobile", change.mobile, 0, 20)?,
        user_language: visible("user_language", change.user_language, 0, 30)?,
        email: change.email.as_deref().map(parse::email).transpose()?,
    };
    answer(&app, &caller, &ChangeUser { user_id, change }, Answer::ok).await
}
