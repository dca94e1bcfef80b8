//! The step `create_database`: the tenant's database exists, with its ownership marker. A database of this name without
//! the marker belongs to another owner: the job fails and leaves it alone.

use crate::sagas::saga::Step;
use crate::sagas::{Context, StepError};
use crate::server::{Dialect, Found};

pub const STEP: Step =
    Step::new("create_database", |context| Box::pin(act(context))).undone_by(|context| Box::pin(undo(context)));

async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    let (database, marker) = (context.database().to_owned(), context.marker());
    let _turn = context.tools.server.ddl_turn().await;
    if context.session.create_database(&database, &marker).await? {
        return Ok(());
    }
    match context.session.find(&database).await? {
        Found::Marked(found) if found.is_of(&marker) => Ok(()),
        Found::Unmarked { empty: true } if context.session.dialect == Dialect::MySql && context.repeated => {
            Ok(context.session.set_marker(&database, &marker).await?)
        }
        Found::Absent => Err(StepError::Transient(format!("database {database} vanished while it was checked"))),
        Found::Marked(_) | Found::Unmarked { .. } => Err(StepError::taken(&database)),
    }
}

async fn undo(context: &mut Context<'_>) -> Result<(), StepError> {
    let (database, marker) = (context.database().to_owned(), context.marker());
    Ok(context.session.drop_database(&database, &marker, context.repeated).await?)
}
