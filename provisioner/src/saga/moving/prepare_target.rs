//! Step 1: the other server is fit and has an empty database and the tenant's user, who cannot log in yet. Nothing is closed
//! before it is known that this is possible.

use super::{clear, moved, target_session};
use crate::saga::provision::create_user::kept_password;
use crate::saga::{Context, StepError, enforce};

/// What a copy would not bring along.
const UNMOVABLE: [(&str, &str); 4] = [
    ("views", "SELECT COUNT(*) FROM information_schema.VIEWS WHERE TABLE_SCHEMA = ?"),
    ("triggers", "SELECT COUNT(*) FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = ?"),
    ("routines", "SELECT COUNT(*) FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = ?"),
    ("scheduled events", "SELECT COUNT(*) FROM information_schema.EVENTS WHERE EVENT_SCHEMA = ?"),
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
    context.account(&in_use).create_locked(&mut there, &password).await?;
    there.close().await;
    Ok(())
}

/// Only what bears the mark of a copy goes: the tenant is served elsewhere.
pub async fn undo(context: &mut Context<'_>) -> Result<(), StepError> {
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
