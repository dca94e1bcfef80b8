//! Changes of a tenant's state that are one command each.

use super::operations::Started;
use super::tenants::{check_plan, path_tenant_id, tenant_name};
use super::{Caller, operations};
use crate::serve::App;
use crate::write::{Answer, Refusal, Write, answer};
use axum::extract::State;
use axum::http::StatusCode;
use kernel::domain::{Command, Tenant, TenantId};
use kernel::http::{ApiError, ApiPath, Code};
use kernel::jobs::{self, JobKind, NewJob};
use kernel::store::UnitOfWork;
use serde::Deserialize;
use serde_json::json;
use std::time::Duration;
use utoipa::ToSchema;

/// Commands on one tenant, in order, in one unit; the answer is the tenant.
struct Change {
    tenant_id: TenantId,
    commands: Vec<Command>,
    patience: Duration,
}

impl Write for Change {
    async fn run(&self, unit: &mut UnitOfWork, actor: &str) -> Result<Answer, Refusal> {
        let mut tenant = unit.tenant(&self.tenant_id).await?.ok_or(Code::TenantNotFound)?;
        for command in &self.commands {
            if let Command::ChangePlan { plan_type } = command {
                check_plan(unit, plan_type).await?;
            }
            let version = tenant.version;
            tenant = unit.execute(&self.tenant_id, actor, command.clone()).await?;
            let told = matches!(command, Command::Suspend { .. } | Command::Resume | Command::ChangePlan { .. });
            if told && tenant.version != version {
                enforce(unit, &tenant, self.patience).await?;
            }
        }
        Ok(Answer::new(StatusCode::OK, json!(tenant)))
    }
}

/// Has the tenant's new state, or its new plan's number of connections, enforced at its database server too: nodes refuse
/// what they know of, the server refuses everybody. The answer does not wait for it.
pub async fn enforce(unit: &mut UnitOfWork, tenant: &Tenant, patience: Duration) -> Result<(), sqlx::Error> {
    let job = NewJob::for_tenant(JobKind::Enforce, &tenant.tenant_id, &tenant.database.server, patience);
    jobs::enqueue(unit.connection(), &[job]).await.map(drop)
}

async fn one(app: &App, caller: &Caller, id: &str, command: Command) -> Result<Answer, ApiError> {
    let change = Change { tenant_id: path_tenant_id(id)?, commands: vec![command], patience: app.patience };
    answer(app, caller, &change).await
}

/// Body of `POST .../suspend`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Suspension {
    /// Why, for operators.
    #[schema(min_length = 1, max_length = 500, example = "unpaid")]
    reason: String,
}

/// Refuse a tenant service.
///
/// Nodes refuse it within moments, and its database server refuses its account too.
#[utoipa::path(post, path = "/admin/tenants/{tenant_id}/suspend", tag = "tenants", request_body = Suspension, params(("tenant_id" = TenantId, Path)), responses(
    (status = 200, description = "The tenant", body = Tenant),
    (status = 404, description = "tenant_not_found"),
    (status = 409, description = "invalid_state, conflict"),
    (status = 422, description = "invalid_tenant_id, invalid_reason")))]
pub async fn suspend(State(app): State<App>, ApiPath(id): ApiPath<String>, caller: Caller) -> Result<Answer, ApiError> {
    let Suspension { reason } = caller.json()?;
    let reason = reason.trim().to_owned();
    if !(1..=500).contains(&reason.chars().count()) {
        return Err(ApiError::invalid("reason", "reason", "1 to 500 characters"));
    }
    one(&app, &caller, &id, Command::Suspend { reason }).await
}

/// End a suspension.
#[utoipa::path(post, path = "/admin/tenants/{tenant_id}/resume", tag = "tenants", params(("tenant_id" = TenantId, Path)), responses(
    (status = 200, description = "The tenant", body = Tenant),
    (status = 404, description = "tenant_not_found"),
    (status = 409, description = "invalid_state, conflict"),
    (status = 422, description = "invalid_tenant_id")))]
