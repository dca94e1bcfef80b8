//! The jobs of the clock: a backup, and a restore test. They are for a server and for no tenant, so they hold up none of its other
//! jobs, and they have workers of their own, so they hold up nobody else's.

use super::catalogue;
use super::choice::choose;
use super::error::BackupError;
use super::load;
use super::prune::{Retention, UNFINISHED_HOURS, prune};
use super::store::Subject;
use super::take::Taker;
use super::wish::Wish;
use crate::saga::{StepError, Tools};
use crate::server::{Mark, Session};
use kernel::domain::Tenant;
use kernel::jobs::{JobError, JobKind, Lease};
use kernel::process::telemetry::names;
use std::time::Duration;

/// Longest time for a backup or a test: a tenant of 100 GB.
pub const DEADLINE: Duration = Duration::from_secs(6 * 3600);

/// One attempt.
pub async fn act(tools: &Tools, lease: &Lease, retention: Retention) -> Result<(), StepError> {
    let wish = Wish::of(tools.store.pool(), lease).await.map_err(JobError::from)?;
    let wish = wish.ok_or(StepError::Unfit("nobody has kept what this job is about"))?;
    let tenant = match &wish.subject {
        Subject::System => None,
        // Moved or gone meanwhile: there is nothing to do here.
        Subject::Tenant(id) => match tools.store.tenant(id).await.map_err(JobError::from)? {
            Some(tenant) if tenant.has_database() && tenant.database.server == tools.server.id => Some(tenant),
            _ => return Ok(()),
        },
    };
    match (lease.kind, tenant) {
        (JobKind::RestoreTest, Some(tenant)) => test(tools, &tenant).await,
        (_, tenant) => back_up(tools, tenant.as_ref(), retention).await,
    }
}

/// Takes a backup, whoever asks.
pub async fn back_up(tools: &Tools, tenant: Option<&Tenant>, retention: Retention) -> Result<(), StepError> {
    let backups = tools.backups.as_ref().ok_or(StepError::Unfit("the setting BACKUP_STORE is missing"))?;
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

/// Loads the tenant's newest backup into a database of its own, compares, and drops it.
async fn test(tools: &Tools, tenant: &Tenant) -> Result<(), StepError> {
    let backups = tools.backups.as_ref().ok_or(StepError::Unfit("the setting BACKUP_STORE is missing"))?;
    let subject = Subject::Tenant(tenant.tenant_id.clone());
    let kept = choose(backups, &subject, None).await?;
    let mut session = Session::open_as(&tools.server, &format!("restore-test:{}", tenant.tenant_id)).await?;
    let (database, owner) =
        (format!("{}__test", tenant.database.name), Mark::new(&tools.installation, &tenant.tenant_id));
    session.drop_database(&database, &owner, true).await?;
    if !session.create_database(&database, &owner).await? {
        return Err(StepError::Permanent(format!("a database named {database} exists and is not this tenant's")));
    }
    let stored = load::Stored::Tried(&tenant.database.name);
    let loaded = load::load(backups, &tools.keys, &subject, &kept, session.connection(), &database, stored).await;
    kernel::process::failpoint::hit("restore_test.loaded").await;
    // A session that failed in the middle may hold its tables.
    let dropped = match loaded {
        Ok(()) => session.drop_database(&database, &owner, true).await,
        Err(_) => {
            session.close().await;
            session = Session::open_as(&tools.server, &format!("restore-test:{}", tenant.tenant_id)).await?;
            session.drop_database(&database, &owner, true).await
        }
    };
    session.close().await;
    let pool = tools.store.pool();
    let verdict = match &loaded {
        Ok(()) => Some(None),
        Err(error @ (BackupError::Damaged(_) | BackupError::NotEqual(_))) => Some(Some(kernel::error::chain(error))),
        Err(_) => None,
    };
    if let Some(error) = verdict {
        catalogue::tested(pool, &kept.manifest, error.as_deref()).await.map_err(JobError::from)?;
    }
    loaded?;
    Ok(dropped?)
}
