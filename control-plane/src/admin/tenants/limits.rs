//! What a tenant may use and what it uses: neither is in its events, so both are shown apart from it.

use crate::admin::{Caller, parse, read};
use crate::app::App;
use axum::Json;
use axum::extract::State;
use chrono::{DateTime, NaiveDateTime, Utc};
use kernel::domain::{Tenant, TenantId};
use kernel::http::{ApiError, ApiPath};
use kernel::store::Plan;
use serde::Serialize;
use sqlx::MySqlPool;
use utoipa::ToSchema;

/// The limits of a tenant, and what it uses.
#[derive(Serialize, ToSchema)]
pub struct Use {
    tenant_id: TenantId,
    plan_type: String,
    limits: Limits,
    /// As last measured; null before the first measurement.
    storage: Option<Storage>,
}

/// The limits of the tenant now; `null`: no limit.
#[derive(Serialize, ToSchema)]
#[schema(as = TenantLimits)]
struct Limits {
    max_connections: u32,
    request_concurrency: Option<u32>,
    request_queue: Option<u32>,
    request_rate: Option<u32>,
    request_burst: Option<u32>,
    storage_bytes: Option<u64>,
}

/// What a tenant's database takes on disk.
#[derive(Serialize, ToSchema)]
struct Storage {
    bytes: u64,
    measured_at: DateTime<Utc>,
    over_limit: bool,
}

/// What a tenant may use, and what it uses.
#[utoipa::path(
    get, path = "/admin/tenants/{tenant_id}/limits", tag = "plans",
    params(("tenant_id" = TenantId, Path)),
    responses(
        (status = 200, description = "Limits and use", body = Use),
        (status = 404, description = "tenant_not_found"),
        (status = 422, description = "invalid_tenant_id"),
    ),
)]
pub async fn show(State(app): State<App>, ApiPath(id): ApiPath<String>, _: Caller) -> Result<Json<Use>, ApiError> {
    let tenant = read::tenant(&app, &parse::tenant_id(&id)?).await?;
    Ok(Json(Use::of(app.store.pool(), tenant).await?))
}

impl Use {
    async fn of(pool: &MySqlPool, tenant: Tenant) -> Result<Self, sqlx::Error> {
        let mut connection = pool.acquire().await?;
        let plan = Plan::find(&mut *connection, &tenant.plan_type).await?;
        let measured: Option<(u64, NaiveDateTime)> =
            sqlx::query_as("SELECT bytes, measured_at FROM saas_tenant_storage WHERE tenant_id = ?")
                .bind(tenant.tenant_id.as_str())
                .fetch_optional(&mut *connection)
                .await?;
        let plan = plan.as_ref();
        let allowed = plan.and_then(|plan| plan.storage_bytes);
        let storage = measured.map(|(bytes, measured_at)| Storage {
            bytes,
            measured_at: measured_at.and_utc(),
            over_limit: allowed.is_some_and(|allowed| bytes > allowed),
        });
        let rate = plan.and_then(|plan| plan.request_rate);
        let limits = Limits {
            max_connections: plan.and_then(|plan| plan.max_connections).unwrap_or(tenant.database.max_connections),
            request_concurrency: plan.map(|plan| plan.request_concurrency),
            request_queue: plan.map(|plan| plan.request_queue),
            request_rate: rate,
            request_burst: rate.and_then(|rate| plan.and_then(|plan| plan.request_burst).or(Some(rate))),
            storage_bytes: allowed,
        };
        Ok(Self { tenant_id: tenant.tenant_id, plan_type: tenant.plan_type, limits, storage })
    }
}
