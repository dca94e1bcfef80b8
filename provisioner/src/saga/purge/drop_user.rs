//! Step 2: the tenant's users are gone, and their sessions, which would outlive them.

use crate::saga::{Context, StepError};

pub async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    for username in context.usernames() {
        let account = context.account(&username);
        if account.lock(context.session).await? {
            context.session.end_sessions_of(&username).await?;
            account.drop(context.session).await?;
        }
    }
    Ok(())
}
