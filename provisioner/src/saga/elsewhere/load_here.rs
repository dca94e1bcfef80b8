//! Step 3: the tenant's user is here, locked, and the backup is loaded, compared and brought to the present schema. Each attempt begins anew.

use super::arrived;
use crate::backup::load::{self, Stored};
use crate::saga::provision::apply_schema;
use crate::saga::provision::create_user::kept_password;
use crate::saga::restore::{backups, fitting, wish};
use crate::saga::{Context, StepError, enforce};
use crate::server::{Found, Mark};

pub async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    if arrived(context).await? {
        return Ok(());
    }
    let wish = wish(context).await?;
    let kept = fitting(context, &wish).await?;
    let (name, owner) = (context.database().to_owned(), context.mark());
    clear(context).await?;
    if !context.session.create_database(&name, &owner.of_copy()).await? {
        return Err(StepError::Transient("a database of this name has come into being here".into()));
    }
    let in_use = enforce::in_use(context).await?;
    let password = kept_password(context, &in_use).await?;
    let password = password.ok_or(StepError::Unfit("the tenant has no credential"))?;
    // Of an earlier stay here, with a password of then.
    for former in context.usernames().iter().filter(|username| **username != in_use) {
        context.account(former).drop(context.session).await?;
    }
    context.account(&in_use).create_locked(context.session, &password).await?;
    let (store, keys) = (backups(context.tools)?.clone(), context.tools.keys.clone());
    let connection = context.session.connection();
    load::load(&store, &keys, &wish.subject, &kept, connection, &name, Stored::Made).await?;
    apply_schema::migrate(context, &name, &Mark::at(&owner, kept.manifest.schema_version)).await.map(drop)
}

/// Removes what an earlier attempt has loaded. Anything else of this name is not this job's, and in its way.
async fn clear(context: &mut Context<'_>) -> Result<(), StepError> {
    let (name, owner) = (context.database().to_owned(), context.mark());
    match context.session.find(&name).await? {
        Found::Absent => Ok(()),
        Found::Marked(mark) if mark.is_of(&owner) && mark.is_copy() => {
            Ok(context.session.drop_database(&name, &owner, false).await?)
        }
        // MySQL marks a database after it has made it.
        Found::Unmarked { empty: true } if context.repeated => {
            Ok(context.session.drop_database(&name, &owner, true).await?)
        }
        Found::Marked(_) | Found::Unmarked { .. } => Err(StepError::Permanent(format!(
            "a database named {name} exists on {} already: look at it, and drop it by hand",
            context.tools.server.id
        ))),
    }
}

pub async fn undo(context: &mut Context<'_>) -> Result<(), StepError> {
    let foreign = match clear(context).await {
        Err(StepError::Permanent(_)) => true,
        cleared => cleared.map(|()| false)?,
    };
    for username in context.usernames() {
        let account = context.account(&username);
        if !foreign && account.lock(context.session).await? {
            context.session.end_sessions_of(&username).await?;
            account.drop(context.session).await?;
        }
    }
    Ok(())
}
