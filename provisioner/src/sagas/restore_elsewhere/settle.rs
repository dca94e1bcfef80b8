//! The step `settle`: the database carries the ownership marker of the tenant's own database instead of that of a copy.

use super::is_here;
use crate::sagas::saga::Step;
use crate::sagas::{Context, StepError};

pub const STEP: Step = Step::new("settle", |context| Box::pin(act(context)));

async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    if !is_here(context).await? {
        return Err(StepError::Transient("the tenant is not on this server yet".into()));
    }
    let (name, owner) = (context.database().to_owned(), context.marker());
    if context.session.find_own(&name, &owner).await?.is_copy() {
        context.session.set_marker(&name, &owner.migrated()).await?;
    }
    Ok(())
}
