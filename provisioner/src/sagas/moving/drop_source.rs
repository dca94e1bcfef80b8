//! The step `drop_source`: nothing of the tenant is left on the server that it has left.
//!
//! The tenant is served where it is by now, so it does not wait for a server that is away: what is left there is
//! recorded since the move, and an audit removes it when the server is back.

use super::{is_moved, target};
use crate::sagas::saga::Step;
use crate::sagas::shared::server_objects;
use crate::sagas::{Context, StepError, TenantJob};
use crate::server::{Found, Marker, Session};
use kernel::error::chain;

pub const STEP: Step = Step::new("drop_source", |context| Box::pin(act(context)));

async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    let (job, owner, target) = (context.job(), context.marker(), target(context).await?);
    let here = &job.tools.server;
    let complete = match target.id == here.id {
        true => is_complete(job, &owner, context.session).await?,
        false => {
            let mut there = job.open(&target).await?;
            let complete = is_complete(job, &owner, &mut there).await?;
            there.close().await;
            complete
        }
    };
    if !complete || !is_moved(context).await? {
        let name = job.database();
        return Err(StepError::Transient(format!("database {name} is not complete on the other server")));
    }
    if target.id != here.id {
        return remove(job, &owner, &here.id, context.session).await;
    }
    // Another worker goes on with the job, because the server that the tenant has left had failed.
    for source in server_objects::left_on(job.tools, &job.tenant.tenant_id, job.database()).await? {
        let opened = match job.tools.server_named(&source).filter(|server| server.id != target.id) {
            None => continue,
            Some(server) => job.open(server).await,
        };
        match opened {
            Ok(mut former) => {
                remove(job, &owner, &source, &mut former).await?;
                former.close().await;
            }
            Err(error) => {
                let tenant_id = &job.tenant.tenant_id;
                tracing::warn!(
                    %tenant_id, server = source, cause = %chain(&error),
                    "the server that the tenant has left is away: what is there is left, and an audit removes it"
                );
            }
        }
    }
    Ok(())
}

async fn is_complete(job: TenantJob<'_>, owner: &Marker, there: &mut Session) -> Result<bool, StepError> {
    let found = there.find(job.database()).await?;
    Ok(matches!(found, Found::Marked(marker) if marker.is_of(owner) && !marker.is_copy()))
}

async fn remove(job: TenantJob<'_>, owner: &Marker, server: &str, session: &mut Session) -> Result<(), StepError> {
    for name in server_objects::accounts(job, server, session).await? {
        job.account_named(&name).remove(session).await?;
    }
    session.drop_database(job.database(), owner, false).await?;
    Ok(server_objects::forget_all(job, server).await?)
}
