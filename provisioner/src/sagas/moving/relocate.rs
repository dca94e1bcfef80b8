//! The step `relocate`: the tenant is on the other server. Its event makes nodes read the tenant's address again. In
//! the same transaction it is recorded that what is on the former server is left there, until `drop_source` has removed
//! it.

use super::{is_moved, target, verify_closed};
use crate::sagas::saga::Step;
use crate::sagas::shared::server_objects;
use crate::sagas::{ACTOR, Context, StepError};
use kernel::domain::Command;

/// The point of no return.
pub const STEP: Step = Step::new("relocate", |context| Box::pin(act(context)));

async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    if is_moved(context).await? {
        return Ok(());
    }
    verify_closed(context).await?;
    let (server, host, port) = target(context).await?.address();
    // Accounts of a tenant from before the records are recorded with this.
    context.accounts().await?;
    let job = context.job();
    let mut unit = job.begin().await?;
    unit.execute(&job.tenant.tenant_id, ACTOR, Command::CompleteMove { server, host, port }).await?;
    server_objects::leave(&mut unit, job.tenant, &job.tools.server.id).await?;
    Ok(unit.commit().await?)
}
