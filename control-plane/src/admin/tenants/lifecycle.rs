//! Changes of a tenant's state, name or plan, and another attempt to provision it.

use crate::admin::answer::{Answer, answer};
use crate::admin::{Caller, parse};
use crate::app::App;
use crate::commands::{ChangeTenant, RetryTenant, Started};
use axum::extract::State;
use kernel::domain::{Command, Tenant, TenantId};
use kernel::http::{ApiError, ApiPath};
use serde::Deserialize;
use utoipa::ToSchema;

async fn execute(app: &App, caller: &Caller, id: &str, commands: Vec<Command>) -> Result<Answer, ApiError> {
    let change = ChangeTenant { tenant_id: parse::tenant_id(id)?, commands, patience: app.patience };
    answer(app, caller, &change, Answer::ok).await
}

/// Body of `POST .../suspend`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Suspension {
    /// The reason, for operators.
    #[schema(min_length = 1, max_length = 500, example = "unpaid")]
    reason: String,
}

/// Suspend a tenant.
///
/// Nodes refuse its requests within moments, and its database server refuses its account too.
#[utoipa::path(
    post, path = "/admin/tenants/{tenant_id}/suspend", tag = "tenants",
    request_body = Suspension,
    params(("tenant_id" = TenantId, Path)),
    responses(
        (status = 200, description = "The tenant", body = Tenant),
        (status = 404, description = "tenant_not_found"),
        (status = 409, description = "invalid_state"),
        (status = 422, description = "invalid_tenant_id, invalid_reason"),
    ),
)]
pub async fn suspend(State(app): State<App>, ApiPath(id): ApiPath<String>, caller: Caller) -> Result<Answer, ApiError> {
    let Suspension { reason } = caller.json()?;
    execute(&app, &caller, &id, vec![Command::Suspend { reason: parse::reason(&reason)? }]).await
}

/// End a suspension.
#[utoipa::path(
    post, path = "/admin/tenants/{tenant_id}/resume", tag = "tenants",
    params(("tenant_id" = TenantId, Path)),
    responses(
        (status = 200, description = "The tenant", body = Tenant),
        (status = 404, description = "tenant_not_found"),
        (status = 409, description = "invalid_state"),
        (status = 422, description = "invalid_tenant_id"),
    ),
)]
pub async fn resume(State(app): State<App>, ApiPath(id): ApiPath<String>, caller: Caller) -> Result<Answer, ApiError> {
    execute(&app, &caller, &id, vec![Command::Resume]).await
}

/// Body of `POST .../maintenance`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Maintenance {
    /// Whether maintenance begins or ends.
    enabled: bool,
}

/// Begin or end maintenance: while it lasts, requests are answered 503.
#[utoipa::path(
    post, path = "/admin/tenants/{tenant_id}/maintenance", tag = "tenants",
    request_body = Maintenance,
    params(("tenant_id" = TenantId, Path)),
    responses(
        (status = 200, description = "The tenant", body = Tenant),
        (status = 404, description = "tenant_not_found"),
        (status = 409, description = "invalid_state"),
        (status = 422, description = "invalid_tenant_id"),
    ),
)]
pub async fn maintenance(
    State(app): State<App>,
    ApiPath(id): ApiPath<String>,
    caller: Caller,
) -> Result<Answer, ApiError> {
    let Maintenance { enabled } = caller.json()?;
    execute(&app, &caller, &id, vec![Command::SetMaintenance { enabled }]).await
}

/// Body of `PATCH /admin/tenants/{tenant_id}`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TenantChange)]
pub struct Patch {
    /// The tenant's name for people.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 100)]
    tenant_name: Option<String>,
    #[serde(default)]
    plan_type: Option<String>,
}

/// Give a tenant another name or another plan.
#[utoipa::path(
    patch, path = "/admin/tenants/{tenant_id}", tag = "tenants",
    request_body = Patch,
    params(("tenant_id" = TenantId, Path)),
    responses(
        (status = 200, description = "The tenant", body = Tenant),
        (status = 404, description = "tenant_not_found"),
        (status = 409, description = "invalid_state"),
        (status = 422, description = "invalid_tenant_id, invalid_tenant_name, invalid_plan_type"),
    ),
)]
pub async fn change(State(app): State<App>, ApiPath(id): ApiPath<String>, caller: Caller) -> Result<Answer, ApiError> {
    let patch: Patch = caller.json()?;
    let mut commands = Vec::new();
    if let Some(name) = patch.tenant_name {
        commands.push(Command::Rename { tenant_name: parse::tenant_name(&name)? });
    }
    commands.extend(patch.plan_type.map(|plan_type| Command::ChangePlan { plan_type }));
    execute(&app, &caller, &id, commands).await
}

/// Provision a failed tenant again. A tenant that was to be created from a backup is refused: it would be empty.
#[utoipa::path(
    post, path = "/admin/tenants/{tenant_id}/retry", tag = "tenants",
    params(("tenant_id" = TenantId, Path)),
    responses(
        (
            status = 202,
            description = "Accepted",
            body = Started,
            headers(("Location" = String, description = "The operation")),
        ),
        (status = 404, description = "tenant_not_found"),
        (status = 409, description = "invalid_state, operation_in_progress"),
        (status = 422, description = "invalid_tenant_id"),
    ),
)]
pub async fn retry(State(app): State<App>, ApiPath(id): ApiPath<String>, caller: Caller) -> Result<Answer, ApiError> {
    let retry = RetryTenant { tenant_id: parse::tenant_id(&id)?, patience: app.patience };
    answer(&app, &caller, &retry, Answer::started).await
}
