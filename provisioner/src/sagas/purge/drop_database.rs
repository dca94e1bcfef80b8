//! The step `drop_database`: the tenant's database is gone. A database of this name without the tenant's ownership
//! marker belongs to another owner. If provisioning the tenant failed because of it, it is left alone; if the tenant
//! had data, the purge stops until an operator has found out what happened to it.

use crate::sagas::saga::Step;
use crate::sagas::{Context, StepError};
use crate::server::Found;

pub const STEP: Step = Step::new("drop_database", |context| Box::pin(act(context)));

async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    // Open sessions would hold up the drop.
    for username in context.usernames() {
        context.account(&username).lock_out(context.session).await?;
    }
    let (database, marker) = (context.database().to_owned(), context.marker());
    context.session.drop_database(&database, &marker, context.repeated).await?;
    let had_data = context.tenant.database.host.is_some();
    match context.session.find(&database).await? {
        Found::Marked(_) | Found::Unmarked { .. } if had_data => Err(StepError::taken(&database)),
        _ => Ok(()),
    }
}
