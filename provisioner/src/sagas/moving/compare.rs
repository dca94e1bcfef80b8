//! The step `compare`: both servers have the same tables, with the same columns and keys and, by checksums over every
//! column of every row, the same rows; and the same views, routines and triggers.

use super::{is_moved, lossless, target, verify_closed};
use crate::sagas::saga::{Step, WITH_ALL_ROWS};
use crate::sagas::{Context, StepError};
use crate::tables::database::compare_databases;

pub const STEP: Step = Step::new("compare", |context| Box::pin(act(context))).within(WITH_ALL_ROWS);

async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    if is_moved(context).await? {
        return Ok(());
    }
    verify_closed(context).await?;
    let name = context.database();
    let mut here = lossless(&context.tools.server, name).await?;
    let mut there = lossless(&*target(context).await?, name).await?;
    Ok(compare_databases(&mut here, &mut there, name).await?)
}
