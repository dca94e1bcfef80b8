//! Reading memberships, from either side: the members of a tenant, the tenants of a user.

use super::Caller;
use super::directory;
use super::page::{cut, parse_cursor};
use super::tenants::path_tenant_id;
use super::users::path_user_id;
use crate::serve::App;
use axum::Json;
use axum::extract::State;
use chrono::{DateTime, NaiveDateTime, Utc};
use kernel::domain::{Role, TenantId, UserId};
use kernel::http::{ApiError, ApiPath, ApiQuery, Code, parse_limit};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

/// Query of `GET /admin/tenants/{tenant_id}/users`.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Search {
    /// Only members in this role.
    #[param(value_type = Option<Role>)]
    role: Option<String>,
    /// Most rows of the page; 50 unless told otherwise.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 500)]
    limit: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// A page of members.
#[derive(Serialize, ToSchema)]
pub struct Members {
    tenant_id: TenantId,
    users: Vec<MemberOfTenant>,
    /// Where the next page begins; null on the last one.
    next_cursor: Option<String>,
}

/// A member of a tenant.
#[derive(Serialize, ToSchema)]
struct MemberOfTenant {
    user_id: String,
    /// Null, like name and email: there is no such user any more.
    username: Option<String>,
    name: Option<String>,
    email: Option<String>,
    role: String,
    #[schema(value_type = Object, nullable)]
    permissions: Option<Value>,
    joined_at: DateTime<Utc>,
}

/// The members of a tenant, those who joined first first.
#[utoipa::path(get, path = "/admin/tenants/{tenant_id}/users", tag = "members", params(("tenant_id" = TenantId, Path), Search), responses(
    (status = 200, description = "A page", body = Members),
    (status = 404, description = "tenant_not_found"),
    (status = 422, description = "invalid_tenant_id, invalid_role, invalid_limit, invalid_cursor")))]
pub async fn of_tenant(
    State(app): State<App>,
    ApiPath(tenant): ApiPath<String>,
    ApiQuery(search): ApiQuery<Search>,
    _: Caller,
) -> Result<Json<Members>, ApiError> {
    type Row = (u64, String, Option<String>, Option<String>, Option<String>, String, Option<String>, NaiveDateTime);
    let tenant_id = path_tenant_id(&tenant)?;
    let limit = parse_limit(search.limit.as_deref(), 50, 500)?;
    let role = search.role.map(|role| role.parse::<Role>().map_err(|error| ApiError::invalid("role", "role", error)));
    let role = role.transpose()?.map(Role::as_str);
    let after = parse_cursor('m', search.cursor.as_deref())?;
    let read = async {
        if app.store.tenant(&tenant_id).await?.is_none() {
            return Ok(None);
        }
        // Of ids that differ in case only, the user is the one that is equal to the byte.
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT CAST(m.id AS UNSIGNED), m.user_id, u.username, u.name, u.email, COALESCE(m.role, ''),
                    CAST(m.permissions AS CHAR), m.joined_at
             FROM saas_tenant_users m
             LEFT JOIN user_info u ON u.id = (SELECT MIN(one.id) FROM user_info one
                  WHERE one.user_id = m.user_id AND CAST(one.user_id AS BINARY) = CAST(m.user_id AS BINARY))
             WHERE m.tenant_id = ? AND m.deleted = 0 AND m.status = 1 AND m.id > ? AND (? IS NULL OR m.role = ?)
             ORDER BY m.id LIMIT ?",
        )
        .bind(tenant_id.as_str())
        .bind(after)
        .bind(role)
        .bind(role)
        .bind(limit + 1)
        .fetch_all(app.store.pool())
        .await?;
        Ok(Some(rows))
    };
    let rows = read.await.map_err(|error| ApiError::database(&error))?.ok_or(Code::TenantNotFound)?;
    let (rows, next_cursor) = cut(rows, limit, 'm', |row| row.0);
    let users = rows.into_iter().map(|(_, user_id, username, name, email, role, permissions, joined_at)| {
        let permissions = permissions.and_then(|json| serde_json::from_str(&json).ok());
        MemberOfTenant { user_id, username, name, email, role, permissions, joined_at: joined_at.and_utc() }
    });
    Ok(Json(Members { tenant_id, users: users.collect(), next_cursor }))
}

/// The tenants of a user.
#[derive(Serialize, ToSchema)]
pub struct TenantsOfUser {
    user_id: UserId,
    tenants: Vec<TenantOfUser>,
}

/// A tenant of a user, and what they are in it.
#[derive(Serialize, ToSchema)]
struct TenantOfUser {
    tenant_id: String,
    tenant_name: String,
    tenant_domain: Option<String>,
    /// The state as the seed's number.
    status: i16,
    role: String,
    #[schema(value_type = Object, nullable)]
    permissions: Option<Value>,
    joined_at: DateTime<Utc>,
}

/// The tenants a user belongs to, by id; at most 1,000.
#[utoipa::path(get, path = "/admin/users/{user_id}/tenants", tag = "members", params(("user_id" = UserId, Path)), responses(
    (status = 200, description = "The tenants", body = TenantsOfUser),
    (status = 404, description = "user_not_found"),
    (status = 422, description = "invalid_user_id")))]
pub async fn of_user(
    State(app): State<App>,
    ApiPath(user): ApiPath<String>,
    _: Caller,
) -> Result<Json<TenantsOfUser>, ApiError> {
    type Row = (String, String, Option<String>, i16, String, Option<String>, NaiveDateTime);
    let user_id = path_user_id(&user)?;
    let read = async {
        let mut connection = app.store.pool().acquire().await?;
        if directory::read(&mut connection, &user_id).await?.is_none() {
            return Ok(None);
        }
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT t.tenant_id, t.tenant_name, t.tenant_domain, t.status, COALESCE(m.role, ''),
                    CAST(m.permissions AS CHAR), m.joined_at
             FROM saas_tenant_users m JOIN saas_tenants t ON t.tenant_id = m.tenant_id AND t.deleted = 0
             WHERE m.user_id = ? AND CAST(m.user_id AS BINARY) = ? AND m.deleted = 0 AND m.status = 1
             ORDER BY t.tenant_id LIMIT 1000",
        )
        .bind(user_id.as_str())
        .bind(user_id.as_str())
        .fetch_all(&mut *connection)
        .await?;
        Ok(Some(rows))
    };
    let rows = read.await.map_err(|error| ApiError::database(&error))?.ok_or(Code::UserNotFound)?;
    let tenants =
        rows.into_iter().map(|(tenant_id, tenant_name, tenant_domain, status, role, permissions, joined_at)| {
            let permissions = permissions.and_then(|json| serde_json::from_str(&json).ok());
            let joined_at = joined_at.and_utc();
            TenantOfUser { tenant_id, tenant_name, tenant_domain, status, role, permissions, joined_at }
        });
    Ok(Json(TenantsOfUser { user_id, tenants: tenants.collect() }))
}
