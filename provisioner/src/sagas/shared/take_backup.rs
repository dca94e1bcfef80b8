//! Takes a backup of a tenant, or of the system database.

use crate::backup::{Manifest, Taker, catalogue};
use crate::sagas::shared::backup_job::backups;
use crate::sagas::{StepError, Tools};
use kernel::domain::Tenant;
use kernel::jobs::{JobError, JobUnit, Lease};
use kernel::process::telemetry::names;

/// Whether the job has taken its backup in an earlier attempt.
pub async fn is_taken(tools: &Tools, lease: &Lease, tenant: Option<&Tenant>) -> Result<bool, JobError> {
    let taken: Option<(String,)> = sqlx::query_as(
        "SELECT b.backup_id FROM saas_backups b JOIN saas_operations o ON o.operation_id = ?
         WHERE b.tenant_id = ? AND b.taken_at >= o.created_at LIMIT 1",
    )
    .bind(lease.operation_id.to_string())
    .bind(tenant.map_or("", |tenant| tenant.tenant_id.as_str()))
    .fetch_optional(tools.store.pool())
    .await?;
    Ok(taken.is_some())
}

/// Takes a backup of `tenant`, or (`None`) of the system database. The caller records it.
pub async fn take_backup(tools: &Tools, tenant: Option<&Tenant>) -> Result<Manifest, StepError> {
    let backups = backups(tools).await?;
    let taker = Taker { backups, keys: &tools.keys, store: &tools.store, installation: &tools.installation };
    let manifest = match tenant {
        Some(tenant) => taker.tenant(&tools.server, tenant).await?,
        None => taker.system(&tools.store.pool().connect_options()).await?,
    };
    tracing::info!(
        tenant_id = manifest.tenant_id.as_deref().unwrap_or_default(),
        backup_id = %manifest.backup_id,
        rows = manifest.rows(),
        bytes = manifest.stored_bytes,
        "a backup is whole"
    );
    metrics::counter!(names::BACKUP_BYTES).increment(manifest.stored_bytes);
    Ok(manifest)
}

/// Records the backup in the catalogue.
pub async fn record(unit: &mut JobUnit<'_>, tools: &Tools, manifest: &Manifest) -> Result<(), JobError> {
    Ok(catalogue::add(unit.connection(), manifest, tools.keys.primary_id()).await?)
}
