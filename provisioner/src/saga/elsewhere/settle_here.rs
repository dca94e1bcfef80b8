//! Step 6: the database is the tenant's own, and no copy any more.

use super::arrived;
use crate::saga::{Context, StepError};
use crate::server::Found;

pub async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    if !arrived(context).await? {
        return Err(StepError::Transient("the tenant is not here yet".into()));
    }
    let (name, owner) = (context.database().to_owned(), context.mark());
    match context.session.find(&name).await? {
        Found::Marked(mark) if mark.is_of(&owner) && !mark.is_copy() => Ok(()),
        Found::Marked(mark) if mark.is_of(&owner) => Ok(context.session.mark(&name, &owner.migrated()).await?),
        _ => Err(StepError::Transient("the tenant's database is not here".into())),
    }
}
