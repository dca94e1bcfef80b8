//! The saga of the kind `backup`: takes a backup of a tenant or of the system database. It is the job of a server and
//! not of a tenant, so the tenant's other jobs do not wait for it.
//!
//! **Guarantees.** A job takes one backup: an attempt after the backup was recorded takes none. A backup of the system
//! database requests that old backups are removed, which is a job of its own (`prune`): a file that cannot be removed
//! does not repeat the backup.

use super::saga::{EndedBy, Saga, ServerWork, WITH_ALL_ROWS};
use super::shared::backup_job::{AboutServer, of_server};
use super::shared::take_backup::{is_taken, record, take_backup};
use super::{StepError, Tools};
use kernel::domain::Tenant;
use kernel::jobs::{self, JobError, JobKind, Lease, NewJob};
use kernel::process::failpoint;
use std::time::Duration;

/// How long a job that removes old backups is retried.
const PRUNE_PATIENCE: Duration = Duration::from_secs(6 * 3600);

pub const SAGA: Saga =
    Saga::of_server(ServerWork { deadline: WITH_ALL_ROWS, act: |tools, lease| Box::pin(act(tools, lease)) });

async fn act(tools: &Tools, lease: &Lease) -> Result<EndedBy, StepError> {
    match of_server(tools, lease).await? {
        AboutServer::System => back_up(tools, lease, None).await,
        AboutServer::Tenant(tenant) => back_up(tools, lease, Some(&tenant)).await,
        AboutServer::Nothing => Ok(EndedBy::Engine),
    }
}

async fn back_up(tools: &Tools, lease: &Lease, tenant: Option<&Tenant>) -> Result<EndedBy, StepError> {
    let taken = match is_taken(tools, lease, tenant).await? {
        true => None,
        false => Some(take_backup(tools, tenant).await?),
    };
    let mut unit = lease.begin(&tools.store).await?;
    if let Some(manifest) = &taken {
        record(&mut unit, tools, manifest).await?;
    }
    if tenant.is_none() {
        let waiting: Option<(String,)> = sqlx::query_as(
            "SELECT operation_id FROM saas_operations WHERE server_id = ? AND kind = ? AND status = 'pending' LIMIT 1",
        )
        .bind(&tools.server.id)
        .bind(JobKind::Prune.as_str())
        .fetch_optional(unit.connection())
        .await
        .map_err(JobError::from)?;
        if waiting.is_none() {
            let job = NewJob::for_server(JobKind::Prune, &tools.server.id, PRUNE_PATIENCE);
            jobs::enqueue(unit.connection(), &[job]).await.map_err(JobError::from)?;
        }
    }
    unit.finish(&[], None).await?;
    unit.commit().await?;
    failpoint::hit("backup.ended").await;
    Ok(EndedBy::Work)
}
