//! The step `load_backup`: the backup is loaded beside the data in use, compared with its manifest, and brought to the
//! present schema.

use super::{Stage, base_tables, beside, forget_databases, former_objects, replaced, stage};
use crate::backup::load::{self, LoadObjects};
use crate::sagas::saga::{Step, WITH_ALL_ROWS};
use crate::sagas::shared::backup_job::{backups, fitting, request};
use crate::sagas::shared::schema;
use crate::sagas::shared::server_objects::{self, ServerObject};
use crate::sagas::{Context, StepError};
use crate::server::{Found, Marker};

pub const STEP: Step = Step::new("load_backup", |context| Box::pin(act(context)))
    .undone_by(|context| Box::pin(undo(context)))
    .within(WITH_ALL_ROWS);

async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    if stage(context).await? != Stage::Before {
        return Ok(());
    }
    let request = request(context).await?;
    let backup = fitting(context, &request).await?;
    let manifest = &backup.manifest;
    let (database, owner) = (beside(context), context.marker());
    clear(context).await?;
    let job = context.job();
    server_objects::record_now(job, &job.tools.server.id, &[ServerObject::Database(&database)]).await?;
    if !context.session.create_database(&database, &owner).await? {
        return Err(StepError::taken(&database));
    }
    let (store, keys) = (backups(context.tools).await?.clone(), context.tools.keys.clone());
    let connection = context.session.connection();
    load::load(&store, &keys, &request.subject, &backup, connection, &database, LoadObjects::Later).await?;
    let marker = Marker::at(&owner, manifest.schema_version);
    context.session.set_marker(&database, &marker).await?;
    schema::bring(context, &database, &marker).await
}

/// Drops what an earlier attempt has loaded, after making the views and triggers again that it had dropped. A database
/// that may hold the replaced data is never dropped here.
async fn clear(context: &mut Context<'_>) -> Result<(), StepError> {
    let (beside, replaced, owner) = (beside(context), replaced(context), context.marker());
    if !base_tables(context, &replaced).await?.is_empty() {
        return Err(StepError::Permanent(format!(
            "database {replaced} holds tables that no restore has left there: check what they are, and drop it by hand"
        )));
    }
    former_objects::put_back(context).await?;
    context.session.drop_database(&replaced, &owner, true).await?;
    context.session.drop_database(&beside, &owner, true).await?;
    match context.session.find(&replaced).await? {
        Found::Absent => Ok(()),
        _ => Err(StepError::taken(&replaced)),
    }
}

async fn undo(context: &mut Context<'_>) -> Result<(), StepError> {
    clear(context).await?;
    forget_databases(context).await
}
