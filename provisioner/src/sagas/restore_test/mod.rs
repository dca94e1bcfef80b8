//! The saga of the kind `restore_test`: loads a tenant's newest backup beside the tenant, compares it with its
//! manifest, and drops it. It is the job of a server and not of a tenant, so the tenant's other jobs do not wait for
//! it.

use super::saga::{EndedBy, Saga, ServerWork, WITH_ALL_ROWS};
use super::shared::backup_job::{AboutServer, backups, of_server};
use super::{StepError, Tools};
use crate::backup::load;
use crate::backup::{Subject, catalogue, choose};
use crate::server::{Marker, Session};
use kernel::domain::Tenant;
use kernel::jobs::{JobError, Lease};
use kernel::process::failpoint;

pub const SAGA: Saga =
    Saga::of_server(ServerWork { deadline: WITH_ALL_ROWS, act: |tools, lease| Box::pin(act(tools, lease)) });

async fn act(tools: &Tools, lease: &Lease) -> Result<EndedBy, StepError> {
    if let AboutServer::Tenant(tenant) = of_server(tools, lease).await? {
        test(tools, &tenant, lease.last_attempt).await?;
    }
    Ok(EndedBy::Engine)
}

/// Loads the tenant's newest backup into a database of its own, compares, and drops it.
async fn test(tools: &Tools, tenant: &Tenant, last_attempt: bool) -> Result<(), StepError> {
    let backups = backups(tools)?;
    let subject = Subject::Tenant(tenant.tenant_id.clone());
    let backup = choose(backups, &subject, None).await?;
    let mut session = Session::open_as(&tools.server, &format!("restore-test:{}", tenant.tenant_id)).await?;
    let (database, owner) =
        (format!("{}__test", tenant.database.name), Marker::new(&tools.installation, &tenant.tenant_id));
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
            session = Session::open_as(&tools.server, &format!("restore-test:{}", tenant.tenant_id)).await?;
            session.drop_database(&database, &owner, true).await
        }
    };
    session.close().await;
    let pool = tools.store.pool();
    let loaded = loaded.map_err(StepError::from);
    let verdict = match &loaded {
        Ok(()) => Some(None),
        Err(StepError::Job(_)) => None,
        // Another attempt follows, and perhaps loads the backup.
        Err(error) if error.may_pass() && !last_attempt => None,
        Err(error) => Some(Some(error.reason(&tools.server.id))),
    };
    if let Some(error) = verdict {
        catalogue::tested(pool, &backup.manifest, error.as_deref()).await.map_err(JobError::from)?;
    }
    loaded?;
    Ok(dropped?)
}
