//! Step 7: the tenant's credential logs in at the other server and reads, before anybody is told of it. A tenant that is not to
//! log in anywhere stays locked there.

use super::{closed, moved, present, target, target_session};
use crate::saga::provision::create_user::kept_password;
use crate::saga::provision::verify_login;
use crate::saga::{Context, StepError, enforce};

pub async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    if moved(context).await? {
        return Ok(());
    }
    closed(context).await?;
    if !enforce::may_log_in(present(context).await?.state) {
        return Ok(());
    }
    let in_use = enforce::in_use(context).await?;
    let password = kept_password(context, &in_use).await?;
    let password = password.ok_or(StepError::Unfit("the tenant has no credential"))?;
    let mut there = target_session(context).await?;
    if !context.account(&in_use).unlock(&mut there).await? {
        return Err(StepError::Transient("the tenant's account is not on the other server".into()));
    }
    there.close().await;
    verify_login::verify(context, &*target(context).await?, &in_use, &password).await
}
