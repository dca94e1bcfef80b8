//! The step `create_database`: the tenant's database exists, with its ownership marker. A database of this name without
//! the marker belongs to another owner: the job fails and leaves it alone.

use crate::sagas::saga::Step;
use crate::sagas::{Context, StepError};
use crate::server::{Dialect, Found};

pub const STEP: Step =
    Step::new("create_database", |context| Box::pin(act(context))).undone_by(|context| Box::pin(undo(context)));

async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    let (database, mark) = (context.database().to_owned(), context.mark());
    let _turn = context.tools.server.ddl_turn().await;
    if context.session.create_database(&database, &mark).await? {
        return Ok(());
    }
    match context.session.find(&database).await? {
        Found::Marked(found) if found.is_of(&mark) => Ok(()),
        Found::Unmarked { empty: true } if context.session.dialect == Dialect::MySql && context.repeated => {
            Ok(context.session.mark(&database, &mark).await?)
        }
        Found::Absent => Err(StepError::Transient(format!("database {database} vanished while it was checked"))),
        Found::Marked(_) | Found::Unmarked { .. } => Err(StepError::taken(&database)),
    }
}

async fn undo(context: &mut Context<'_>) -> Result<(), StepError> {
    let (database, mark) = (context.database().to_owned(), context.mark());
    Ok(context.session.drop_database(&database, &mark, context.repeated).await?)
}