pub async fn resume(State(app): State<App>, ApiPath(id): ApiPath<String>, caller: Caller) -> Result<Answer, ApiError> {
    one(&app, &caller, &id, Command::Resume).await
}

/// Body of `POST .../maintenance`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Maintenance {
    /// Begin, or end.
    enabled: bool,
}

/// Begin or end maintenance: while it lasts, requests are answered 503.
#[utoipa::path(post, path = "/admin/tenants/{tenant_id}/maintenance", tag = "tenants", request_body = Maintenance, params(("tenant_id" = TenantId, Path)), responses(
    (status = 200, description = "The tenant", body = Tenant),
    (status = 404, description = "tenant_not_found"),
    (status = 409, description = "invalid_state, conflict"),
    (status = 422, description = "invalid_tenant_id")))]
pub async fn maintenance(
    State(app): State<App>,
    ApiPath(id): ApiPath<String>,
    caller: Caller,
) -> Result<Answer, ApiError> {
    let Maintenance { enabled } = caller.json()?;
    one(&app, &caller, &id, Command::SetMaintenance { enabled }).await
}

/// Body of `PATCH /admin/tenants/{tenant_id}`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TenantChange)]
pub struct Patch {
    /// Name for people.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 100)]
    tenant_name: Option<String>,
    #[serde(default)]
    plan_type: Option<String>,
}

/// Give a tenant another name or another plan.
#[utoipa::path(patch, path = "/admin/tenants/{tenant_id}", tag = "tenants", request_body = Patch, params(("tenant_id" = TenantId, Path)), responses(
    (status = 200, description = "The tenant", body = Tenant),
    (status = 404, description = "tenant_not_found"),
    (status = 409, description = "invalid_state, conflict"),
    (status = 422, description = "invalid_tenant_id, invalid_tenant_name, invalid_plan_type")))]
pub async fn change(State(app): State<App>, ApiPath(id): ApiPath<String>, caller: Caller) -> Result<Answer, ApiError> {
    let patch: Patch = caller.json()?;
    let mut commands = Vec::new();
    if let Some(name) = patch.tenant_name {
        commands.push(Command::Rename { tenant_name: tenant_name(&name)? });
    }
    commands.extend(patch.plan_type.map(|plan_type| Command::ChangePlan { plan_type }));
    answer(&app, &caller, &Change { tenant_id: path_tenant_id(&id)?, commands, patience: app.patience }).await
}

/// Provision a failed tenant again. One that was to be made out of a backup is not: it would be an empty one.
#[utoipa::path(post, path = "/admin/tenants/{tenant_id}/retry", tag = "tenants", params(("tenant_id" = TenantId, Path)), responses(
    (status = 202, description = "Accepted", body = Started, headers(("Location" = String, description = "The operation"))),
    (status = 404, description = "tenant_not_found"),
    (status = 409, description = "invalid_state, operation_in_progress, conflict"),
    (status = 422, description = "invalid_tenant_id")))]
pub async fn retry(State(app): State<App>, ApiPath(id): ApiPath<String>, caller: Caller) -> Result<Answer, ApiError> {
    answer(&app, &caller, &Retry { tenant_id: path_tenant_id(&id)?, patience: app.patience }).await
}

struct Retry {
    tenant_id: TenantId,
    patience: Duration,
}

impl Write for Retry {
    async fn run(&self, unit: &mut UnitOfWork, actor: &str) -> Result<Answer, Refusal> {
        operations::hold(unit, &self.tenant_id).await?;
        let tenant = unit.execute(&self.tenant_id, actor, Command::Retry).await?;
        operations::none_in_progress(unit, &self.tenant_id).await?;
        if operations::was_to_be_restored(unit, &self.tenant_id).await? {
            let detail = "the tenant was to be made out of a backup: provisioning it would make an empty one";
            return Err(ApiError::from(Code::InvalidState)
                .with("state", tenant.state.as_str())
                .with("detail", detail)
                .into());
        }
        operations::start(unit, &tenant, JobKind::Provision, self.patience).await
    }
}
