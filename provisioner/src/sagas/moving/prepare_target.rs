//! The step `prepare_target`: the other server is fit and has an empty database and the tenant's user, which is still
//! locked. The tenant stays in service until it is known that this is possible.

use super::{is_moved, target};
use crate::sagas::saga::Step;
use crate::sagas::shared::tenant_copy::TenantCopy;
use crate::sagas::shared::{credential, server_objects};
use crate::sagas::{Context, StepError, TenantJob};
use crate::server::ServerError;
use crate::tables::{fitness, schema, stored_objects};
use kernel::database;
use std::time::Duration;

/// How long the other server may take to drop a copy.
const ANSWER: Duration = Duration::from_secs(40);

pub const STEP: Step =
    Step::new("prepare_target", |context| Box::pin(act(context))).undone_by(|context| Box::pin(undo(context)));

async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    if is_moved(context).await? {
        return Ok(());
    }
    let name = context.database().to_owned();
    check_source(context, &name).await?;
    let target = target(context).await?;
    let mut there = context.job().open(&target).await?;
    if there.dialect != context.session.dialect {
        let (from, to) = (context.session.dialect, there.dialect);
        return Err(StepError::Permanent(format!(
            "the tenant is on a {from} server and {} is a {to} server",
            target.id
        )));
    }
    let copy = TenantCopy::new(context.job(), &target);
    copy.create(&mut there).await?;
    copy.create_user(&mut there, &credential::in_use(context).await?).await?;
    there.close().await;
    Ok(())
}

/// Refuses what the copy would not contain. A scheduled event would also continue to write to the source while it is
/// copied.
async fn check_source(context: &mut Context<'_>, name: &str) -> Result<(), StepError> {
    context.enter_to_copy(name).await?;
    let dialect = context.session.dialect;
    let connection = context.session.connection();
    let objects = stored_objects::read(connection, name).await?;
    if let Some(event) = objects.all.iter().find(|object| object.kind == "EVENT") {
        return Err(StepError::Permanent(format!("database {name} has scheduled events ({event}): drop them first")));
    }
    if let Some(what) = objects.broken.first() {
        return Err(StepError::Permanent(format!("database {name} has a {what}, which would not be moved: drop it")));
    }
    let tables = schema::read(connection, name).await?;
    Ok(fitness::check(connection, dialect, name, &tables, &objects).await?)
}

/// If the other server stays away, the job and the tenant's other operations do not wait for it longer than the job's
/// patience: then the copy is left there, with the marker of a copy, and recorded as left. An audit of that server, or
/// the next move to it, removes it.
async fn undo(context: &mut Context<'_>) -> Result<(), StepError> {
    let cleared = tokio::time::timeout(ANSWER, remove_copy(context)).await;
    let away = match &cleared {
        Err(_) => true,
        Ok(Err(StepError::Server(error))) => error.database().is_some_and(database::is_unreachable),
        Ok(_) => false,
    };
    if away && context.lease.last_attempt {
        return leave_copy(context.job(), &target(context).await?.id).await;
    }
    cleared.unwrap_or_else(|_| Err(StepError::Transient("the other server does not answer".into())))
}

/// Records that the copy stays on the other server.
async fn leave_copy(job: TenantJob<'_>, server: &str) -> Result<(), StepError> {
    let tenant_id = &job.tenant.tenant_id;
    tracing::warn!(%tenant_id, server, "the other server is away: the copy is left there, and an audit removes it");
    let mut unit = job.begin().await?;
    server_objects::leave_copy(&mut unit, job.tenant, server).await?;
    Ok(unit.commit().await?)
}

async fn remove_copy(context: &Context<'_>) -> Result<(), StepError> {
    let target = match target(context).await {
        // A server that this process does not administer has no copy of this job.
        Err(StepError::Permanent(_)) => return Ok(()),
        target => target?,
    };
    let mut there = match context.job().open(&target).await {
        // The step has refused such a server before it made anything there.
        Err(ServerError::TooOld { .. }) => return Ok(()),
        there => there?,
    };
    TenantCopy::new(context.job(), &target).remove(&mut there).await?;
    there.close().await;
    Ok(())
}
