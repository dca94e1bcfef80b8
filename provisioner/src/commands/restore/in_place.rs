//! `provisioner restore TENANT`: the backup takes the place of the tenant's data.

use super::ACTOR;
use super::request::{begin, enqueue, under_way};
use crate::backup::{BackupError, BackupJob, StoredBackup, Subject};
use crate::commands::setup::Setup;
use kernel::domain::{Command, TenantId, TenantState};
use kernel::jobs::{JobKind, NewJob};
use std::time::Duration;
use uuid::Uuid;

/// Requests the job, or finds the one that an earlier command has requested.
pub async fn request(
    setup: &Setup,
    id: &TenantId,
    subject: &Subject,
    stored: &StoredBackup,
    patience: Duration,
) -> Result<(TenantId, Uuid, String), BackupError> {
    let mut unit = begin(&setup.store, id).await?;
    let tenant = unit.tenant(id).await?;
    let tenant = tenant.ok_or_else(|| BackupError::Refused(format!("there is no tenant {id}")))?;
    let server = tenant.database.server.clone();
    if let Some(operation_id) = under_way(&mut unit, id, JobKind::Restore, &stored.manifest.backup_id).await? {
        return Ok((id.clone(), operation_id, server));
    }
    let ends_maintenance = match tenant.state {
        TenantState::Active => true,
        TenantState::Maintenance | TenantState::Suspended | TenantState::Deleted => false,
        state => {
            return Err(BackupError::Refused(format!(
                "tenant {id} is {state} and has no database to restore: restore it as a new tenant with --as"
            )));
        }
    };
    if ends_maintenance {
        unit.execute(id, ACTOR, Command::SetMaintenance { enabled: true }).await?;
    }
    let job = NewJob::for_tenant(JobKind::Restore, id, &server, patience);
    let row = BackupJob {
        subject: subject.clone(),
        backup_id: Some(stored.manifest.backup_id.clone()),
        ends_maintenance,
        members: false,
        restored: None,
    };
    let operation_id = enqueue(unit, job, &row).await?;
    Ok((id.clone(), operation_id, server))
}
