//! Step 1: the backup is loaded beside the data in use, compared with what it says, and brought to the present schema.

use super::{Stage, backups, base_tables, beside, fitting, former_objects, replaced, stage, wish};
use crate::backup::load::{self, Stored};
use crate::saga::provision::apply_schema;
use crate::saga::{Context, StepError};
use crate::server::{Found, Mark};

pub async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    if stage(context).await? != Stage::Before {
        return Ok(());
    }
    let wish = wish(context).await?;
    let kept = fitting(context, &wish).await?;
    let manifest = &kept.manifest;
    let (database, owner) = (beside(context), context.mark());
    clear(context).await?;
    if !context.session.create_database(&database, &owner).await? {
        return Err(StepError::Permanent(format!("a database named {database} exists and is not this tenant's")));
    }
    let (store, keys) = (backups(context.tools)?.clone(), context.tools.keys.clone());
    let connection = context.session.connection();
    load::load(&store, &keys, &wish.subject, &kept, connection, &database, Stored::Later).await?;
    let mark = Mark::at(&owner, manifest.schema_version);
    context.session.mark(&database, &mark).await?;
    apply_schema::bring(context, &database, &mark).await
}

/// Drops what an earlier attempt has loaded, after putting back what it had taken away. What might be the data in use of a moment ago is
/// never dropped here.
async fn clear(context: &mut Context<'_>) -> Result<(), StepError> {
    let (beside, replaced, owner) = (beside(context), replaced(context), context.mark());
    if !base_tables(context, &replaced).await?.is_empty() {
        return Err(StepError::Permanent(format!(
            "the database {replaced} holds tables that no restore has left there: look at them, and drop it by hand"
        )));
    }
    former_objects::put_back(context).await?;
    context.session.drop_database(&replaced, &owner, true).await?;
    context.session.drop_database(&beside, &owner, true).await?;
    match context.session.find(&replaced).await? {
        Found::Absent => Ok(()),
        _ => Err(StepError::Permanent(format!("a database named {replaced} exists and is not this tenant's"))),
    }
}

pub async fn undo(context: &mut Context<'_>) -> Result<(), StepError> {
    clear(context).await
}
