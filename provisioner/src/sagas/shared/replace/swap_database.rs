//! The step `swap_database`: the loaded tables and those in use change places, in one statement, while the tenant has
//! no session. Then the backup's views, routines, triggers and events are made.

use super::{Stage, beside, former_objects, rename, replaced, stage};
use crate::backup::load;
use crate::sagas::saga::Step;
use crate::sagas::shared::backup_job::{backups, request, stored_backup};
use crate::sagas::shared::server_objects::{self, ServerObject};
use crate::sagas::shared::{credential, enforce};
use crate::sagas::{Context, StepError};
use crate::server::{Found, Marker};
use crate::tables::stored_objects;
use kernel::jobs::JobError;
use kernel::process::failpoint;

pub const STEP: Step =
    Step::new("swap_database", |context| Box::pin(act(context))).undone_by(|context| Box::pin(undo(context)));

async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    let (database, beside, replaced) = (context.database().to_owned(), beside(context), replaced(context));
    let owner = context.marker();
    shut(context).await?;
    if stage(context).await? == Stage::Before {
        match context.session.find(&database).await? {
            Found::Marked(marker) if marker.is_of(&owner) => {}
            // The tenant's database was lost, and the restore brings it back.
            Found::Absent => drop(context.session.create_database(&database, &owner).await?),
            _ => return Err(StepError::taken(&database)),
        }
        let job = context.job();
        server_objects::record_now(job, &job.tools.server.id, &[ServerObject::Database(&replaced)]).await?;
        context.session.create_database(&replaced, &owner).await?;
        former_objects::take_away(context).await?;
        failpoint::hit("restore.before_rename").await;
        rename(context, [(&database, &replaced), (&beside, &database)]).await?;
        failpoint::hit("restore.after_rename").await;
    }
    if stage(context).await? == Stage::Swapped {
        make_objects(context, &database).await?;
        failpoint::hit("restore.objects").await;
    }
    Ok(context.session.set_marker(&database, &owner.migrated()).await?)
}

/// Makes the backup's views, routines, triggers and events. An earlier attempt may have made some of them.
async fn make_objects(context: &mut Context<'_>, database: &str) -> Result<(), StepError> {
    let request = request(context).await?;
    let backup = stored_backup(context.tools, &request).await?;
    let (store, keys) = (backups(context.tools).await?, &context.tools.keys);
    let all = load::objects(store, keys, &request.subject, &backup).await?;
    context.enter_to_copy(database).await?;
    let connection = context.session.connection();
    stored_objects::drop_all(connection, database).await?;
    Ok(stored_objects::create(connection, database, Some(database), &all).await?)
}

/// Locks the tenant's users and ends their sessions. A user that was lost with its server is made again, with the
/// stored password.
async fn shut(context: &mut Context<'_>) -> Result<(), StepError> {
    let (names, job) = (context.accounts().await?, context.job());
    let in_use = credential::username_in_use(context).await?;
    let mut exists = false;
    for name in &names {
        exists |= job.account_named(name).lock_out(context.session).await? && name.username == in_use;
    }
    if !exists && !in_use.is_empty() {
        let (username, password) = credential::in_use(context).await?;
        let name = job.new_name(&username);
        server_objects::record_now(job, &job.tools.server.id, &[ServerObject::Account(&name)]).await?;
        job.account_named(&name).create_locked(context.session, &password).await?;
    }
    Ok(())
}

/// The tables go back where they were, and the account is opened again if the tenant's state allows it.
async fn undo(context: &mut Context<'_>) -> Result<(), StepError> {
    let (database, beside, replaced) = (context.database().to_owned(), beside(context), replaced(context));
    if stage(context).await? == Stage::Swapped {
        // A table with a trigger cannot be renamed into another database. The undo of `load_backup` makes the former
        // triggers again.
        stored_objects::drop_all(context.session.connection(), &database).await?;
        rename(context, [(&database, &beside), (&replaced, &database)]).await?;
        let marker = context.marker();
        let schema = context.tenant.database.schema_version;
        context.session.set_marker(&database, &Marker::at(&marker, schema)).await?;
    }
    let present = context.tools.store.tenant(&context.tenant.tenant_id).await.map_err(JobError::from)?;
    let in_use = credential::username_in_use(context).await?;
    // The user may be lost, or not be made yet; then there is nothing to open.
    if present.is_some_and(|tenant| enforce::may_log_in(tenant.state)) && !in_use.is_empty() {
        let job = context.job();
        for name in context.accounts_of(&in_use).await? {
            job.account_named(&name).unlock(context.session).await?;
        }
    }
    Ok(())
}
