//! The steps that put a backup in the place of a tenant's data, one file each, in the order they run.
//!
//! **Guarantees.** The data in use stays as it is until the backup has been loaded beside it and every table was compared with what the
//! backup says. Then the tables change places in one statement, which the server does whole or not at all. Nobody is in the
//! tenant's database at that moment: the tenant is out of service, its account is locked and has no session. Views, routines,
//! triggers and events cannot move: those in use are kept ([`former_objects`]) and dropped before, the backup's are made after. What was
//! replaced is dropped last. Until then the job can be undone; from then on it is only ever finished. A tenant that is made from a backup
//! is not active before all of this is done.
//!
//! | database | what is in it |
//! |---|---|
//! | `..._tenant_acme` | what nodes use |
//! | `..._tenant_acme__restore` | what is being loaded; no table is left in it after the swap |
//! | `..._tenant_acme__before` | what was in use before the swap; there is none before it |

pub mod copy_members;
pub mod drop_replaced;
mod former_objects;
pub mod load_backup;
pub mod swap_database;

use super::{Context, StepError, Tools};
use crate::backup::{BackupStore, Kept, Wish};
use crate::server::{Found, MARK_TABLE};
use kernel::database::migrate::tenant_schema;
use kernel::database::sql;
use kernel::domain::RestoredFrom;
use kernel::jobs::{JobError, Lease};
use sqlx::Executor;

/// Where the three databases stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing was swapped.
    Before,
    /// The backup is in its place; what it replaced is still there.
    Swapped,
    /// And there is no way back.
    Settled,
}

/// Name of the database that is loaded.
fn beside(context: &Context<'_>) -> String {
    format!("{}__restore", context.database())
}

/// Name of the database that is replaced.
fn replaced(context: &Context<'_>) -> String {
    format!("{}__before", context.database())
}

pub(super) async fn wish(context: &Context<'_>) -> Result<Wish, StepError> {
    let wish = Wish::of(context.tools.store.pool(), context.lease).await.map_err(JobError::from)?;
    wish.ok_or(StepError::Unfit("nobody has kept what this job is about"))
}

pub(super) fn backups(tools: &Tools) -> Result<&BackupStore, StepError> {
    tools.backups.as_ref().ok_or(StepError::Unfit("the setting BACKUP_STORE is missing"))
}

/// The backup to be restored.
async fn kept(tools: &Tools, wish: &Wish) -> Result<Kept, StepError> {
    let Some(backup_id) = &wish.backup_id else {
        return Err(StepError::Unfit("the job does not say which backup"));
    };
    Ok(Kept::read(backups(tools)?, &wish.subject, backup_id).await?)
}

/// The same, if it can be loaded into this server by this program.
pub(super) async fn fitting(context: &Context<'_>, wish: &Wish) -> Result<Kept, StepError> {
    let kept = kept(context.tools, wish).await?;
    let (manifest, dialect) = (&kept.manifest, context.session.dialect.to_string());
    if manifest.dialect != dialect {
        return Err(StepError::Permanent(format!(
            "the backup {} is of a {} server and this one is {dialect}: restore it to a server of its kind",
            manifest.backup_id, manifest.dialect
        )));
    }
    if manifest.schema_version > tenant_schema() {
        return Err(StepError::Permanent("the backup has a newer schema than this program knows".into()));
    }
    Ok(kept)
}

async fn stage(context: &mut Context<'_>) -> Result<Stage, StepError> {
    if wish(context).await?.restored.is_some() {
        return Ok(Stage::Settled);
    }
    let (beside, replaced) = (beside(context), replaced(context));
    match context.session.find(&replaced).await? {
        Found::Absent => Ok(Stage::Before),
        _ if base_tables(context, &beside).await?.is_empty() => Ok(Stage::Swapped),
        _ => Ok(Stage::Before),
    }
}

/// Tables of a database, without views, which are bound to theirs, and without the mark's.
async fn base_tables(context: &mut Context<'_>, database: &str) -> Result<Vec<String>, StepError> {
    let rows = sqlx::query(
        "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = ? AND TABLE_TYPE = 'BASE TABLE' ORDER BY TABLE_NAME",
    )
    .bind(database)
    .fetch_all(context.session.connection())
    .await?;
    let names = rows.iter().map(|row| kernel::database::text(row, 0)).collect::<Result<Vec<_>, _>>()?;
    Ok(names.into_iter().filter(|name| name != MARK_TABLE && name != former_objects::TABLE).collect())
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

/// What the event will say of the data that comes back.
pub(super) async fn restored_from(context: &Context<'_>) -> Result<RestoredFrom, StepError> {
    let manifest = kept(context.tools, &wish(context).await?).await?.manifest;
    let source_tenant_id = manifest.tenant_id.as_deref().and_then(|id| id.parse().ok());
    Ok(RestoredFrom {
        backup_id: manifest.backup_id,
        source_tenant_id: source_tenant_id.ok_or(StepError::Unfit("the backup is of no tenant"))?,
        taken_at: manifest.taken_at,
        backup_position: manifest.position,
        schema_version: tenant_schema(),
    })
}

/// What came back, if there is no way back any more.
pub async fn restored(tools: &Tools, lease: &Lease) -> Result<Option<RestoredFrom>, JobError> {
    Ok(Wish::of(tools.store.pool(), lease).await?.and_then(|wish| wish.restored))
}

/// Whether a maintenance was begun for the job.
pub async fn ends_maintenance(tools: &Tools, lease: &Lease) -> Result<bool, JobError> {
    Ok(Wish::of(tools.store.pool(), lease).await?.is_some_and(|wish| wish.ends_maintenance))
}
