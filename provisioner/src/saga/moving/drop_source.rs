//! Step 10: nothing of the tenant is left on the server that it has left.

use super::{moved, target_session};
use crate::saga::{Context, StepError};
use crate::server::Found;

pub async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    let (name, owner) = (context.database().to_owned(), context.mark());
    let mut there = target_session(context).await?;
    let complete = matches!(there.find(&name).await?, Found::Marked(mark) if mark.is_of(&owner) && !mark.is_copy());
    there.close().await;
    if !complete || !moved(context).await? {
        return Err(StepError::Transient("the tenant's database is not complete on the other server".into()));
    }
    for username in context.usernames() {
        let account = context.account(&username);
        if account.lock(context.session).await? {
            context.session.end_sessions_of(&username).await?;
            account.drop(context.session).await?;
        }
    }
    Ok(context.session.drop_database(&name, &owner, false).await?)
}
