//! `GET /api/users/{user_id}`, the caller's own profile, and what hangs below a user: [`orders`] with statistics, courses with
//! progress ([`shifus`]), promotions ([`activities`]), [`coupons`].
//!
//! Admins and viewers ask for any user of the tenant, users for themselves; who may not is told so before anything is
//! looked up. Rows come from the tenant's database; the profile, where an answer has one, from [`super::profiles`]. The
//! caller is known to be a member, so their own courses, promotions and coupons need no system database.

use crate::admission::Caller;
use crate::app::App;
use crate::connections::TenantDatabase;
use crate::profiles::{Profile, TenantOfUser};
use crate::values::Moment;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use kernel::domain::{TenantId, UserId};
use kernel::http::{ApiError, ApiPath, Code};
use serde::Serialize;
use serde_json::Value;
use sqlx::Arguments;
use sqlx::mysql::{MySqlArguments, MySqlRow};
use std::sync::Arc;
use utoipa::ToSchema;

/// The rows of one user: equality under the column's collation finds them, equality of bytes decides.
macro_rules! of_user {
    ($column:literal) => {
        concat!(" WHERE ", $column, " = ? AND CAST(", $column, " AS BINARY) = ?")
    };
}

pub mod activities;
pub mod coupons;
pub mod orders;
pub mod shifus;

/// A user of the tenant.
#[utoipa::path(get, path = "/api/users/{user_id}", tag = "users", params(("user_id" = UserId, Path)), responses(
    (status = 200, description = "The user", body = UserOfTenant),
    (status = 403, description = "admin_required"),
    (status = 404, description = "user_not_found"),
    (status = 422, description = "invalid_user_id")))]
pub async fn show(
    caller: Caller,
    State(app): State<App>,
    ApiPath(user): ApiPath<String>,
) -> Result<Response, ApiError> {
    let user_id = allowed(&caller, &user)?;
    let profile = app.profiles.member(&caller.route, &user_id).await?;
    Ok(Json(UserOfTenant::of(&caller, &profile)).into_response())
}

/// The caller, and every tenant they belong to.
#[utoipa::path(get, path = "/api/me", tag = "users", responses(
    (status = 200, description = "The caller", body = Me),
    (status = 404, description = "user_not_found")))]
pub async fn me(caller: Caller, State(app): State<App>) -> Result<Response, ApiError> {
    let profile = app.profiles.member(&caller.route, &caller.user_id).await?;
    let tenants = app.profiles.tenants(&caller.user_id).await?;
    Ok(Json(Me { caller: UserOfTenant::of(&caller, &profile), tenants }).into_response())
}

/// A user, and what they are in the tenant.
#[derive(Serialize, ToSchema)]
struct UserOfTenant<'a> {
    tenant_id: &'a TenantId,
    user: &'a Profile,
    role: Option<&'a str>,
    #[schema(value_type = Object, nullable)]
    permissions: Option<&'a Value>,
    joined_at: Moment,
}

impl<'a> UserOfTenant<'a> {
    fn of(caller: &'a Caller, profile: &'a Profile) -> Self {
        let member = profile.member.as_ref();
        Self {
            tenant_id: &caller.route.tenant_id,
            user: profile,
            role: member.map(|member| member.role.as_str()),
            permissions: member.and_then(|member| member.permissions.as_ref()),
            joined_at: member.map_or(Moment(None), |member| member.joined_at),
        }
    }
}

/// The caller.
#[derive(Serialize, ToSchema)]
struct Me<'a> {
    #[serde(flatten)]
    caller: UserOfTenant<'a>,
    /// By id; suspended ones too.
    tenants: Vec<TenantOfUser>,
}

/// The user of the path, if the caller may ask about them.
fn allowed(caller: &Caller, user: &str) -> Result<Arc<UserId>, ApiError> {
    let user_id: UserId = user.parse().map_err(|error| ApiError::invalid("user_id", "user_id", error))?;
    if user_id == *caller.user_id || caller.role.sees_all() {
        Ok(Arc::new(user_id))
    } else {
        Err(Code::AdminRequired.into())
    }
}

/// The same, and they belong to the tenant.
async fn belongs(caller: &Caller, app: &App, user: &str) -> Result<Arc<UserId>, ApiError> {
    let user_id = allowed(caller, user)?;
    if user_id != caller.user_id {
        app.profiles.member(&caller.route, &user_id).await?;
    }
    Ok(user_id)
}

fn twice(user_id: &UserId) -> Result<MySqlArguments, ApiError> {
    let mut arguments = MySqlArguments::default();
    for _ in 0..2 {
        arguments.add(user_id.as_str()).map_err(|error| ApiError::internal(&sqlx::Error::Encode(error)))?;
    }
    Ok(arguments)
}

/// The one row of an aggregate.
async fn only(database: &mut TenantDatabase<'_>, sql: &'static str, user: &UserId) -> Result<MySqlRow, ApiError> {
    let row = database.rows(sql, twice(user)?).await?.into_iter().next();
    row.ok_or_else(|| ApiError::internal(&sqlx::Error::RowNotFound))
}

fn finish(answer: Result<impl Serialize, sqlx::Error>) -> Result<Response, ApiError> {
    answer.map(|answer| Json(answer).into_response()).map_err(|error| ApiError::internal(&error))
}
