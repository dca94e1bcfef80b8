//! Enqueues the job of a restore, or finds it.

use crate::backup::{BackupError, BackupJob};
use kernel::domain::TenantId;
use kernel::jobs::{self, JobKind, NewJob};
use kernel::store::{Store, UnitOfWork};
use uuid::Uuid;

/// Enqueues the job together with its row, and commits.
pub async fn enqueue(mut unit: UnitOfWork, job: NewJob, row: &BackupJob) -> Result<Uuid, BackupError> {
    let operation_id = jobs::enqueue(unit.connection(), &[job]).await?[0];
    row.insert(unit.connection(), operation_id).await?;
    unit.commit().await?;
    Ok(operation_id)
}

/// Begins the unit of a request. Two commands that request something of one tenant wait for each other, so the second
/// one finds the job of the first. The unit locks the job that is under way before the tenant, in the order of workers.
pub async fn begin(store: &Store, id: &TenantId) -> Result<UnitOfWork, BackupError> {
    let mut unit = store.begin().await?;
    if let Some(operation_id) = jobs::active_operation(unit.connection(), id).await? {
        sqlx::query("SELECT epoch FROM saas_operations WHERE operation_id = ? FOR UPDATE")
            .bind(operation_id.to_string())
            .execute(unit.connection())
            .await?;
    }
    sqlx::query("SELECT version FROM saas_tenant_snapshots WHERE tenant_id = ? FOR UPDATE")
        .bind(id.as_str())
        .execute(unit.connection())
        .await?;
    Ok(unit)
}

/// The tenant's restore of this kind and of this backup that an earlier command has requested. Any other operation is
/// an error.
pub async fn under_way(
    unit: &mut UnitOfWork,
    id: &TenantId,
    kind: JobKind,
    backup_id: &str,
) -> Result<Option<Uuid>, BackupError> {
    let Some(operation_id) = jobs::active_operation(unit.connection(), id).await? else { return Ok(None) };
    let operation = jobs::find(unit.connection(), operation_id).await?;
    match operation {
        Some(operation) if operation.kind == kind.as_str() => {
            is_of(unit, operation_id, backup_id).await.map(|()| Some(operation_id))
        }
        _ => Err(BackupError::Refused(format!("another operation of tenant {id} is under way: {operation_id}"))),
    }
}

/// Fails if the restore that is under way is of another backup.
pub async fn is_of(unit: &mut UnitOfWork, operation_id: Uuid, backup_id: &str) -> Result<(), BackupError> {
    let row: Option<(Option<String>,)> =
        sqlx::query_as("SELECT backup_id FROM saas_backup_jobs WHERE operation_id = ?")
            .bind(operation_id.to_string())
            .fetch_optional(unit.connection())
            .await?;
    match row.and_then(|(backup_id,)| backup_id) {
        Some(other) if other != backup_id => Err(BackupError::Refused(format!(
            "a restore of the backup {other} is under way: the operation {operation_id}"
        ))),
        _ => Ok(()),
    }
}
