//! The step `shut_former`: if this process administers the former server and it answers, the tenant's users are locked
//! there and have no session. A server that does not answer is what this kind of job is for.

use super::is_here;
use crate::sagas::saga::Step;
use crate::sagas::shared::tenant_copy::present;
use crate::sagas::shared::{credential, enforce, server_objects};
use crate::sagas::{Context, StepError, TenantJob};
use crate::server::Session;
use kernel::domain::TenantState;
use kernel::error::chain;

pub const STEP: Step =
    Step::new("shut_former", |context| Box::pin(act(context))).undone_by(|context| Box::pin(undo(context)));

async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    if is_here(context).await? {
        return Ok(());
    }
    let job = context.job();
    let Some(mut former) = former(job).await else { return Ok(()) };
    for name in server_objects::accounts(job, &job.tenant.database.server, &mut former).await? {
        job.account_named(&name).lock_out(&mut former).await?;
    }
    former.close().await;
    Ok(())
}

async fn undo(context: &mut Context<'_>) -> Result<(), StepError> {
    let in_use = credential::username_in_use(context).await?;
    open_former(context.job(), &in_use, present(context).await?.state).await
}

/// The tenant stays where it is, so its account is opened there again.
pub async fn open_former(job: TenantJob<'_>, in_use: &str, state: TenantState) -> Result<(), StepError> {
    let Some(mut former) = former(job).await else { return Ok(()) };
    let (tenant_id, server) = (&job.tenant.tenant_id, &job.tenant.database.server);
    let names = server_objects::accounts(job, server, &mut former).await?;
    if let Err(error) = enforce::at(job, &names, in_use, enforce::may_log_in(state), &mut former).await {
        tracing::warn!(
            %tenant_id, server, cause = %chain(&error),
            "the tenant's account could not be opened again on its server; an audit repairs it"
        );
    }
    former.close().await;
    Ok(())
}

async fn former(job: TenantJob<'_>) -> Option<Session> {
    let id = &job.tenant.database.server;
    // A second session for the tenant on this server would end the first one.
    if *id == job.tools.server.id {
        return None;
    }
    let server = job.tools.server_named(id)?;
    match job.open_unless_away(server).await {
        Ok(session) => Some(session),
        Err(error) => {
            tracing::warn!(server = id, cause = %chain(&error), "the tenant's server does not answer: it is given up");
            None
        }
    }
}
