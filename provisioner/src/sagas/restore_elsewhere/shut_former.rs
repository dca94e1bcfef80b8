//! The step `shut_former`: if this process administers the former server and it answers, the tenant's users are locked
//! there and have no session. A server that does not answer is what this kind of job is for.

use super::is_here;
use crate::sagas::saga::Step;
use crate::sagas::shared::tenant_copy::present;
use crate::sagas::shared::{credential, enforce};
use crate::sagas::{Context, StepError};
use crate::server::Session;
use kernel::error::chain;

pub const STEP: Step =
    Step::new("shut_former", |context| Box::pin(act(context))).undone_by(|context| Box::pin(undo(context)));

async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    if is_here(context).await? {
        return Ok(());
    }
    let Some(mut former) = former(context).await else { return Ok(()) };
    for username in context.usernames() {
        context.account(&username).lock_out(&mut former).await?;
    }
    former.close().await;
    Ok(())
}

/// The tenant stays where it is, so its account is opened there again.
async fn undo(context: &mut Context<'_>) -> Result<(), StepError> {
    let Some(mut former) = former(context).await else { return Ok(()) };
    let (in_use, usernames) = (credential::username_in_use(context).await?, context.usernames());
    let accounts = usernames.each_ref().map(|username| context.account(username));
    let open = enforce::may_log_in(present(context).await?.state);
    if let Err(error) = enforce::at(accounts, &in_use, open, &mut former).await {
        let (tenant_id, server) = (&context.tenant.tenant_id, &context.tenant.database.server);
        tracing::warn!(
            %tenant_id, server, cause = %chain(&error),
            "the tenant's account could not be opened again on its server; an audit repairs it"
        );
    }
    former.close().await;
    Ok(())
}

async fn former(context: &Context<'_>) -> Option<Session> {
    let id = &context.tenant.database.server;
    // A second session for the tenant on this server would end the first one.
    if *id == context.tools.server.id {
        return None;
    }
    let server = context.tools.servers.iter().find(|server| server.id == *id)?;
    match Session::open_unless_away(server, &context.tenant.tenant_id).await {
        Ok(session) => Some(session),
        Err(error) => {
            tracing::warn!(server = id, cause = %chain(&error), "the tenant's server does not answer: it is given up");
            None
        }
    }
}
