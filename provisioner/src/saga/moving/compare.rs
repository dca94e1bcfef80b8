//! Step 6: both servers have the same tables, with the same columns and keys and, by checksums over every column of every row, the
//! same rows; and the same views, routines and triggers.

use super::{closed, lossless, moved, target};
use crate::saga::{Context, StepError};
use crate::tables::database::compare_databases;

pub async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    if moved(context).await? {
        return Ok(());
    }
    closed(context).await?;
    let name = context.database();
    let mut here = lossless(&context.tools.server, name).await?;
    let mut there = lossless(&*target(context).await?, name).await?;
    Ok(compare_databases(&mut here, &mut there, name).await?)
}
