//! The saga of the kind `restore_test`: loads a tenant's newest backup beside the tenant, compares it with its
//! manifest, and drops it. It is the job of a server and not of a tenant, so the tenant's other jobs do not wait for
//! it.
//!
//! The copy is recorded before it is made. What a killed test has left, the next attempt, the next audit or a purge of
//! the tenant drops.

use super::saga::{EndedBy, Saga, ServerWork, WITH_ALL_ROWS};
use super::shared::backup_job::{AboutServer, backups, of_server};
use super::shared::beside::TESTED;
use super::shared::server_objects::{self, ServerObject};
use super::{StepError, Tools};
use crate::backup::load;
use crate::backup::{BackupError, Subject, catalogue, choose};
use crate::server::{Lock, Marker, Session};
use kernel::domain::Tenant;
use kernel::jobs::{JobError, JobKind, Lease};
use kernel::process::failpoint;

pub const SAGA: Saga =
    Saga::of_server(ServerWork { deadline: WITH_ALL_ROWS, act: |tools, lease| Box::pin(act(tools, lease)) });

async fn act(tools: &Tools, lease: &Lease) -> Result<EndedBy, StepError> {
    if let AboutServer::Tenant(tenant) = of_server(tools, lease).await? {
        test(tools, lease, &tenant).await?;
    }
    Ok(EndedBy::Engine)
}

/// Loads the tenant's newest backup into a database of its own, compares, and drops it.
async fn test(tools: &Tools, lease: &Lease, tenant: &Tenant) -> Result<(), StepError> {
    let backups = backups(tools).await?;
    let subject = Subject::Tenant(tenant.tenant_id.clone());
    let backup = choose(backups, &subject, None).await?;
    let (database, owner) =
        (format!("{}{TESTED}", tenant.database.name), Marker::new(&tools.installation, &tenant.tenant_id));
    if !begin(tools, lease, tenant, &database).await? {
        return Ok(());
    }
    let lock = Lock::of_restore_test(&tools.installation, &tenant.tenant_id);
    let mut session = Session::open(&tools.server, &lock).await?;
    session.drop_database(&database, &owner, true).await?;
    if !session.create_database(&database, &owner).await? {
        return Err(StepError::taken(&database));
    }
    let stored = load::LoadObjects::AllButEvents(&tenant.database.name);
    let loaded = load::load(backups, &tools.keys, &subject, &backup, session.connection(), &database, stored).await;
    failpoint::hit("restore_test.loaded").await;
    // The session of a load that failed may still hold locks on its tables.
    let dropped = match loaded {
        Ok(()) => session.drop_database(&database, &owner, true).await,
        Err(_) => {
            session.close().await;
            session = Session::open(&tools.server, &lock).await?;
            session.drop_database(&database, &owner, true).await
        }
    };
    session.close().await;
    // An error of the server or of the store says nothing of the backup: the job fails, and a later test tries again.
    let of_content = loaded.as_ref().is_err_and(BackupError::is_of_content);
    let loaded = loaded.map_err(StepError::from);
    let verdict = match &loaded {
        Ok(()) => Some(None),
        // Another attempt follows, and perhaps loads the backup.
        Err(error) if !of_content || error.may_pass() && !lease.last_attempt => None,
        Err(error) => Some(Some(error.reason(&tools.server.id))),
    };
    let mut unit = lease.begin(&tools.store).await?;
    if let Some(error) = verdict {
        catalogue::tested(&mut unit, &backup.manifest, error.as_deref()).await.map_err(JobError::from)?;
    }
    if dropped.is_ok() {
        server_objects::forget(&mut unit, &tenant.tenant_id, &tools.server.id, ServerObject::Database(&database))
            .await?;
    }
    unit.commit().await?;
    loaded?;
    Ok(dropped?)
}

/// Records that the job is about to make the copy. `false`: the tenant is being purged. Another test of the tenant that
/// is at work is waited for: both would use the same database.
async fn begin(tools: &Tools, lease: &Lease, tenant: &Tenant, database: &str) -> Result<bool, StepError> {
    let (id, server) = (&tenant.tenant_id, &tools.server.id);
    let mut unit = lease.begin(&tools.store).await?;
    // Requests for a purge lock this row too.
    let reading = async {
        sqlx::query("SELECT version FROM saas_tenant_snapshots WHERE tenant_id = ? FOR UPDATE")
            .bind(id.as_str())
            .execute(unit.connection())
            .await?;
        let purges: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM saas_operations
             WHERE tenant_id = ? AND kind = ? AND status IN ('pending', 'running')",
        )
        .bind(id.as_str())
        .bind(JobKind::Purge.as_str())
        .fetch_one(unit.connection())
        .await?;
        let tests: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM saas_server_objects b JOIN saas_operations o ON o.operation_id = b.operation_id
             WHERE b.tenant_id = ? AND b.server_id = ? AND b.name = ? AND o.operation_id <> ?
               AND o.status = 'running' AND o.lease_until > UTC_TIMESTAMP(6)",
        )
        .bind(id.as_str())
        .bind(server)
        .bind(database)
        .bind(lease.operation_id.to_string())
        .fetch_one(unit.connection())
        .await?;
        Ok::<_, JobError>((purges, tests))
    };
    match reading.await? {
        (0, 0) => {}
        (0, _) => {
            unit.rollback().await?;
            return Err(StepError::NotYet("another restore test of the tenant is at work".into()));
        }
        _ => {
            unit.rollback().await?;
            return Ok(false);
        }
    }
    server_objects::record(&mut unit, id, server, &[ServerObject::Database(database)]).await?;
    unit.commit().await?;
    Ok(true)
}
