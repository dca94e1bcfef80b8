//! The step `drop_elsewhere`: nothing of the tenant is left on the other servers that ever held something of it:
//! servers that it has left, those of moves that were given up, and lost ones.
//!
//! A server that stays away for longer than the job's patience, or that this process does not administer, does not hold
//! the purge up for ever. What may be there is recorded as left, an audit of that server removes it, and the
//! certificate names the server as one that was not seen.

use super::{databases, verify_absent};
use crate::sagas::saga::{Step, WITH_ALL_ROWS};
use crate::sagas::shared::server_objects;
use crate::sagas::{Context, StepError, TenantJob};
use crate::server::Server;
use kernel::error::chain;

pub const STEP: Step = Step::new("drop_elsewhere", |context| Box::pin(act(context))).within(WITH_ALL_ROWS);

async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    let job = context.job();
    visit_others(job).await
}

/// Visits every server but that of the job.
pub async fn visit_others(job: TenantJob<'_>) -> Result<(), StepError> {
    let tools = job.tools;
    for id in server_objects::servers(tools, &job.tenant.tenant_id).await? {
        if id == tools.server.id {
            continue;
        }
        let visited = match tools.server_named(&id) {
            Some(server) => visit(job, server).await,
            None => {
                leave(job, &id).await?;
                continue;
            }
        };
        match visited {
            Ok(()) => server_objects::forget_all(job, &id).await?,
            Err(error) if error.is_away() && job.lease.last_attempt => {
                let tenant_id = &job.tenant.tenant_id;
                tracing::warn!(%tenant_id, server = id, cause = %chain(&error), "the purge has not seen this server");
                leave(job, &id).await?;
            }
            Err(error) if error.is_away() => {
                return Err(StepError::Transient(format!("the database server {id} cannot be reached")));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn visit(job: TenantJob<'_>, server: &Server) -> Result<(), StepError> {
    let mut session = job.open_unless_away(server).await?;
    let names = server_objects::accounts(job, &server.id, &mut session).await?;
    for name in &names {
        job.account_named(name).remove(&mut session).await?;
    }
    databases::drop_all(job, server, &mut session).await?;
    verify_absent::verify(job, &names, &mut session).await?;
    session.close().await;
    Ok(())
}

async fn leave(job: TenantJob<'_>, server: &str) -> Result<(), StepError> {
    let mut unit = job.begin().await?;
    server_objects::leave(&mut unit, job.tenant, server).await?;
    Ok(unit.commit().await?)
}
