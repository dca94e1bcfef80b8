//! Changes of a tenant's state, name or plan.

use super::operations::job;
use super::plans::check_plan;
use super::{Refusal, Write};
use kernel::domain::{Command, Tenant, TenantId};
use kernel::http::Code;
use kernel::jobs::{self, JobKind};
use kernel::store::UnitOfWork;
use std::time::Duration;

/// Executes commands on one tenant, in order, in one unit.
pub struct ChangeTenant {
    pub tenant_id: TenantId,
    pub commands: Vec<Command>,
    /// How long a failing job is retried.
    pub patience: Duration,
}

impl Write for ChangeTenant {
    type Done = Tenant;

    fn tenant(&self) -> Option<&TenantId> {
        Some(&self.tenant_id)
    }

    async fn run(&self, unit: &mut UnitOfWork, actor: &str) -> Result<Tenant, Refusal> {
        let mut tenant = unit.tenant(&self.tenant_id).await?.ok_or(Code::TenantNotFound)?;
        for command in &self.commands {
            if let Command::ChangePlan { plan_type } = command {
                check_plan(unit, plan_type).await?;
            }
            let version = tenant.version;
            tenant = unit.execute(&self.tenant_id, actor, command.clone()).await?;
            let concerns_server =
                matches!(command, Command::Suspend { .. } | Command::Resume | Command::ChangePlan { .. });
            if concerns_server && tenant.version != version {
                enforce(unit, &tenant, self.patience).await?;
            }
            // The name is also an entry of the configuration in the tenant's database.
            if matches!(command, Command::Rename { .. }) && tenant.version != version {
                let configure = job(&tenant, JobKind::Configure, self.patience);
                jobs::enqueue(unit.connection(), &[configure]).await?;
            }
        }
        Ok(tenant)
    }
}

/// Enqueues the job that brings the tenant's new state, or its new number of connections, to its database server too:
/// nodes refuse what they know of, the server refuses every client. The caller does not wait for the job.
pub async fn enforce(unit: &mut UnitOfWork, tenant: &Tenant, patience: Duration) -> Result<(), sqlx::Error> {
    jobs::enqueue(unit.connection(), &[job(tenant, JobKind::Enforce, patience)]).await.map(drop)
}
