//! Step 5: all tables and rows are on the other server, and then views, routines and triggers. Each attempt begins anew.

use super::{clear, closed, lossless, moved, target_session};
use crate::backup::objects;
use crate::legacy::copy::{Commit, copy};
use crate::legacy::destination::{define, definition};
use crate::legacy::lane::{Direction, Lane, Range};
use crate::legacy::progress::Progress;
use crate::legacy::source::begin_copying;
use crate::legacy::{routes, schema};
use crate::saga::{Context, StepError};
use crate::server::MARK_TABLE;
use futures::FutureExt;
use kernel::database::sql;

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
    begin_copying(there.connection()).await?;
    there.execute(&format!("SET SESSION foreign_key_checks = 0; USE {}", sql::identifier(&name)?)).await?;
    let mut tables = schema::read(&mut here, &name).await?;
    tables.remove(MARK_TABLE);
    for route in routes::of_copy(&tables) {
        let statement = definition(&mut here, &route.table).await?;
        define(there.connection(), &statement).await?;
        let lane = Lane::new(&route, Direction::Forward, context.tenant.tenant_id.as_str())?;
        let (from, to) = (&mut here, there.connection());
        let progress = Progress::quiet();
        let kept = async |_, _| Ok(());
        copy(&lane, Range::default(), from, to, Commit::Chunks, &progress, kept).boxed().await?;
    }
    // After the rows, which no trigger is to see.
    let found = objects::read(&mut here, &name).await?;
    objects::create(there.connection(), &name, Some(&name), &found.all).await?;
    there.close().await;
    Ok(())
}
