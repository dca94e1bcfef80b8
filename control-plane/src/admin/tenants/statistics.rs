//! `GET /admin/tenants/{tenant_id}/stats`.

use crate::admin::{Caller, parse, read};
use crate::app::App;
use crate::statistics::{Live, now};
use axum::Json;
use axum::extract::State;
use kernel::domain::TenantId;
use kernel::http::{ApiError, ApiPath};

/// What a tenant has now: orders, revenue, study records.
#[utoipa::path(
    get, path = "/admin/tenants/{tenant_id}/stats", tag = "statistics",
    params(("tenant_id" = TenantId, Path)),
    responses(
        (status = 200, description = "The figures", body = Live),
        (status = 404, description = "tenant_not_found"),
        (status = 409, description = "invalid_state"),
        (status = 422, description = "invalid_tenant_id"),
        (status = 503, description = "tenant_unavailable"),
    ),
)]
pub async fn of_tenant(
    State(app): State<App>,
    ApiPath(id): ApiPath<String>,
    _: Caller,
) -> Result<Json<Live>, ApiError> {
    let tenant = read::tenant(&app, &parse::tenant_id(&id)?).await?;
    now(&app, &tenant).await.map(Json)
}
