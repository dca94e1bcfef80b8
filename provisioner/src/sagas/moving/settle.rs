//! The step `settle`: the database on the other server carries the ownership marker that the former one carries, and
//! the account is open or locked as the tenant's present state says, which may have changed during the move.

use super::{is_moved, target_session};
use crate::sagas::saga::Step;
use crate::sagas::shared::tenant_copy::present;
use crate::sagas::shared::{credential, enforce};
use crate::sagas::{Context, StepError};

pub const STEP: Step = Step::new("settle", |context| Box::pin(act(context)));

async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    if !is_moved(context).await? {
        return Err(StepError::Transient("the tenant has not been moved yet".into()));
    }
    let (name, owner) = (context.database().to_owned(), context.marker());
    let mut there = target_session(context).await?;
    if there.find_own(&name, &owner).await?.is_copy() {
        let former = context.session.find_own(&name, &owner).await?;
        there.set_marker(&name, &former).await?;
    }
    let (in_use, usernames) = (credential::username_in_use(context).await?, context.usernames());
    let accounts = usernames.each_ref().map(|username| context.account(username));
    let open = enforce::may_log_in(present(context).await?.state);
    enforce::at(accounts, &in_use, open, &mut there).await?;
    there.close().await;
    Ok(())
}
