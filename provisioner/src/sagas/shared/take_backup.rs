//! Takes a backup of a tenant, or of the system database.

use crate::backup::{Retention, Taker, UNFINISHED_HOURS, prune};
use crate::sagas::shared::backup_job::backups;
use crate::sagas::{StepError, Tools};
use kernel::domain::Tenant;
use kernel::process::telemetry::names;

/// Takes a backup of `tenant`, or (`None`) of the system database, and then prunes old backups.
pub async fn take_backup(tools: &Tools, tenant: Option<&Tenant>, retention: Retention) -> Result<(), StepError> {
    let backups = backups(tools)?;
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
    if tenant.is_none() {
        let pruned = prune(backups, &tools.store, retention, UNFINISHED_HOURS, false).await?;
        tracing::info!(
            backups = pruned.backups.len(),
            unfinished = pruned.unfinished.len(),
            "old backups were removed"
        );
    }
    Ok(())
}
