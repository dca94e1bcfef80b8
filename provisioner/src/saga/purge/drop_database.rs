//! Step 1: the tenant's database is gone. A database of this name without the tenant's mark is somebody else's: the one a failed
//! tenant failed for is left alone; in the place of a tenant's data it stops the purge until somebody has looked.

use crate::saga::{Context, StepError};
use crate::server::Found;

pub async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    // Whoever is still in it would hold up the drop.
    for username in context.usernames() {
        if context.account(&username).lock(context.session).await? {
            context.session.end_sessions_of(&username).await?;
        }
    }
    let (database, mark) = (context.database().to_owned(), context.mark());
    context.session.drop_database(&database, &mark, context.repeated).await?;
    let had_data = context.tenant.database.host.is_some();
    match context.session.find(&database).await? {
        Found::Marked(_) | Found::Unmarked { .. } if had_data => {
            Err(StepError::Permanent(format!("a database named {database} exists and is not this tenant's")))
        }
        _ => Ok(()),
    }
}
