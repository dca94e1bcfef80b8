//! Enqueues the job of a restore, or finds it.

use crate::backup::{BackupError, BackupJob};
use kernel::domain::TenantId;
use kernel::jobs::{self, JobKind, NewJob};
use kernel::store::UnitOfWork;
use uuid::Uuid;

/// Enqueues the job together with its row, and commits.
pub async fn enqueue(mut unit: UnitOfWork, job: NewJob, row: &BackupJob) -> Result<Uuid, BackupError> {
    let operation_id = jobs::enqueue(unit.connection(), &[job]).await?[0];
    row.insert(unit.connection(), operation_id).await?;
    unit.commit().await?;
    Ok(operation_id)
}

/// The tenant's restore of this kind that an earlier command has requested. Any other operation is an error.
pub async fn under_way(unit: &mut UnitOfWork, id: &TenantId, kind: JobKind) -> Result<Option<Uuid>, BackupError> {
    let Some(operation_id) = jobs::active_operation(unit.connection(), id).await? else { return Ok(None) };
    let operation = jobs::find(unit.connection(), operation_id).await?;
    match operation {
        Some(operation) if operation.kind == kind.as_str() => Ok(Some(operation_id)),
        _ => Err(BackupError::Refused(format!("another operation of tenant {id} is under way: {operation_id}"))),
    }
}
