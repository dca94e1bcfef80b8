//! The step `apply_schema`: all tables exist, and the ownership marker says so.

use crate::sagas::saga::Step;
use crate::sagas::shared::schema;
use crate::sagas::{Context, StepError};

pub const STEP: Step = Step::new("apply_schema", |context| Box::pin(act(context)));

async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    let (database, owner) = (context.database().to_owned(), context.marker());
    let marker = context.session.find_own(&database, &owner).await?;
    schema::bring(context, &database, &marker).await
}
