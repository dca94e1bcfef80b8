//! Another attempt to provision a failed tenant.

use super::operations::{Started, none_in_progress, start};
use super::{Refusal, Write};
use kernel::domain::{Command, TenantId};
use kernel::http::{ApiError, Code};
use kernel::jobs::JobKind;
use kernel::store::UnitOfWork;
use std::time::Duration;

/// Provisions a failed tenant again.
pub struct RetryTenant {
    pub tenant_id: TenantId,
    pub patience: Duration,
}

impl Write for RetryTenant {
    type Done = Started;

    fn tenant(&self) -> Option<&TenantId> {
        Some(&self.tenant_id)
    }

    async fn run(&self, unit: &mut UnitOfWork, actor: &str) -> Result<Started, Refusal> {
        let tenant = unit.execute(&self.tenant_id, actor, Command::Retry).await?;
        none_in_progress(unit, &self.tenant_id).await?;
        if was_to_be_restored(unit, &self.tenant_id).await? {
            let detail = "the tenant was to be created from a backup: provisioning it would make an empty one";
            return Err(ApiError::from(Code::InvalidState)
                .with("state", tenant.state.as_str())
                .with("detail", detail)
                .into());
        }
        start(unit, tenant, JobKind::Provision, self.patience).await
    }
}

/// Whether the tenant's database was to come out of a backup and not out of the migrations.
async fn was_to_be_restored(unit: &mut UnitOfWork, tenant_id: &TenantId) -> Result<bool, sqlx::Error> {
    let kind: Option<String> = sqlx::query_scalar(
        "SELECT kind FROM saas_operations WHERE tenant_id = ? AND kind IN (?, ?) ORDER BY created_at DESC LIMIT 1",
    )
    .bind(tenant_id.as_str())
    .bind(JobKind::Provision.as_str())
    .bind(JobKind::RestoreNew.as_str())
    .fetch_optional(unit.connection())
    .await?;
    Ok(kind.is_some_and(|kind| kind == JobKind::RestoreNew.as_str()))
}
