//! The steps that bring a tenant's database to another server, one file each, in the order they run.
//!
//! **Guarantees.** No write is lost and never can two copies be written to: the tenant's account is locked and its sessions are ended
//! before the first row is copied, and the copy's account is opened only when all tables have been found equal. Up to the event
//! `tenant.database_moved` the job can be undone, and the tenant is served where it was; from there on it is only ever finished,
//! and what the tenant leaves behind is dropped last of all. The recorded state of the tenant is not touched: nodes refuse an
//! active one as in maintenance while `moving_to` says where it goes.
//!
//! The job runs on the workers of the server that the tenant leaves, which must administer the other one too. The copy bears a mark
//! of its own until the tenant is there, and only what bears that mark is ever dropped on the other server.

pub mod await_closed;
pub mod close;
pub mod compare;
pub mod copy;
pub mod drop_source;
pub mod lock_source;
pub mod prepare_target;
pub mod relocate;
pub mod settle;
pub mod verify_target;

use super::{Context, StepError, Tools};
use crate::server::{Found, Server, Session};
use crate::tables::session::begin_copying;
use kernel::database;
use kernel::domain::{Tenant, TenantId};
use kernel::jobs::JobError;
use sqlx::MySqlConnection;
use std::sync::Arc;

/// Whether there is no way back any more.
pub async fn is_moved(tools: &Tools, tenant_id: &TenantId) -> Result<bool, JobError> {
    Ok(tools.store.tenant(tenant_id).await?.is_some_and(|tenant| tenant.database.server != tools.server.id))
}

/// The tenant as it is now.
async fn present(context: &Context<'_>) -> Result<Tenant, StepError> {
    let tenant = context.tools.store.tenant(&context.tenant.tenant_id).await.map_err(JobError::from)?;
    tenant.ok_or(StepError::Unfit("there is no such tenant"))
}

/// Whether it is on the other server already.
async fn moved(context: &Context<'_>) -> Result<bool, StepError> {
    Ok(is_moved(context.tools, &context.tenant.tenant_id).await?)
}

/// Fails unless the tenant is closed: what follows must not be done while anybody may write.
async fn closed(context: &Context<'_>) -> Result<(), StepError> {
    match present(context).await?.database.moving_to {
        Some(_) => Ok(()),
        None => Err(StepError::Transient("the tenant is not closed yet".into())),
    }
}

/// The server that was asked for, by the newest request: a tenant has one move at a time.
async fn target(context: &Context<'_>) -> Result<Arc<Server>, StepError> {
    let asked: Option<(Option<String>,)> = sqlx::query_as(
        "SELECT CAST(JSON_UNQUOTE(JSON_EXTRACT(data, '$.server')) AS CHAR) FROM saas_events
         WHERE tenant_id = ? AND event_type = 'tenant.database_move_requested' ORDER BY version DESC LIMIT 1",
    )
    .bind(context.tenant.tenant_id.as_str())
    .fetch_optional(context.tools.store.pool())
    .await
    .map_err(JobError::from)?;
    let asked = asked.and_then(|(server,)| server).ok_or(StepError::Unfit("nobody has asked for this move"))?;
    let server = context.tools.servers.iter().find(|server| server.id == asked);
    server.cloned().ok_or_else(|| {
        StepError::Permanent(format!("the provisioner of {} does not administer {asked}", context.tools.server.id))
    })
}

/// The administrator's session with the other server, with the tenant's lock there: a worker that lost this job is cut off.
async fn target_session(context: &Context<'_>) -> Result<Session, StepError> {
    Ok(Session::open(&*target(context).await?, &context.tenant.tenant_id).await?)
}

/// Removes what an earlier attempt has copied. Anything else of this name is not this job's, and in its way.
async fn clear(context: &Context<'_>, there: &mut Session) -> Result<(), StepError> {
    let (name, owner) = (context.database(), context.mark());
    match there.find(name).await? {
        Found::Absent => Ok(()),
        Found::Marked(mark) if mark.is_of(&owner) && mark.is_copy() => {
            Ok(there.drop_database(name, &owner, false).await?)
        }
        // MySQL marks a database after it has made it.
        Found::Unmarked { empty: true } if context.repeated => Ok(there.drop_database(name, &owner, true).await?),
        Found::Marked(_) | Found::Unmarked { .. } => {
            Err(StepError::Permanent(format!("a database named {name} exists on the other server")))
        }
    }
}

/// A connection to the tenant's database that gives and takes values as they are.
async fn lossless(server: &Server, name: &str) -> Result<MySqlConnection, StepError> {
    let mut connection = database::connect(&server.administrator(name)).await?;
    begin_copying(&mut connection).await?;
    Ok(connection)
}
