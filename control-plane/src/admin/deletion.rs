//! The end of a tenant: deleted (and restored), then purged.
//!
//! Deletion ends the service at once and touches no data; only a purge does, and a purge once begun is finished. While one is
//! in progress the tenant cannot be restored: part of its data may be gone.

use super::Caller;
use super::lifecycle::enforce;
use super::operations::{self, Started};
use super::tenants::path_tenant_id;
use crate::serve::App;
use crate::write::{Answer, Refusal, Write, answer};
use axum::extract::State;
use axum::http::StatusCode;
use kernel::domain::{Command, Tenant, TenantId, TenantState};
use kernel::http::{ApiError, ApiPath};
use kernel::jobs::JobKind;
use kernel::store::UnitOfWork;
use serde::Deserialize;
use serde_json::json;
use std::time::Duration;
use utoipa::ToSchema;

/// Body of `DELETE /admin/tenants/{tenant_id}`, which may be left out.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Deletion {
    /// Why, for operators.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 500)]
    reason: Option<String>,
}

/// Delete a tenant: it is served no more, and its data is kept for a while.
///
/// The body may be left out.
#[utoipa::path(delete, path = "/admin/tenants/{tenant_id}", tag = "tenants", request_body = Option<Deletion>, params(("tenant_id" = TenantId, Path)), responses(
    (status = 202, description = "The tenant", body = Tenant),
    (status = 404, description = "tenant_not_found"),
    (status = 409, description = "invalid_state, operation_in_progress, conflict"),
    (status = 422, description = "invalid_tenant_id, invalid_reason")))]
pub async fn delete(State(app): State<App>, ApiPath(id): ApiPath<String>, caller: Caller) -> Result<Answer, ApiError> {
    let Deletion { reason } = caller.json_or_default()?;
    let reason = reason.map(|reason| reason.trim().to_owned());
    if reason.as_ref().is_some_and(|reason| !(1..=500).contains(&reason.chars().count())) {
        return Err(ApiError::invalid("reason", "reason", "1 to 500 characters"));
    }
    let command = Command::Delete { reason, retention_days: app.retention_days };
    answer(&app, &caller, &Change { tenant_id: path_tenant_id(&id)?, command, patience: app.patience }).await
}

/// Take a deletion back: the tenant is what it was before.
#[utoipa::path(post, path = "/admin/tenants/{tenant_id}/restore", tag = "tenants", params(("tenant_id" = TenantId, Path)), responses(
    (status = 202, description = "The tenant", body = Tenant),
    (status = 404, description = "tenant_not_found"),
    (status = 409, description = "invalid_state, operation_in_progress, conflict"),
    (status = 422, description = "invalid_tenant_id")))]
pub async fn restore(State(app): State<App>, ApiPath(id): ApiPath<String>, caller: Caller) -> Result<Answer, ApiError> {
    let (tenant_id, command) = (path_tenant_id(&id)?, Command::Restore);
    answer(&app, &caller, &Change { tenant_id, command, patience: app.patience }).await
}

struct Change {
    tenant_id: TenantId,
    command: Command,
    patience: Duration,
}

impl Write for Change {
    async fn run(&self, unit: &mut UnitOfWork, actor: &str) -> Result<Answer, Refusal> {
        let tenant = unit.execute(&self.tenant_id, actor, self.command.clone()).await?;
        // A purge in progress has removed something already; a retry of a failed tenant is making something.
        let was_failed = tenant.before_deletion.as_ref().is_some_and(|before| before.state == TenantState::Failed);
        if was_failed || matches!(self.command, Command::Restore) {
            operations::none_in_progress(unit, &self.tenant_id).await?;
        }
        enforce(unit, &tenant, self.patience).await?;
        Ok(Answer::new(StatusCode::ACCEPTED, json!(tenant)))
    }
}

/// Remove what is left of a deleted or failed tenant. There is no way back.
#[utoipa::path(post, path = "/admin/tenants/{tenant_id}/purge", tag = "tenants", params(("tenant_id" = TenantId, Path)), responses(
    (status = 202, description = "Accepted", body = Started, headers(("Location" = String, description = "The operation"))),
    (status = 404, description = "tenant_not_found"),
    (status = 409, description = "invalid_state, operation_in_progress, conflict"),
    (status = 422, description = "invalid_tenant_id")))]
pub async fn purge(State(app): State<App>, ApiPath(id): ApiPath<String>, caller: Caller) -> Result<Answer, ApiError> {
    answer(&app, &caller, &Purge { tenant_id: path_tenant_id(&id)?, patience: app.patience }).await
}

/// The request to remove what is left of a tenant.
pub struct Purge {
    /// Which.
    pub tenant_id: TenantId,
    /// Of no meaning for a job that is never given up; every job has one.
    pub patience: Duration,
}

impl Write for Purge {
    async fn run(&self, unit: &mut UnitOfWork, actor: &str) -> Result<Answer, Refusal> {
        operations::hold(unit, &self.tenant_id).await?;
        let tenant = unit.execute(&self.tenant_id, actor, Command::Purge).await?;
        operations::none_in_progress(unit, &self.tenant_id).await?;
        operations::start(unit, &tenant, JobKind::Purge, self.patience).await
    }
}
