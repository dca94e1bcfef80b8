//! Step 2: if this process administers the former server and it answers, nobody can log in there as the tenant, and nobody is. A server that
//! does not answer is what this job is for.

use super::{arrived, present};
use crate::saga::{Context, StepError, enforce};
use crate::server::Session;

pub async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    if arrived(context).await? {
        return Ok(());
    }
    let Some(mut former) = former(context).await else { return Ok(()) };
    for username in context.usernames() {
        if context.account(&username).lock(&mut former).await? {
            former.end_sessions_of(&username).await?;
        }
    }
    former.close().await;
    Ok(())
}

/// The tenant stays where it is.
pub async fn undo(context: &mut Context<'_>) -> Result<(), StepError> {
    let Some(mut former) = former(context).await else { return Ok(()) };
    let (in_use, usernames) = (enforce::in_use(context).await?, context.usernames());
    let accounts = usernames.each_ref().map(|username| context.account(username));
    let open = enforce::may_log_in(present(context).await?.state);
    if let Err(error) = enforce::at(accounts, &in_use, open, &mut former).await {
        let tenant_id = &context.tenant.tenant_id;
        tracing::warn!(%tenant_id, cause = %kernel::error::chain(&error), "the tenant's account on its server is not what it was; an audit repairs it");
    }
    former.close().await;
    Ok(())
}

async fn former(context: &Context<'_>) -> Option<Session> {
    let id = &context.tenant.database.server;
    // Another session for the tenant here would end this one.
    if *id == context.tools.server.id {
        return None;
    }
    let server = context.tools.servers.iter().find(|server| server.id == *id)?;
    match Session::open(server, &context.tenant.tenant_id).await {
        Ok(session) => Some(session),
        Err(error) => {
            tracing::warn!(server = id, cause = %kernel::error::chain(&error), "the tenant's server does not answer: it is given up");
            None
        }
    }
}
