//! The tenants of a user.

use crate::admin::{Caller, parse};
use crate::app::App;
use crate::commands::find_user;
use axum::Json;
use axum::extract::State;
use chrono::{DateTime, NaiveDateTime, Utc};
use kernel::domain::UserId;
use kernel::http::{ApiError, ApiPath, Code};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// The tenants of a user.
#[derive(Serialize, ToSchema)]
pub struct TenantsOfUser {
    user_id: UserId,
    tenants: Vec<TenantOfUser>,
}

/// A tenant of a user, with the user's role in it.
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

/// The tenants that a user belongs to, by id; at most 1,000.
#[utoipa::path(
    get, path = "/admin/users/{user_id}/tenants", tag = "members",
    params(("user_id" = UserId, Path)),
    responses(
        (status = 200, description = "The tenants", body = TenantsOfUser),
        (status = 404, description = "user_not_found"),
        (status = 422, description = "invalid_user_id"),
    ),
)]
pub async fn of_user(
    State(app): State<App>,
    ApiPath(user): ApiPath<String>,
    _: Caller,
) -> Result<Json<TenantsOfUser>, ApiError> {
    type Row = (String, String, Option<String>, i16, String, Option<String>, NaiveDateTime);
    let user_id = parse::user_id(&user)?;
    let mut connection = app.store.pool().acquire().await?;
    find_user(&mut connection, &user_id).await?.ok_or(Code::UserNotFound)?;
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
    let tenants =
        rows.into_iter().map(|(tenant_id, tenant_name, tenant_domain, status, role, permissions, joined_at)| {
            let permissions = permissions.and_then(|json| serde_json::from_str(&json).ok());
            let joined_at = joined_at.and_utc();
            TenantOfUser { tenant_id, tenant_name, tenant_domain, status, role, permissions, joined_at }
        });
    Ok(Json(TenantsOfUser { user_id, tenants: tenants.collect() }))
}
