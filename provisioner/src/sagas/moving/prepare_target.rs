//! The step `prepare_target`: the other server is fit and has an empty database and the tenant's user, which is still
//! locked. The tenant stays in service until it is known that this is possible.

use super::{is_moved, target};
use crate::sagas::saga::Step;
use crate::sagas::shared::credential;
use crate::sagas::shared::tenant_copy::TenantCopy;
use crate::sagas::{Context, StepError};
use crate::server::{ServerError, Session};
use crate::tables::stored_objects;
use kernel::database;
use std::time::Duration;

/// How long the other server may take to drop a copy.
const ANSWER: Duration = Duration::from_secs(40);

/// What a copy would not contain. A scheduled event would also continue to write to the source while it is copied.
const UNMOVABLE: [(&str, &str); 2] = [
    ("scheduled events", "SELECT COUNT(*) FROM information_schema.EVENTS WHERE EVENT_SCHEMA = ?"),
    (
        "sequences or tables with a history",
        "SELECT COUNT(*) FROM information_schema.TABLES
         WHERE TABLE_SCHEMA = ? AND TABLE_TYPE NOT IN ('BASE TABLE', 'VIEW')",
    ),
];

pub const STEP: Step =
    Step::new("prepare_target", |context| Box::pin(act(context))).undone_by(|context| Box::pin(undo(context)));

async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    if is_moved(context).await? {
        return Ok(());
    }
    let name = context.database().to_owned();
    for (what, query) in UNMOVABLE {
        let (count,): (i64,) = sqlx::query_as(query).bind(&name).fetch_one(context.session.connection()).await?;
        if count > 0 {
            return Err(StepError::Permanent(format!("database {name} has {what}, which cannot be moved")));
        }
    }
    context.session.enter(&name).await?;
    if let Some(what) = stored_objects::read(context.session.connection(), &name).await?.broken.first() {
        return Err(StepError::Permanent(format!("database {name} has a {what}, which would not be moved: drop it")));
    }
    let (target, usernames) = (target(context).await?, context.usernames());
    let mut there = Session::open(&target, &context.tenant.tenant_id).await?;
    if there.dialect != context.session.dialect {
        let (from, to) = (context.session.dialect, there.dialect);
        return Err(StepError::Permanent(format!(
            "the tenant is on a {from} server and {} is a {to} server",
            target.id
        )));
    }
    let copy = TenantCopy::new(context, &target, &usernames);
    copy.create(&mut there).await?;
    copy.create_user(&mut there, &credential::in_use(context).await?).await?;
    there.close().await;
    Ok(())
}

/// If the other server stays away, the job and the tenant's other operations do not wait for it longer than the job's
/// patience: then the copy is left there, with the marker of a copy. An audit names it, and the next move to that
/// server removes it.
async fn undo(context: &mut Context<'_>) -> Result<(), StepError> {
    let cleared = tokio::time::timeout(ANSWER, remove_copy(context)).await;
    let away = match &cleared {
        Err(_) => true,
        Ok(Err(StepError::Server(ServerError::Database(error)))) => database::is_unreachable(error),
        Ok(_) => false,
    };
    if away && context.lease.last_attempt {
        let tenant_id = &context.tenant.tenant_id;
        tracing::warn!(%tenant_id, "the other server is away: the copy is left there, and an audit names it");
        return Ok(());
    }
    cleared.unwrap_or_else(|_| Err(StepError::Transient("the other server does not answer".into())))
}

async fn remove_copy(context: &Context<'_>) -> Result<(), StepError> {
    let target = match target(context).await {
        // A server that this process does not administer has no copy of this job.
        Err(StepError::Permanent(_)) => return Ok(()),
        target => target?,
    };
    let usernames = context.usernames();
    let mut there = match Session::open(&target, &context.tenant.tenant_id).await {
        // The step has refused such a server before it made anything there.
        Err(ServerError::TooOld { .. }) => return Ok(()),
        there => there?,
    };
    TenantCopy::new(context, &target, &usernames).remove(&mut there).await?;
    there.close().await;
    Ok(())
}
