//! The step `drop_database`: the tenant's databases on its server are gone, also those that a restore or a restore test
//! has left. A database of such a name without the tenant's ownership marker belongs to another owner. If provisioning
//! the tenant failed because of it, it is left alone; if the tenant had data, the purge stops until an operator has
//! found out what happened to it.

use super::databases;
use crate::sagas::saga::Step;
use crate::sagas::{Context, StepError};
use crate::server::Found;

pub const STEP: Step = Step::new("drop_database", |context| Box::pin(act(context)));

async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    let (names, job) = (context.accounts().await?, context.job());
    // Open sessions would hold up the drop.
    for name in &names {
        job.account_named(name).lock_out(context.session).await?;
    }
    let server = &context.tools.server;
    databases::drop_all(job, server, context.session).await?;
    let had_data = context.tenant.database.host.is_some();
    match context.session.find(context.database()).await? {
        Found::Marked(_) | Found::Unmarked { .. } if had_data => Err(StepError::taken(context.database())),
        _ => Ok(()),
    }
}
