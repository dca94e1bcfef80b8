//! Finding users, reading and changing one.
//!
//! **Guarantees.** An administrator's change or new user is refused (409) if it takes a username, an email or a mobile number
//! that another user has: they are made one at a time, under the row of the count of changed users. That count rises in the
//! transaction of a change, and every data node reads it with the head of the event log, at least once a second: then it
//! forgets the profiles it keeps. Users who share a value already are left alone: old installations have some, and a stranger
//! who [signs up](super::signup) is not told what others have.

use super::Caller;
use super::page::{cut, parse_cursor};
use super::users::{User, check_email, check_length, path_user_id};
use crate::serve::App;
use crate::write::{Answer, Refusal, Write, answer};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use kernel::domain::UserId;
use kernel::http::{ApiError, ApiPath, ApiQuery, Code, parse_limit};
use kernel::store::UnitOfWork;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::{MySqlConnection, QueryBuilder};
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
    /// Most rows of the page; 50 unless told otherwise.
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
#[utoipa::path(get, path = "/admin/users", tag = "users", params(Search), responses(
    (status = 200, description = "A page", body = Users),
    (status = 422, description = "invalid_limit, invalid_cursor")))]
pub async fn find(
    State(app): State<App>,
    ApiQuery(search): ApiQuery<Search>,
    _: Caller,
) -> Result<Json<Users>, ApiError> {
    let limit = parse_limit(search.limit.as_deref(), 50, 500)?;
    let mut query = QueryBuilder::new(User::SELECT);
    query.push(" WHERE id > ").push_bind(parse_cursor('u', search.cursor.as_deref())?);
    for (column, value) in [("username", search.username), ("email", search.email), ("mobile", search.mobile)] {
        if let Some(value) = value {
            query.push(format_args!(" AND {column} = ")).push_bind(value);
        }
    }
    query.push(" ORDER BY id LIMIT ").push_bind(limit + 1);
    let rows = query.build_query_as().fetch_all(app.store.pool()).await.map_err(|error| ApiError::database(&error))?;
    let (users, next_cursor) = cut(rows, limit, 'u', User::number);
    Ok(Json(Users { users, next_cursor }))
}

/// A user.
#[utoipa::path(get, path = "/admin/users/{user_id}", tag = "users", params(("user_id" = UserId, Path)), responses(
    (status = 200, description = "The user", body = User),
    (status = 404, description = "user_not_found"),
    (status = 422, description = "invalid_user_id")))]
pub async fn get(State(app): State<App>, ApiPath(user): ApiPath<String>, _: Caller) -> Result<Json<User>, ApiError> {
    let user_id = path_user_id(&user)?;
    let read = async { read(&mut *app.store.pool().acquire().await?, &user_id).await };
    read.await.map_err(|error| ApiError::database(&error))?.map(Json).ok_or(Code::UserNotFound.into())
}

/// The user of exactly this id: the column's collation holds ids that differ in case equal.
pub async fn read(connection: &mut MySqlConnection, user_id: &UserId) -> Result<Option<User>, sqlx::Error> {
    sqlx::query_as(&format!("{} WHERE user_id = ? AND BINARY user_id = ? ORDER BY id LIMIT 1", User::SELECT))
        .bind(user_id.as_str())
        .bind(user_id.as_str())
        .fetch_optional(connection)
        .await
}

/// Body of `PATCH /admin/users/{user_id}`: what is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserChange {
    #[serde(default)]
    #[schema(min_length = 1, max_length = 255)]
    username: Option<String>,
    #[serde(default)]
    #[schema(max_length = 255)]
    name: Option<String>,
    #[serde(default)]
    #[schema(max_length = 255)]
    email: Option<String>,
    #[serde(default)]
    #[schema(max_length = 20)]
    mobile: Option<String>,
    /// Such as `zh-CN`.
    #[serde(default)]
    #[schema(max_length = 30)]
    user_language: Option<String>,
}

