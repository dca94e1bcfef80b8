//! The steps that put a backup in the place of a tenant's data, for restores in place and for new tenants.
//!
//! **Guarantees.** The data in use stays as it is until the backup has been loaded beside it and every table was
//! compared with its manifest. Then the tables change places in one statement, which the server does whole or
//! not at all. At that moment the tenant is out of service and its account is locked and has no session. Views,
//! routines, triggers and events cannot be renamed: those in use are stored ([`former_objects`]) and dropped before the
//! swap, and the backup's are made after it. The replaced data is dropped last. Until then the job can be undone; the
//! record that it will be dropped is the point of no return. A tenant that is made from a backup becomes active after
//! all of this.
//!
//! | database | what is in it |
//! |---|---|
//! | `..._tenant_acme` | what nodes use |
//! | `..._tenant_acme__restore` | what is being loaded; no table is left in it after the swap |
//! | `..._tenant_acme__before` | what was in use before the swap; it does not exist before |

pub mod drop_replaced;
mod former_objects;
pub mod load_backup;
pub mod swap_database;

use super::backup_job::{request, restored};
use super::beside::{REPLACED, RESTORED};
use super::server_objects::{self, ServerObject};
use crate::sagas::saga::PointOfNoReturn;
use crate::sagas::{Context, StepError};
use crate::server::{Found, MARKER_TABLE};
use kernel::database::sql;
use sqlx::Executor;

/// Until the replaced data is dropped.
pub const POINT_OF_NO_RETURN: PointOfNoReturn =
    PointOfNoReturn::Reached(|tools, lease, _| Box::pin(async move { Ok(restored(tools, lease).await?.is_some()) }));

/// How far the swap is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing has been swapped.
    Before,
    /// The backup is in its place; what it replaced is still there.
    Swapped,
    /// The job is past its point of no return: what was replaced is being dropped.
    Settled,
}

fn beside(context: &Context<'_>) -> String {
    format!("{}{RESTORED}", context.database())
}

fn replaced(context: &Context<'_>) -> String {
    format!("{}{REPLACED}", context.database())
}

/// Deletes the rows of both, which are gone.
async fn forget_databases(context: &Context<'_>) -> Result<(), StepError> {
    let (job, names) = (context.job(), [beside(context), replaced(context)]);
    let mut unit = job.begin().await?;
    for name in &names {
        let (id, server) = (&job.tenant.tenant_id, &job.tools.server.id);
        server_objects::forget(&mut unit, id, server, ServerObject::Database(name)).await?;
    }
    Ok(unit.commit().await?)
}

async fn stage(context: &mut Context<'_>) -> Result<Stage, StepError> {
    if request(context).await?.restored.is_some() {
        return Ok(Stage::Settled);
    }
    let (beside, replaced) = (beside(context), replaced(context));
    let found = context.session.find(&replaced).await?;
    if matches!(&found, Found::Marked(marker) if marker.is_of(&context.marker())) {
        former_objects::adopt(context, &replaced).await?;
    }
    match found {
        Found::Absent => Ok(Stage::Before),
        _ if base_tables(context, &beside).await?.is_empty() => Ok(Stage::Swapped),
        _ => Ok(Stage::Before),
    }
}

/// Tables of a database, without views, which stay in their database, and without those of the ownership marker and of
/// the former objects.
async fn base_tables(context: &mut Context<'_>, database: &str) -> Result<Vec<String>, StepError> {
    let rows = sqlx::query(
        "SELECT TABLE_NAME FROM information_schema.TABLES
         WHERE TABLE_SCHEMA = ? AND TABLE_TYPE = 'BASE TABLE' ORDER BY TABLE_NAME",
    )
    .bind(database)
    .fetch_all(context.session.connection())
    .await?;
    let names = rows.iter().map(|row| kernel::database::text(row, 0)).collect::<Result<Vec<_>, _>>()?;
    let is_ours = |name: &str| name == MARKER_TABLE || name == former_objects::TABLE;
    Ok(names.into_iter().filter(|name| !is_ours(name)).collect())
}

/// One statement that moves all tables of the first database of each pair into the second one.
async fn rename(context: &mut Context<'_>, pairs: [(&str, &str); 2]) -> Result<(), StepError> {
    let mut moves = Vec::new();
    for (from, to) in pairs {
        for table in base_tables(context, from).await? {
            let (from, to, table) = (sql::identifier(from)?, sql::identifier(to)?, sql::identifier(&table)?);
            moves.push(format!("{from}.{table} TO {to}.{table}"));
        }
    }
    if moves.is_empty() {
        return Ok(());
    }
    context.session.connection().execute(sqlx::raw_sql(&format!("RENAME TABLE {}", moves.join(", ")))).await?;
    Ok(())
}
