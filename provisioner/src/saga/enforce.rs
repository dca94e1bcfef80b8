//! Makes the tenant's account at the database server agree with the tenant's state, and with its plan's connections.
//!
//! **Guarantee.** After it, a tenant that is not to be served has no session and nobody can open one, whatever any node knows
//! or remembers. The state is the one read here, not the one that asked for the job: each change of state asks for a job of
//! its own and a tenant's jobs run one at a time, so the last one to run has read the last state. The same is true of the plan.

use super::{Context, StepError};
use kernel::domain::TenantState;
use kernel::jobs::JobError;

pub async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    let tenant_id = &context.tenant.tenant_id;
    let pool = context.tools.store.pool();
    let tenant = context.tools.store.tenant(tenant_id).await.map_err(JobError::from)?;
    let state = tenant.ok_or(StepError::Unfit("there is no such tenant"))?.state;
    let in_use: Option<(String,)> = sqlx::query_as("SELECT db_username FROM saas_tenant_databases WHERE tenant_id = ?")
        .bind(tenant_id.as_str())
        .fetch_optional(pool)
        .await
        .map_err(JobError::from)?;
    let in_use = in_use.map(|(username,)| username).unwrap_or_default();
    for username in context.usernames() {
        let account = context.account(&username);
        if may_log_in(state) {
            // The other one is being prepared or retired, which is not this job's affair.
            if username == in_use && !account.unlock(context.session).await? {
                return Err(StepError::Transient("the tenant's account is not there".into()));
            }
        } else if account.lock(context.session).await? {
            context.session.end_sessions_of(&username).await?;
        }
    }
    Ok(())
}

/// Maintenance is refused by the nodes alone: its purpose is that somebody works on the data.
fn may_log_in(state: TenantState) -> bool {
    match state {
        TenantState::Active | TenantState::Maintenance | TenantState::Provisioning => true,
        TenantState::Suspended | TenantState::Failed | TenantState::Deleted | TenantState::Purged => false,
    }
}
