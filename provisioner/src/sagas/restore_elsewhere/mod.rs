//! The saga of the kind `restore_elsewhere`: brings a tenant back on another server when its own is lost, from a
//! backup.
//!
//! **Guarantees.** The tenant is not served from the backup before every table of it was compared and every node
//! refuses the tenant. The event `tenant.database_moved` is the point of no return: from it on nodes know the new
//! address alone. Until then the job can be undone, and the tenant stays where it was. The former server is given up:
//! what is on it is neither read nor dropped. If it answers while the job runs, the tenant's account is locked there
//! first. If it comes back later, an audit names the database that is left, and with `--repair` drops the accounts.
//!
//! The job runs on the workers of the new server and needs nothing of the former one.

mod await_nodes;
mod load_backup;
mod relocate;
mod settle;
mod shut_former;
mod verify_login;

use super::saga::{Outcome, PointOfNoReturn, Saga};
use super::shared::{apply_config, credential, enforce, server_objects, tenant_copy};
use super::{ACTOR, Context, StepError, TenantJob, Tools};
use kernel::domain::{Command, Tenant};
use kernel::jobs::JobError;

pub const SAGA: Saga = Saga {
    follows_tenant: false,
    point_of_no_return: PointOfNoReturn::Reached(|tools, _, tenant| Box::pin(has_arrived(tools, tenant))),
    abandon: Some(|job| Box::pin(abandon(job))),
    outcome: Outcome::CANCELLED_MOVE,
    ..Saga::of_tenant(&[
        await_nodes::STEP,
        shut_former::STEP,
        load_backup::STEP,
        verify_login::STEP,
        relocate::STEP,
        settle::STEP,
        enforce::STEP,
        apply_config::STEP,
    ])
};

/// What becomes of the job when the new server stays away: the tenant stays where it was.
async fn abandon(job: TenantJob<'_>) -> Result<Option<String>, StepError> {
    let Some(tenant) = job.tools.store.tenant(&job.tenant.tenant_id).await.map_err(JobError::from)? else {
        return Ok(None);
    };
    let server = &job.tools.server.id;
    shut_former::open_former(job, &credential::username_of(job).await?, tenant.state).await?;
    let mut unit = job.begin().await?;
    unit.execute(&job.tenant.tenant_id, ACTOR, Command::CancelMove).await?;
    server_objects::leave_copy(&mut unit, job.tenant, server).await?;
    unit.commit().await?;
    Ok(Some(format!("a copy of the tenant may be left on {server}; an audit removes it")))
}

async fn has_arrived(tools: &Tools, tenant: &Tenant) -> Result<bool, JobError> {
    tenant_copy::is_on(tools, tenant, &tools.server.id).await
}

/// Whether the tenant is on this server already.
async fn is_here(context: &Context<'_>) -> Result<bool, StepError> {
    Ok(has_arrived(context.tools, context.tenant).await?)
}
