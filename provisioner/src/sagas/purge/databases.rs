//! All databases that a tenant may have on a server: its own, and those that restores and restore tests make beside it.

use crate::sagas::shared::beside::{REPLACED, RESTORED, TESTED};
use crate::sagas::shared::server_objects;
use crate::sagas::{StepError, TenantJob};
use crate::server::{Found, Lock, Server, Session};

fn names(job: TenantJob<'_>) -> [String; 4] {
    ["", RESTORED, REPLACED, TESTED].map(|beside| format!("{}{beside}", job.database()))
}

/// Drops those that carry the tenant's ownership marker. A restore test of the tenant that still runs is ended first; a
/// test that begins later finds that a purge is in progress.
pub async fn drop_all(job: TenantJob<'_>, server: &Server, session: &mut Session) -> Result<(), StepError> {
    let (tools, tenant_id) = (job.tools, &job.tenant.tenant_id);
    let test = Lock::of_restore_test(&tools.installation, tenant_id);
    Session::open(server, &test).await?.close().await;
    for name in names(job) {
        let may_be_ours = server_objects::is_recorded(tools, tenant_id, &server.id, &name).await?;
        session.drop_database(&name, &job.marker(), may_be_ours).await?;
    }
    Ok(())
}

/// A database on the server that carries the tenant's ownership marker, if there is one.
pub async fn left(job: TenantJob<'_>, session: &mut Session) -> Result<Option<String>, StepError> {
    for name in names(job) {
        if matches!(session.find(&name).await?, Found::Marked(found) if found.is_of(&job.marker())) {
            return Ok(Some(name));
        }
    }
    Ok(None)
}
