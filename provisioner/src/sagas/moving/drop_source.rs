//! The step `drop_source`: nothing of the tenant is left on the server that it has left.

use super::{is_moved, target_session};
use crate::sagas::saga::Step;
use crate::sagas::{Context, StepError};
use crate::server::Found;

pub const STEP: Step = Step::new("drop_source", |context| Box::pin(act(context)));

async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    let (name, owner) = (context.database().to_owned(), context.marker());
    let mut there = target_session(context).await?;
    let complete =
        matches!(there.find(&name).await?, Found::Marked(marker) if marker.is_of(&owner) && !marker.is_copy());
    there.close().await;
    if !complete || !is_moved(context).await? {
        return Err(StepError::Transient(format!("database {name} is not complete on the other server")));
    }
    for username in context.usernames() {
        context.account(&username).remove(context.session).await?;
    }
    Ok(context.session.drop_database(&name, &owner, false).await?)
}
