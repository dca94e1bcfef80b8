//! The step `create_database`: the tenant's database exists, with its ownership marker. A database of this name without
//! the marker belongs to another owner: the job fails and leaves it alone. On MySQL the marker is written after the
//! database was made. There an empty database without it is the tenant's if a job had recorded, when there was none,
//! that it was about to make it.

use super::server_objects::{self, ServerObject};
use crate::sagas::saga::Step;
use crate::sagas::{Context, StepError};
use crate::server::{Dialect, Found};
use kernel::process::failpoint;

pub const STEP: Step =
    Step::new("create_database", |context| Box::pin(act(context))).undone_by(|context| Box::pin(undo(context)));

async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    let (database, marker, job) = (context.database(), context.marker(), context.job());
    let server = &job.tools.server.id;
    let object = ServerObject::Database(database);
    let _turn = context.tools.server.ddl_turn().await;
    match context.session.find(database).await? {
        // One that an earlier job has left is in use again.
        Found::Marked(found) if found.is_of(&marker) => {
            return Ok(server_objects::record_now(job, server, &[object]).await?);
        }
        Found::Unmarked { empty: true }
            if context.session.dialect == Dialect::MySql && context.is_recorded(database).await? =>
        {
            server_objects::record_now(job, server, &[object]).await?;
            return Ok(context.session.set_marker(database, &marker).await?);
        }
        Found::Absent => {}
        Found::Marked(_) | Found::Unmarked { .. } => return Err(StepError::taken(database)),
    }
    server_objects::record_now(job, server, &[object]).await?;
    failpoint::hit("create_database.recorded").await;
    if context.session.create_database(database, &marker).await? {
        return Ok(());
    }
    // It came into being after it was found to be absent, so it is not ours.
    server_objects::forget_now(job, server, object).await?;
    Err(StepError::taken(database))
}

async fn undo(context: &mut Context<'_>) -> Result<(), StepError> {
    let (database, marker, job) = (context.database(), context.marker(), context.job());
    let may_be_ours = context.is_recorded(database).await?;
    context.session.drop_database(database, &marker, may_be_ours).await?;
    Ok(server_objects::forget_now(job, &job.tools.server.id, ServerObject::Database(database)).await?)
}
