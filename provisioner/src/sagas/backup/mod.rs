//! The saga of the kind `backup`: takes a backup of a tenant or of the system database, and prunes old ones after that
//! of the system database. It is the job of a server and not of a tenant, so the tenant's other jobs do not wait for
//! it.

use super::saga::{EndedBy, Saga, ServerWork, WITH_ALL_ROWS};
use super::shared::backup_job::{AboutServer, of_server};
use super::shared::take_backup::take_backup;
use super::{StepError, Tools};
use kernel::jobs::Lease;

pub const SAGA: Saga =
    Saga::of_server(ServerWork { deadline: WITH_ALL_ROWS, act: |tools, lease| Box::pin(act(tools, lease)) });

async fn act(tools: &Tools, lease: &Lease) -> Result<EndedBy, StepError> {
    match of_server(tools, lease).await? {
        AboutServer::System => take_backup(tools, None, tools.retention).await?,
        AboutServer::Tenant(tenant) => take_backup(tools, Some(&tenant), tools.retention).await?,
        AboutServer::Nothing => {}
    }
    Ok(EndedBy::Engine)
}
