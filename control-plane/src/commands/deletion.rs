//! The end of a tenant: deletion, restoration, purge.
//!
//! A deletion ends the service at once and touches no data; only a purge removes data, and a purge that has begun is
//! always finished. A tenant cannot be restored while its purge is in progress: part of its data may be gone. The
//! default tenant is neither deleted nor purged, because nodes route every unknown host and all old clients to it.

use super::change::enforce;
use super::operations::{Started, job, none_in_progress, start_job};
use super::{Refusal, Write};
use kernel::domain::{Command, Tenant, TenantId, TenantState};
use kernel::http::Code;
use kernel::jobs::JobKind;
use kernel::store::UnitOfWork;
use kernel::store::installation::{self, DefaultTenantUnknown};
use std::time::Duration;

/// Ends the service of a tenant.
pub struct DeleteTenant {
    pub tenant_id: TenantId,
    pub reason: Option<String>,
    /// How long its data stays.
    pub retention_days: u32,
    pub patience: Duration,
}

impl Write for DeleteTenant {
    type Done = Tenant;

    fn tenant(&self) -> Option<&TenantId> {
        Some(&self.tenant_id)
    }

    async fn run(&self, unit: &mut UnitOfWork, actor: &str) -> Result<Tenant, Refusal> {
        not_the_default(unit, &self.tenant_id).await?;
        let command = Command::Delete { reason: self.reason.clone(), retention_days: self.retention_days };
        let tenant = unit.execute(&self.tenant_id, actor, command).await?;
        // A retry of a failed tenant may be creating its database at this moment.
        if tenant.before_deletion.as_ref().is_some_and(|before| before.state == TenantState::Failed) {
            none_in_progress(unit, &self.tenant_id).await?;
        }
        enforce(unit, &tenant, self.patience).await?;
        Ok(tenant)
    }
}

/// Takes a deletion back: the tenant is what it was before.
pub struct RestoreTenant {
    pub tenant_id: TenantId,
    pub patience: Duration,
}

impl Write for RestoreTenant {
    type Done = Tenant;

    fn tenant(&self) -> Option<&TenantId> {
        Some(&self.tenant_id)
    }

    async fn run(&self, unit: &mut UnitOfWork, actor: &str) -> Result<Tenant, Refusal> {
        let tenant = unit.execute(&self.tenant_id, actor, Command::Restore).await?;
        none_in_progress(unit, &self.tenant_id).await?;
        enforce(unit, &tenant, self.patience).await?;
        Ok(tenant)
    }
}

/// Removes what is left of a deleted or failed tenant.
pub struct PurgeTenant {
    pub tenant_id: TenantId,
    /// Every job has one; a purge is retried until it succeeds.
    pub patience: Duration,
    /// Whether it is one of many that were requested at once. Those hold up no move or restore.
    pub in_bulk: bool,
}

impl Write for PurgeTenant {
    type Done = Started;

    fn tenant(&self) -> Option<&TenantId> {
        Some(&self.tenant_id)
    }

    async fn run(&self, unit: &mut UnitOfWork, actor: &str) -> Result<Started, Refusal> {
        not_the_default(unit, &self.tenant_id).await?;
        let tenant = unit.execute(&self.tenant_id, actor, Command::Purge).await?;
        none_in_progress(unit, &self.tenant_id).await?;
        let job = job(&tenant, JobKind::Purge, self.patience);
        start_job(unit, tenant, if self.in_bulk { job.in_bulk() } else { job }).await
    }
}

/// `tenant_is_default` for the default tenant. The answer stays true until the unit ends, because the command that
/// names another default tenant locks that tenant too.
async fn not_the_default(unit: &mut UnitOfWork, tenant_id: &TenantId) -> Result<(), Refusal> {
    unit.tenant(tenant_id).await?;
    match installation::default_tenant(unit.connection()).await {
        Ok(default) if default == *tenant_id => Err(Code::TenantIsDefault.into()),
        Ok(_) | Err(DefaultTenantUnknown::Invalid(_)) => Ok(()),
        Err(DefaultTenantUnknown::Database(error)) => Err(error.into()),
    }
}
