//! The step `last_backup`: if `BACKUP_BEFORE_PURGE` says so, a last backup is whole. It is pruned by its age, as every
//! backup of a purged tenant. If the database cannot be backed up, the purge fails before it has done anything.

use crate::sagas::saga::{Step, WITH_ALL_ROWS};
use crate::sagas::shared::take_backup::{is_taken, record, take_backup};
use crate::sagas::{Context, StepError};
use crate::server::Found;

pub const STEP: Step = Step::new("last_backup", |context| Box::pin(act(context))).within(WITH_ALL_ROWS);

async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    if !context.tools.backup_before_purge {
        return Ok(());
    }
    let (database, owner) = (context.database().to_owned(), context.marker());
    // A tenant whose provisioning failed has no database. If an earlier attempt has dropped the database, that attempt
    // has backed it up.
    match context.session.find(&database).await? {
        Found::Marked(marker) if marker.is_of(&owner) => {}
        _ => return Ok(()),
    }
    if is_taken(context.tools, context.lease, Some(context.tenant)).await? {
        return Ok(());
    }
    let manifest = take_backup(context.tools, Some(context.tenant)).await.map_err(|error| match error {
        // It would be refused again and again.
        StepError::Permanent(why) => StepError::NotBegun(format!(
            "no last backup can be taken: {why}. Nothing was purged: change what is named, or set \
             BACKUP_BEFORE_PURGE=false for the provisioners, and request the purge again"
        )),
        error => error,
    })?;
    let mut unit = context.job().begin().await?;
    record(&mut unit, context.tools, &manifest).await?;
    Ok(unit.commit().await?)
}
