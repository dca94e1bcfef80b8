//! Step 2: the loaded tables and those in use change places, in one statement, while nobody is in the database. Then what is no table is
//! made as the backup has it.

use super::{Stage, backups, beside, former_objects, kept, rename, replaced, stage, wish};
use crate::backup::load;
use crate::saga::provision::create_user::kept_password;
use crate::saga::{Context, StepError, enforce};
use crate::server::Found;
use crate::tables::stored_objects;
use kernel::jobs::JobError;

pub async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    let (database, beside, replaced) = (context.database().to_owned(), beside(context), replaced(context));
    let owner = context.mark();
    shut(context).await?;
    if stage(context).await? == Stage::Before {
        match context.session.find(&database).await? {
            Found::Marked(mark) if mark.is_of(&owner) => {}
            // It was lost: that is what is being mended.
            Found::Absent => drop(context.session.create_database(&database, &owner).await?),
            _ => {
                return Err(StepError::Permanent(format!(
                    "a database named {database} exists and is not this tenant's"
                )));
            }
        }
        context.session.create_database(&replaced, &owner).await?;
        former_objects::take_away(context).await?;
        kernel::process::failpoint::hit("restore.before_rename").await;
        rename(context, [(&database, &replaced), (&beside, &database)]).await?;
        kernel::process::failpoint::hit("restore.after_rename").await;
    }
    if stage(context).await? == Stage::Swapped {
        make_objects(context, &database).await?;
        kernel::process::failpoint::hit("restore.objects").await;
    }
    Ok(context.session.mark(&database, &owner.migrated()).await?)
}

/// The backup's views, routines, triggers and events. An earlier attempt may have made some of them.
async fn make_objects(context: &mut Context<'_>, database: &str) -> Result<(), StepError> {
    let wish = wish(context).await?;
    let kept = kept(context.tools, &wish).await?;
    let (store, keys) = (backups(context.tools)?, &context.tools.keys);
    let all = load::objects(store, keys, &wish.subject, &kept).await?;
    context.session.enter(database).await?;
    let connection = context.session.connection();
    stored_objects::drop_all(connection, database).await?;
    Ok(stored_objects::create(connection, database, Some(database), &all).await?)
}

/// Nobody logs in as the tenant from here on. A user that was lost with its server is made again, with the kept password.
async fn shut(context: &mut Context<'_>) -> Result<(), StepError> {
    let in_use: Option<(String,)> = sqlx::query_as("SELECT db_username FROM saas_tenant_databases WHERE tenant_id = ?")
        .bind(context.tenant.tenant_id.as_str())
        .fetch_optional(context.tools.store.pool())
        .await
        .map_err(JobError::from)?;
    let in_use = in_use.map(|(username,)| username).unwrap_or_default();
    for username in context.usernames() {
        if context.account(&username).lock(context.session).await? {
            context.session.end_sessions_of(&username).await?;
        } else if username == in_use {
            let password = kept_password(context, &username).await?;
            let password = password.ok_or(StepError::Unfit("the tenant's password is not kept"))?;
            context.account(&username).create_locked(context.session, &password).await?;
        }
    }
    Ok(())
}

/// The tables go back where they were, and the account is open again if the tenant is to be served.
pub async fn undo(context: &mut Context<'_>) -> Result<(), StepError> {
    let (database, beside, replaced) = (context.database().to_owned(), beside(context), replaced(context));
    if stage(context).await? == Stage::Swapped {
        // A trigger would hold its table where it is. Those that were in use come back with the next undo.
        stored_objects::drop_all(context.session.connection(), &database).await?;
        rename(context, [(&database, &beside), (&replaced, &database)]).await?;
        let mark = context.mark();
        let schema = context.tenant.database.schema_version;
        context.session.mark(&database, &crate::server::Mark::at(&mark, schema)).await?;
    }
    let present = context.tools.store.tenant(&context.tenant.tenant_id).await.map_err(JobError::from)?;
    let in_use = enforce::in_use(context).await?;
    // One that was lost, or is not made yet, is not missed here.
    if present.is_some_and(|tenant| enforce::may_log_in(tenant.state)) && !in_use.is_empty() {
        context.account(&in_use).unlock(context.session).await?;
    }
    Ok(())
}
