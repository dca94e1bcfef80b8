//! Step 6: both servers have the same tables, with the same columns and keys and, by checksums over every column of every row, the
//! same rows; and the same views, routines and triggers.

use super::{closed, lossless, moved, target};
use crate::backup::objects;
use crate::legacy::compare::sum;
use crate::legacy::lane::{Direction, Lane, Range};
use crate::legacy::{routes, schema};
use crate::saga::{Context, StepError};
use crate::server::MARK_TABLE;

pub async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    if moved(context).await? {
        return Ok(());
    }
    closed(context).await?;
    let name = context.database();
    let mut here = lossless(&context.tools.server, name).await?;
    let mut there = lossless(&*target(context).await?, name).await?;
    let (mut tables, mut copies) = (schema::read(&mut here, name).await?, schema::read(&mut there, name).await?);
    for tables in [&mut tables, &mut copies] {
        tables.retain(|name, table| name != MARK_TABLE && table.kind != "VIEW");
    }
    let objects = objects::read(&mut here, name).await?.all;
    objects::compare(&mut there, name, &objects).await?;
    if let Some(table) = copies.keys().find(|table| !tables.contains_key(*table)) {
        return Err(differs(table));
    }
    for (name, table) in &tables {
        let same = copies.get(name).is_some_and(|copy| {
            copy.columns == table.columns
                && copy.primary_key == table.primary_key
                && copy.unique_keys == table.unique_keys
        });
        if !same {
            return Err(differs(name));
        }
    }
    for route in routes::of_copy(&tables) {
        let lane = Lane::new(&route, Direction::Forward, context.tenant.tenant_id.as_str())?;
        let (range, name) = (Range::default(), &route.table);
        let (from, to) =
            tokio::join!(sum(&mut here, &lane.from, &range, name), sum(&mut there, &lane.to, &range, name));
        if from? != to? {
            return Err(differs(&route.table));
        }
    }
    Ok(())
}

fn differs(table: &str) -> StepError {
    StepError::Permanent(format!("the copy of the table {table} differs"))
}
