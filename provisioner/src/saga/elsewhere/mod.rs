//! The steps that bring a tenant back on another server when its own is lost, one file each, in the order they run.
//!
//! **Guarantees.** Nobody is served from the backup before every table of it was compared and every node has been told to refuse the
//! tenant; from the event `tenant.database_moved` on, nodes know the new place alone. The former server is given up: what stands there is
//! neither read nor dropped. If it answers while the job runs, the tenant's account is locked there first. If it comes back
//! later, an audit names the database that is left, and with `--repair` drops the accounts. Up to that event the job can be undone, and the
//! tenant is where it was.
//!
//! The job runs on the workers of the new server; it needs nothing of the former one. Until the tenant is here its database bears the mark
//! of a copy, and only what bears that mark is ever dropped.

pub mod arrive;
pub mod await_refusal;
pub mod load_here;
pub mod settle_here;
pub mod shut_former;
pub mod verify_here;

use super::{Context, StepError, Tools};
use kernel::domain::{Tenant, TenantId};
use kernel::jobs::JobError;

/// Whether there is no way back any more.
pub async fn is_here(tools: &Tools, tenant_id: &TenantId) -> Result<bool, JobError> {
    Ok(tools.store.tenant(tenant_id).await?.is_some_and(|tenant| tenant.database.server == tools.server.id))
}

/// The same, for a step.
async fn arrived(context: &Context<'_>) -> Result<bool, StepError> {
    Ok(is_here(context.tools, &context.tenant.tenant_id).await?)
}

/// The tenant as it is now.
async fn present(context: &Context<'_>) -> Result<Tenant, StepError> {
    let tenant = context.tools.store.tenant(&context.tenant.tenant_id).await.map_err(JobError::from)?;
    tenant.ok_or(StepError::Unfit("there is no such tenant"))
}