/// Change a user.
#[utoipa::path(patch, path = "/admin/users/{user_id}", tag = "users", params(("user_id" = UserId, Path)), request_body = UserChange, responses(
    (status = 200, description = "The user", body = User),
    (status = 404, description = "user_not_found"),
    (status = 409, description = "user_exists, conflict"),
    (status = 422, description = "invalid_user_id, invalid_username, invalid_name, invalid_email, invalid_mobile, invalid_user_language")))]
pub async fn change(
    State(app): State<App>,
    ApiPath(user): ApiPath<String>,
    caller: Caller,
) -> Result<Answer, ApiError> {
    let change: UserChange = caller.json()?;
    let user_id = path_user_id(&user)?;
    for (field, value, least, most) in [
        ("username", &change.username, 1, 255),
        ("name", &change.name, 0, 255),
        ("email", &change.email, 0, 255),
        ("mobile", &change.mobile, 0, 20),
        ("user_language", &change.user_language, 0, 30),
    ] {
        value.as_ref().map_or(Ok(()), |value| check_length(field, value, least, most))?;
    }
    change.email.as_deref().map_or(Ok(()), check_email)?;
    answer(&app, &caller, &Change { user_id, change }).await
}

struct Change {
    user_id: UserId,
    change: UserChange,
}

impl Write for Change {
    async fn run(&self, unit: &mut UnitOfWork, actor: &str) -> Result<Answer, Refusal> {
        // Lets one change through at a time, and tells the nodes.
        sqlx::query("UPDATE saas_heads SET position = position + 1 WHERE name = 'users'")
            .execute(unit.connection())
            .await?;
        let now = read(unit.connection(), &self.user_id).await?.ok_or(Code::UserNotFound)?;
        let UserChange { username, name, email, mobile, user_language } = &self.change;
        for (field, wanted, has) in
            [("username", username, &now.username), ("email", email, &now.email), ("mobile", mobile, &now.mobile)]
        {
            if let Some(wanted) = wanted.as_ref().filter(|wanted| *wanted != has) {
                free(unit, field, wanted, Some(now.number())).await?;
            }
        }
        sqlx::query(
            "UPDATE user_info SET username = COALESCE(?, username), name = COALESCE(?, name), email = COALESCE(?, email),
                    mobile = COALESCE(?, mobile), user_language = COALESCE(?, user_language) WHERE id = ?",
        )
        .bind(username)
        .bind(name)
        .bind(email)
        .bind(mobile)
        .bind(user_language)
        .bind(now.number())
        .execute(unit.connection())
        .await?;
        tracing::info!(actor, user_id = %self.user_id, "a user was changed");
        let changed = read(unit.connection(), &self.user_id).await?;
        Ok(Answer::new(StatusCode::OK, json!(changed)))
    }
}

/// Until the unit ends nobody else gives a user a value: what [`free`] says stays true.
pub async fn one_at_a_time(unit: &mut UnitOfWork) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT position FROM saas_heads WHERE name = 'users' FOR UPDATE")
        .execute(unit.connection())
        .await
        .map(drop)
}

/// `user_exists` with the field named, if a user other than number `of` has the value. Nobody has the empty one.
pub async fn free(unit: &mut UnitOfWork, column: &'static str, value: &str, of: Option<u64>) -> Result<(), Refusal> {
    if value.is_empty() {
        return Ok(());
    }
    let taken: Option<(u64,)> =
        sqlx::query_as(&format!("SELECT CAST(id AS UNSIGNED) FROM user_info WHERE {column} = ? AND id <> ? LIMIT 1"))
            .bind(value)
            .bind(of.unwrap_or_default())
            .fetch_optional(unit.connection())
            .await?;
    match taken {
        None => Ok(()),
        Some(_) => Err(ApiError::from(Code::UserExists).with("field", column).into()),
    }
}
