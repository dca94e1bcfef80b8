//! Work on a tenant's database in service: another credential, another server, a newer schema.

use super::operations::{Started, in_progress, job, none_in_progress, start, start_job};
use super::{Refusal, Write};
use kernel::database::migrate::tenant_schema;
use kernel::domain::{Command, TenantId};
use kernel::http::ApiError;
use kernel::jobs::JobKind;
use kernel::store::{UnitOfWork, servers};
use std::time::Duration;

/// Replaces the credential of a tenant's database.
pub struct RotateCredential {
    pub tenant_id: TenantId,
    /// How long a failing job is retried before it is undone.
    pub patience: Duration,
}

impl Write for RotateCredential {
    type Done = Started;

    fn tenant(&self) -> Option<&TenantId> {
        Some(&self.tenant_id)
    }

    async fn run(&self, unit: &mut UnitOfWork, actor: &str) -> Result<Started, Refusal> {
        let tenant = unit.execute(&self.tenant_id, actor, Command::RotateDatabase).await?;
        none_in_progress(unit, &self.tenant_id).await?;
        start(unit, tenant, JobKind::Rotate, self.patience).await
    }
}

/// Moves a tenant's database to another server. The workers of the server that it leaves do the work.
pub struct MoveDatabase {
    pub tenant_id: TenantId,
    /// The server that it moves to.
    pub server: String,
    pub patience: Duration,
}

impl Write for MoveDatabase {
    type Done = Started;

    fn tenant(&self) -> Option<&TenantId> {
        Some(&self.tenant_id)
    }

    async fn run(&self, unit: &mut UnitOfWork, actor: &str) -> Result<Started, Refusal> {
        let exists = unit.tenant(&self.tenant_id).await?.is_some();
        let servers = servers::ids(unit.connection()).await?;
        if exists && !servers.contains(&self.server) {
            let detail = format!("a registered database server: {}", servers.join(", "));
            return Err(ApiError::invalid("server", "server", detail).into());
        }
        let command = Command::MoveDatabase { server: self.server.clone() };
        let tenant = unit.execute(&self.tenant_id, actor, command).await?;
        none_in_progress(unit, &self.tenant_id).await?;
        start(unit, tenant, JobKind::Move, self.patience).await
    }
}

/// Brings a tenant's database to the newest schema.
pub struct MigrateSchema {
    pub tenant_id: TenantId,
    pub patience: Duration,
}

impl Write for MigrateSchema {
    type Done = Started;

    fn tenant(&self) -> Option<&TenantId> {
        Some(&self.tenant_id)
    }

    async fn run(&self, unit: &mut UnitOfWork, actor: &str) -> Result<Started, Refusal> {
        let tenant = unit.execute(&self.tenant_id, actor, Command::MigrateSchema).await?;
        let open: Option<String> = sqlx::query_scalar(
            "SELECT operation_id FROM saas_operations
             WHERE tenant_id = ? AND kind = ? AND status IN ('pending', 'running') LIMIT 1",
        )
        .bind(self.tenant_id.as_str())
        .bind(JobKind::Migrate.as_str())
        .fetch_optional(unit.connection())
        .await?;
        if let Some(operation_id) = open {
            return Err(in_progress(&operation_id));
        }
        let job = job(&tenant, JobKind::Migrate, self.patience).needs_schema(tenant_schema());
        start_job(unit, tenant, job).await
    }
}
