//! Makes the tenant's account at the database server agree with the tenant's state, and with its plan's connections.
//!
//! **Guarantee.** After it, a tenant that is not to be served has no session and nobody can open one, whatever any node knows
//! or remembers. The state is the one read here, not the one that asked for the job: each change of state asks for a job of
//! its own and a tenant's jobs run one at a time, so the last one to run has read the last state. The same is true of the plan.

use super::{Context, StepError};
use crate::server::Session;
use crate::server::account::Account;
use kernel::domain::TenantState;
use kernel::jobs::JobError;

pub async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    let tenant_id = &context.tenant.tenant_id;
    let tenant = context.tools.store.tenant(tenant_id).await.map_err(JobError::from)?;
    let tenant = tenant.ok_or(StepError::Unfit("there is no such tenant"))?;
    let in_use = in_use(context).await?;
    // While it is copied to another server nobody may write here, whatever its state.
    let open = may_log_in(tenant.state) && tenant.database.moving_to.is_none();
    let usernames = context.usernames();
    let accounts = usernames.each_ref().map(|username| context.account(username));
    at(accounts, &in_use, open, context.session).await
}

/// The same for the accounts of a server, over a session with it.
pub async fn at(accounts: [Account<'_>; 2], in_use: &str, open: bool, session: &mut Session) -> Result<(), StepError> {
    for account in accounts {
        if open {
            // The other one is being prepared or retired, which is not this job's affair.
            if account.username == in_use && !account.unlock(session).await? {
                return Err(StepError::Transient("the tenant's account is not there".into()));
            }
        } else if account.lock(session).await? {
            session.end_sessions_of(account.username).await?;
        }
    }
    Ok(())
}

/// Name of the tenant's user that is in use; empty: none.
pub async fn in_use(context: &Context<'_>) -> Result<String, StepError> {
    let row: Option<(String,)> = sqlx::query_as("SELECT db_username FROM saas_tenant_databases WHERE tenant_id = ?")
        .bind(context.tenant.tenant_id.as_str())
        .fetch_optional(context.tools.store.pool())
        .await
        .map_err(JobError::from)?;
    Ok(row.map(|(username,)| username).unwrap_or_default())
}

/// Maintenance is refused by the nodes alone: its purpose is that somebody works on the data.
pub fn may_log_in(state: TenantState) -> bool {
    match state {
        TenantState::Active | TenantState::Maintenance | TenantState::Provisioning => true,
        TenantState::Suspended | TenantState::Failed | TenantState::Deleted | TenantState::Purged => false,
    }
}
