//! Step 1: the tenant's database exists, with our mark. A database of this name without our mark is somebody else's: the
//! job fails and leaves it alone.

use crate::saga::{Context, StepError};
use crate::server::{Dialect, Found};

pub async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
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
        Found::Absent => Err(StepError::Transient("the database vanished while it was looked at".into())),
        Found::Marked(_) | Found::Unmarked { .. } => {
            Err(StepError::Permanent(format!("a database named {database} exists and is not this tenant's")))
        }
    }
}

pub async fn undo(context: &mut Context<'_>) -> Result<(), StepError> {
    let (database, mark) = (context.database().to_owned(), context.mark());
    Ok(context.session.drop_database(&database, &mark, context.repeated).await?)
}
