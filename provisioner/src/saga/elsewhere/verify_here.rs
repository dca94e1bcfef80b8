//! Step 4: the tenant's credential logs in here and reads, before anybody is told of it. A tenant that is not to log in anywhere stays locked.

use super::{arrived, present};
use crate::saga::provision::create_user::kept_password;
use crate::saga::provision::verify_login;
use crate::saga::{Context, StepError, enforce};

pub async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    if arrived(context).await? || !enforce::may_log_in(present(context).await?.state) {
        return Ok(());
    }
    let in_use = enforce::in_use(context).await?;
    let password = kept_password(context, &in_use).await?;
    let password = password.ok_or(StepError::Unfit("the tenant has no credential"))?;
    if !context.account(&in_use).unlock(context.session).await? {
        return Err(StepError::Transient("the tenant's account is not here".into()));
    }
    verify_login::verify(context, &context.tools.server, &in_use, &password).await
}
