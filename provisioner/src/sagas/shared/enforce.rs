//! The step `enforce`: the tenant's account at the database server agrees with the tenant's state, and with its plan's
//! connections.
//!
//! **Guarantee.** After it, a tenant that must not be served has no session and cannot open one, whatever any node
//! still has in its caches. The step reads the present state, not the state at the time of the request: each change of
//! state enqueues a job of its own and a tenant's jobs run one at a time, so the last one to run has read the last
//! state. The same is true of the plan.

use super::credential;
use crate::sagas::saga::Step;
use crate::sagas::{Context, StepError, TenantJob};
use crate::server::Session;
use crate::server::account::AccountName;
use kernel::domain::TenantState;
use kernel::jobs::JobError;

/// It is not undone: it makes true what is decided already.
pub const STEP: Step = Step::new("enforce", |context| Box::pin(act(context)));

pub async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    let tenant_id = &context.tenant.tenant_id;
    let tenant = context.tools.store.tenant(tenant_id).await.map_err(JobError::from)?;
    let tenant = tenant.ok_or(StepError::Unfit("there is no such tenant"))?;
    let in_use = credential::username_in_use(context).await?;
    // While the tenant is copied to another server nothing may be written here, whatever its state.
    let open = may_log_in(tenant.state) && tenant.database.moving_to.is_none();
    let (names, job) = (context.accounts().await?, context.job());
    at(job, &names, &in_use, open, context.session).await
}

/// Opens or locks these accounts of the tenant over a session with their server.
pub async fn at(
    job: TenantJob<'_>,
    names: &[AccountName],
    in_use: &str,
    open: bool,
    session: &mut Session,
) -> Result<(), StepError> {
    let mut opened = 0;
    for name in names {
        let account = job.account_named(name);
        if !open {
            account.lock_out(session).await?;
        } else if account.username == in_use {
            opened += u32::from(account.unlock(session).await?);
        }
        // Another account than the one in use is being prepared or retired by a rotation.
    }
    if open && opened == 0 {
        return Err(StepError::Transient(format!("the database user {in_use} of the tenant is missing")));
    }
    Ok(())
}

/// Whether the tenant's account is open in this state. During maintenance it is: nodes refuse the tenant by themselves,
/// and the operator works on the data.
pub fn may_log_in(state: TenantState) -> bool {
    match state {
        TenantState::Active | TenantState::Maintenance | TenantState::Provisioning => true,
        TenantState::Suspended | TenantState::Failed | TenantState::Deleted | TenantState::Purged => false,
    }
}
