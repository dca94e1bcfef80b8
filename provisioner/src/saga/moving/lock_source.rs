//! Step 4: nobody can log in as the tenant where it is, and nobody is: from here on its rows stay as they are.

use super::{closed, moved};
use crate::saga::{Context, StepError};

pub async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    if moved(context).await? {
        return Ok(());
    }
    closed(context).await?;
    for username in context.usernames() {
        if context.account(&username).lock(context.session).await? {
            context.session.end_sessions_of(&username).await?;
        }
    }
    Ok(())
}
