//! Step 2: the loaded tables and those in use change places, in one statement, while nobody is in the database.

use super::{Stage, beside, rename, replaced, stage};
use crate::saga::provision::create_user::kept_password;
use crate::saga::{Context, StepError};
use crate::server::Found;
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
        kernel::failpoint::hit("restore.before_rename").await;
        rename(context, [(&database, &replaced), (&beside, &database)]).await?;
        kernel::failpoint::hit("restore.after_rename").await;
    }
    context.session.mark(&database, &owner.migrated()).await
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

/// The tables go back where they were.
pub async fn undo(context: &mut Context<'_>) -> Result<(), StepError> {
    let (database, beside, replaced) = (context.database().to_owned(), beside(context), replaced(context));
    if stage(context).await? == Stage::Swapped {
        rename(context, [(&database, &beside), (&replaced, &database)]).await?;
        let mark = context.mark();
        let schema = context.tenant.database.schema_version;
        context.session.mark(&database, &crate::server::Mark::at(&mark, schema)).await?;
    }
    Ok(())
}
