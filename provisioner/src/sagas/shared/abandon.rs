//! The end of a creation whose database server stays away.

use super::credential;
use super::server_objects;
use crate::sagas::{StepError, TenantJob};

/// Removes the stored credential, and records that the tenant's database and user may be on the server.
pub async fn creation(job: TenantJob<'_>) -> Result<Option<String>, StepError> {
    let (server, [username, _]) = (&job.tools.server.id, job.usernames());
    let mut unit = job.begin().await?;
    credential::forget(&mut unit, &job.tenant.tenant_id).await?;
    server_objects::leave(&mut unit, job.tenant, server).await?;
    unit.commit().await?;
    Ok(Some(format!(
        "the database {} and the user {username} may be left on {server}; an audit removes them",
        job.database()
    )))
}
