//! Step 5: all tables and rows are on the other server, and then views, routines and triggers. Each attempt begins anew.

use super::{clear, closed, lossless, moved, target_session};
use crate::saga::{Context, StepError};
use crate::tables::database::copy_database;

pub async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    if moved(context).await? {
        return Ok(());
    }
    closed(context).await?;
    let name = context.database().to_owned();
    // Its connection writes: whoever takes the job over ends it with the lock.
    let mut there = target_session(context).await?;
    clear(context, &mut there).await?;
    there.create_database(&name, &context.mark().of_copy()).await?;
    let mut here = lossless(&context.tools.server, &name).await?;
    copy_database(&mut here, there.connection(), &name).await?;
    there.close().await;
    Ok(())
}
