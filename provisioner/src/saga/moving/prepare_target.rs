//! Step 1: the other server is fit and has an empty database and the tenant's user, who cannot log in yet. Nothing is closed
//! before it is known that this is possible.

use super::{clear, moved, target_session};
use crate::saga::provision::create_user::kept_password;
use crate::saga::{Context, StepError, enforce};
use crate::server::ServerError;
use crate::tables::stored_objects;
use kernel::database;
use std::time::Duration;

/// How long the other server may take to drop a copy.
const ANSWER: Duration = Duration::from_secs(40);

/// What a copy would not bring along. A scheduled event would go on writing where the tenant is while it is copied.
const UNMOVABLE: [(&str, &str); 2] = [
    ("scheduled events", "SELECT COUNT(*) FROM information_schema.EVENTS WHERE EVENT_SCHEMA = ?"),
    (
        "sequences or tables with a history",
        "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = ? AND TABLE_TYPE NOT IN ('BASE TABLE', 'VIEW')",
    ),
];

pub async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    if moved(context).await? {
        return Ok(());
    }
    let name = context.database().to_owned();
    for (what, query) in UNMOVABLE {
        let (count,): (i64,) = sqlx::query_as(query).bind(&name).fetch_one(context.session.connection()).await?;
        if count > 0 {
            return Err(StepError::Permanent(format!("the tenant's database has {what}, which are not moved")));
        }
    }
    context.session.enter(&name).await?;
    if let Some(what) = stored_objects::read(context.session.connection(), &name).await?.broken.first() {
        return Err(StepError::Permanent(format!(
            "the tenant's database has a {what}: it would not be moved, drop it"
        )));
    }
    let mut there = target_session(context).await?;
    if there.dialect != context.session.dialect {
        return Err(StepError::Permanent("the other server is not of the same kind".into()));
    }
    clear(context, &mut there).await?;
    if !there.create_database(&name, &context.mark().of_copy()).await? {
        return Err(StepError::Transient("a database of this name has come into being on the other server".into()));
    }
    let in_use = enforce::in_use(context).await?;
    let password = kept_password(context, &in_use).await?;
    let password = password.ok_or(StepError::Unfit("the tenant has no credential"))?;
    // A move that was given up may have left the other one, with a password of then.
    for former in context.usernames().iter().filter(|username| **username != in_use) {
        context.account(former).drop(&mut there).await?;
    }
    context.account(&in_use).create_locked(&mut there, &password).await?;
    there.close().await;
    Ok(())
}

/// A target that stays away does not keep the job, and with it the tenant's other operations, waiting for ever: when the job's patience is over,
/// what was copied is left there, under the mark of a copy. An audit names it, and the next move to that server removes it.
pub async fn undo(context: &mut Context<'_>) -> Result<(), StepError> {
    let cleared = tokio::time::timeout(ANSWER, clear_target(context)).await;
    let away = match &cleared {
        Err(_) => true,
        Ok(Err(StepError::Server(ServerError::Database(error)))) => database::is_unreachable(error),
        Ok(_) => false,
    };
    if away && context.lease.last_attempt {
        let tenant_id = &context.tenant.tenant_id;
        tracing::warn!(%tenant_id, "the other server is away: what was copied is left there, and an audit names it");
        return Ok(());
    }
    cleared.unwrap_or_else(|_| Err(StepError::Transient("the other server does not answer".into())))
}

/// Only what bears the mark of a copy goes: the tenant is served elsewhere.
async fn clear_target(context: &mut Context<'_>) -> Result<(), StepError> {
    let mut there = match target_session(context).await {
        // What this process cannot reach it has not touched.
        Err(StepError::Permanent(_)) => return Ok(()),
        there => there?,
    };
    let foreign = match clear(context, &mut there).await {
        Err(StepError::Permanent(_)) => true,
        cleared => cleared.map(|()| false)?,
    };
    for username in context.usernames() {
        let account = context.account(&username);
        if !foreign && account.lock(&mut there).await? {
            there.end_sessions_of(&username).await?;
            account.drop(&mut there).await?;
        }
    }
    there.close().await;
    Ok(())
}
