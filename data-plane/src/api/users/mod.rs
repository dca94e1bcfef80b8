//! Routes about one user of a tenant: the profile, `GET /api/me`, [`orders`] with statistics, courses with progress
//! ([`shifus`]), promotions ([`activities`]), and [`coupons`].
//!
//! Admins and viewers may ask about every user of the tenant, and users about themselves. A caller without that right
//! is refused before anything is looked up. Rows come from the tenant's database, and profiles from
//! [`crate::profiles`]. Admission has established that the caller is a member, so a user's own courses, promotions and
//! coupons need no further look-up in the system database.

use super::page::{self, CursorColumns, PageQuery};
use crate::admission::Caller;
use crate::app::App;
use crate::connections::TenantDatabase;
use crate::members::Member;
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

/// The condition for the rows of one user. Equality under the column's collation finds them by an index, and equality
/// of bytes decides. The user's id is bound twice.
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
    let user_id = user_in_path(&caller, &user)?;
    let (profile, member) = app.profiles.member(&caller.route, &user_id).await?;
    Ok(Json(UserOfTenant::of(&caller, &profile, &member)).into_response())
}

/// The caller, and every tenant that the caller belongs to.
#[utoipa::path(get, path = "/api/me", tag = "users", responses(
    (status = 200, description = "The caller", body = Me),
    (status = 404, description = "user_not_found")))]
pub async fn me(caller: Caller, State(app): State<App>) -> Result<Response, ApiError> {
    let (profile, member) = app.profiles.member(&caller.route, &caller.user_id).await?;
    let tenants = app.profiles.tenants(&caller.user_id).await?;
    Ok(Json(Me { caller: UserOfTenant::of(&caller, &profile, &member), tenants }).into_response())
}

/// A user, and the user's membership in the tenant.
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
    fn of(caller: &'a Caller, profile: &'a Profile, member: &'a Member) -> Self {
        Self {
            tenant_id: &caller.route.tenant_id,
            user: profile,
            role: Some(member.role.as_str()),
            permissions: member.permissions.as_ref(),
            joined_at: member.joined_at,
        }
    }
}

/// The caller.
#[derive(Serialize, ToSchema)]
struct Me<'a> {
    #[serde(flatten)]
    caller: UserOfTenant<'a>,
    /// All tenants of the caller by id, including suspended ones.
    tenants: Vec<TenantOfUser>,
}

/// The user in the path, if the caller may ask about that user.
fn user_in_path(caller: &Caller, user: &str) -> Result<Arc<UserId>, ApiError> {
    let user_id: UserId = user.parse().map_err(|error| ApiError::invalid("user_id", "user_id", error))?;
    if user_id == *caller.user_id || caller.role.sees_all() {
        Ok(Arc::new(user_id))
    } else {
        Err(Code::AdminRequired.into())
    }
}

/// The user in the path, if the caller may ask about that user and the user is a member of the tenant.
async fn member_in_path(caller: &Caller, app: &App, user: &str) -> Result<Arc<UserId>, ApiError> {
    let user_id = user_in_path(caller, user)?;
    if user_id != caller.user_id {
        app.profiles.member(&caller.route, &user_id).await?;
    }
    Ok(user_id)
}

/// The rows of one page of a member's list.
struct MemberPage<'a> {
    user_id: Arc<UserId>,
    limit: u32,
    rows: Vec<MySqlRow>,
    /// Held until the answer is built, because the request counts as at work until then.
    _database: TenantDatabase<'a>,
}

impl<'a> MemberPage<'a> {
    /// Reads the page by a statement that has the user's id in its first `N` placeholders.
    async fn load<const N: usize>(
        caller: &Caller,
        app: &'a App,
        user: &str,
        query: PageQuery,
        sql: &'static str,
    ) -> Result<Self, ApiError> {
        let request = query.parse()?;
        let user_id = member_in_path(caller, app, user).await?;
        let mut database = app.databases.enter(&caller.route).await?;
        let rows = database.rows(sql, request.arguments(&[user_id.as_str(); N])?).await?;
        Ok(Self { user_id, limit: request.limit, rows, _database: database })
    }

    /// The items of the page, and the cursor of the next one.
    fn items<'r, T>(
        &'r self,
        columns: CursorColumns,
        item: impl Fn(&'r MySqlRow) -> Result<T, sqlx::Error>,
    ) -> Result<(Vec<T>, Option<String>), ApiError> {
        page::read(&self.rows, self.limit, columns, item).map_err(|error| ApiError::internal(&error))
    }
}

/// The arguments of a statement made with `of_user!`, which has the user's id twice.
fn bind_twice(user_id: &UserId) -> Result<MySqlArguments, ApiError> {
    let mut arguments = MySqlArguments::default();
    for _ in 0..2 {
        arguments.add(user_id.as_str()).map_err(|error| ApiError::internal(&sqlx::Error::Encode(error)))?;
    }
    Ok(arguments)
}

/// The only row of an aggregate over the rows of a user.
async fn single_row(database: &mut TenantDatabase<'_>, sql: &'static str, user: &UserId) -> Result<MySqlRow, ApiError> {
    let row = database.rows(sql, bind_twice(user)?).await?.into_iter().next();
    row.ok_or_else(|| ApiError::internal(&sqlx::Error::RowNotFound))
}
