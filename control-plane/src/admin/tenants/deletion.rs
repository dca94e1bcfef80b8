//! The end of a tenant: deletion, restoration, purge.

use crate::admin::answer::{Answer, answer};
use crate::admin::{Caller, parse};
use crate::app::App;
use crate::commands::{DeleteTenant, PurgeTenant, RestoreTenant, Started};
use axum::extract::State;
use kernel::domain::{Tenant, TenantId};
use kernel::http::{ApiError, ApiPath};
use serde::Deserialize;
use utoipa::ToSchema;

/// Body of `DELETE /admin/tenants/{tenant_id}`, which may be left out.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Deletion {
    /// The reason, for operators.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 500)]
    reason: Option<String>,
}

/// Delete a tenant: nodes stop serving it, and its data stays until the retention has passed.
///
/// The body may be left out.
#[utoipa::path(
    delete, path = "/admin/tenants/{tenant_id}", tag = "tenants",
    request_body = Option<Deletion>,
    params(("tenant_id" = TenantId, Path)),
    responses(
        (status = 202, description = "The tenant", body = Tenant),
        (status = 404, description = "tenant_not_found"),
        (status = 409, description = "invalid_state, tenant_is_default, operation_in_progress"),
        (status = 422, description = "invalid_tenant_id, invalid_reason"),
    ),
)]
pub async fn delete(State(app): State<App>, ApiPath(id): ApiPath<String>, caller: Caller) -> Result<Answer, ApiError> {
    let Deletion { reason } = caller.json_or_default()?;
    let delete = DeleteTenant {
        reason: reason.as_deref().map(parse::reason).transpose()?,
        tenant_id: parse::tenant_id(&id)?,
        retention_days: app.retention_days,
        patience: app.patience,
    };
    answer(&app, &caller, &delete, Answer::accepted).await
}

/// Undo a deletion: the tenant is what it was before.
#[utoipa::path(
    post, path = "/admin/tenants/{tenant_id}/restore", tag = "tenants",
    params(("tenant_id" = TenantId, Path)),
    responses(
        (status = 202, description = "The tenant", body = Tenant),
        (status = 404, description = "tenant_not_found"),
        (status = 409, description = "invalid_state, operation_in_progress"),
        (status = 422, description = "invalid_tenant_id"),
    ),
)]
pub async fn restore(State(app): State<App>, ApiPath(id): ApiPath<String>, caller: Caller) -> Result<Answer, ApiError> {
    let restore = RestoreTenant { tenant_id: parse::tenant_id(&id)?, patience: app.patience };
    answer(&app, &caller, &restore, Answer::accepted).await
}

/// Remove what is left of a deleted or failed tenant. This cannot be undone.
#[utoipa::path(
    post, path = "/admin/tenants/{tenant_id}/purge", tag = "tenants",
    params(("tenant_id" = TenantId, Path)),
    responses(
        (
            status = 202,
            description = "Accepted",
            body = Started,
            headers(("Location" = String, description = "The operation")),
        ),
        (status = 404, description = "tenant_not_found"),
        (status = 409, description = "invalid_state, tenant_is_default, operation_in_progress"),
        (status = 422, description = "invalid_tenant_id"),
    ),
)]
pub async fn purge(State(app): State<App>, ApiPath(id): ApiPath<String>, caller: Caller) -> Result<Answer, ApiError> {
    let purge = PurgeTenant { tenant_id: parse::tenant_id(&id)?, patience: app.patience, in_bulk: false };
    answer(&app, &caller, &purge, Answer::started).await
}
