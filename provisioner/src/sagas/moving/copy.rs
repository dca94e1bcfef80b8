//! The step `copy`: all tables and rows are on the other server, and then views, routines and triggers. Each attempt
//! begins again from nothing.

use super::{is_moved, lossless, target, verify_closed};
use crate::sagas::saga::{Step, WITH_ALL_ROWS};
use crate::sagas::shared::tenant_copy::TenantCopy;
use crate::sagas::{Context, StepError};
use crate::tables::database::copy_database;

pub const STEP: Step = Step::new("copy", |context| Box::pin(act(context))).within(WITH_ALL_ROWS);

async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    if is_moved(context).await? {
        return Ok(());
    }
    verify_closed(context).await?;
    let name = context.database().to_owned();
    // The rows are written on this session, so a worker that takes the job over ends the copying with the lock.
    let target = target(context).await?;
    let mut there = context.job().open(&target).await?;
    TenantCopy::new(context.job(), &target).create(&mut there).await?;
    let mut here = lossless(&context.tools.server, &name).await?;
    copy_database(&mut here, there.connection(), &name).await?;
    there.close().await;
    Ok(())
}
