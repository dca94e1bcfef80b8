//! Changes of a tenant's state that are one command each.

use super::tenants::{check_plan, path_tenant_id, tenant_name};
use super::{Caller, operations};
use crate::serve::App;
use crate::write::{Answer, Refusal, Write, answer};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use kernel::domain::{Command, Tenant, TenantId};
use kernel::http::{ApiError, Code};
use kernel::jobs::{self, JobKind, NewJob};
use kernel::store::UnitOfWork;
use serde::Deserialize;
use serde_json::json;
use std::time::Duration;

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
            tenant = unit.execute(&self.tenant_id, actor, command.clone()).await?;
            if matches!(command, Command::Suspend { .. } | Command::Resume) {
                enforce(unit, &tenant, self.patience).await?;
            }
        }
        Ok(Answer::new(StatusCode::OK, json!(tenant)))
    }
}

/// Has the tenant's new state enforced at its database server too: nodes refuse what they know of, the server refuses
/// everybody. The answer does not wait for it.
pub async fn enforce(unit: &mut UnitOfWork, tenant: &Tenant, patience: Duration) -> Result<(), sqlx::Error> {
    let (tenant_id, server) = (tenant.tenant_id.clone(), tenant.database.server.clone());
    let job = NewJob { kind: JobKind::Enforce, tenant_id, server, patience };
    jobs::enqueue(unit.connection(), &job).await.map(drop)
}

async fn one(app: &App, caller: &Caller, id: &str, command: Command) -> Result<Answer, ApiError> {
    let change = Change { tenant_id: path_tenant_id(id)?, commands: vec![command], patience: app.patience };
    answer(app, caller, &change).await
}

/// Body of `POST .../suspend`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suspension {
    reason: String,
}

/// `POST .../suspend`.
pub async fn suspend(State(app): State<App>, Path(id): Path<String>, caller: Caller) -> Result<Answer, ApiError> {
    let Suspension { reason } = caller.json()?;
    let reason = reason.trim().to_owned();
    if !(1..=500).contains(&reason.chars().count()) {
        return Err(ApiError::invalid("reason", "reason", "1 to 500 characters"));
    }
    one(&app, &caller, &id, Command::Suspend { reason }).await
}

/// `POST .../resume`.
pub async fn resume(State(app): State<App>, Path(id): Path<String>, caller: Caller) -> Result<Answer, ApiError> {
    one(&app, &caller, &id, Command::Resume).await
}

/// Body of `POST .../maintenance`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Maintenance {
    enabled: bool,
}

/// `POST .../maintenance`.
pub async fn maintenance(State(app): State<App>, Path(id): Path<String>, caller: Caller) -> Result<Answer, ApiError> {
    let Maintenance { enabled } = caller.json()?;
    one(&app, &caller, &id, Command::SetMaintenance { enabled }).await
}

/// Body of `PATCH /admin/tenants/{tenant_id}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Patch {
    #[serde(default)]
    tenant_name: Option<String>,
    #[serde(default)]
    plan_type: Option<String>,
}

/// `PATCH /admin/tenants/{tenant_id}`: another name, another plan.
pub async fn change(State(app): State<App>, Path(id): Path<String>, caller: Caller) -> Result<Answer, ApiError> {
    let patch: Patch = caller.json()?;
    let mut commands = Vec::new();
    if let Some(name) = patch.tenant_name {
        commands.push(Command::Rename { tenant_name: tenant_name(&name)? });
    }
    commands.extend(patch.plan_type.map(|plan_type| Command::ChangePlan { plan_type }));
    answer(&app, &caller, &Change { tenant_id: path_tenant_id(&id)?, commands, patience: app.patience }).await
}

/// `POST .../retry`: provisions a failed tenant again.
pub async fn retry(State(app): State<App>, Path(id): Path<String>, caller: Caller) -> Result<Answer, ApiError> {
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
        let (tenant_id, server) = (self.tenant_id.clone(), tenant.database.server.clone());
        let job = NewJob { kind: JobKind::Provision, tenant_id, server, patience: self.patience };
        operations::start(unit, &tenant, &job).await
    }
}
