//! The step `verify_login`: the tenant's credential logs in at this server and reads, before any node uses it here. The
//! account of a tenant that may not log in anywhere stays locked.

use super::is_here;
use crate::sagas::saga::Step;
use crate::sagas::shared::tenant_copy::{TenantCopy, present};
use crate::sagas::shared::{credential, enforce};
use crate::sagas::{Context, StepError};

pub const STEP: Step = Step::new("verify_login", |context| Box::pin(act(context)));

async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    if is_here(context).await? || !enforce::may_log_in(present(context).await?.state) {
        return Ok(());
    }
    let credential = credential::in_use(context).await?;
    TenantCopy::new(context.job(), &context.tools.server).open(context.session, &credential).await
}
