//! Step 9: the database there bears the mark that the former one bears, and the account is open or locked as the tenant's present
//! state says: it may have changed while it was on its way.

use super::{moved, present, target_session};
use crate::saga::{Context, StepError, enforce};
use crate::server::Found;

pub async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    if !moved(context).await? {
        return Err(StepError::Transient("the tenant has not been moved yet".into()));
    }
    let (name, owner) = (context.database().to_owned(), context.mark());
    let mut there = target_session(context).await?;
    match there.find(&name).await? {
        Found::Marked(mark) if mark.is_of(&owner) && !mark.is_copy() => {}
        Found::Marked(mark) if mark.is_of(&owner) => match context.session.find(&name).await? {
            Found::Marked(former) if former.is_of(&owner) => there.mark(&name, &former).await?,
            _ => return Err(StepError::Transient("the tenant's former database bears no mark of its own".into())),
        },
        _ => return Err(StepError::Transient("the tenant's database is not on the other server".into())),
    }
    let (in_use, usernames) = (enforce::in_use(context).await?, context.usernames());
    let accounts = usernames.each_ref().map(|username| context.account(username));
    let open = enforce::may_log_in(present(context).await?.state);
    enforce::at(accounts, &in_use, open, &mut there).await?;
    there.close().await;
    Ok(())
}
