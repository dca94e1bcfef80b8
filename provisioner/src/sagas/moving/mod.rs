//! The saga of the kind `move`: brings a tenant's database to another server.
//!
//! **Guarantees.** No write is lost and two copies can never both be written: the tenant's account is locked and its
//! sessions are ended before the first row is copied, and the account on the other server is opened only after all
//! tables have been found equal. The event `tenant.database_moved` is the point of no return. Until then the job can be
//! undone, and the tenant is served where it was; the former database is dropped last of all. The recorded state of the
//! tenant does not change: nodes refuse an active tenant as in maintenance while its `moving_to` names a server.
//!
//! The job runs on the workers of the server that the tenant leaves, which must administer the other one too.

mod await_nodes;
mod close;
mod compare;
mod copy;
mod drop_source;
mod lock_source;
mod prepare_target;
mod relocate;
mod settle;
mod verify_target;

use super::saga::{PointOfNoReturn, Saga};
use super::shared::tenant_copy::present;
use super::{Context, StepError, Tools};
use crate::server::{Server, Session};
use crate::tables::session::begin_copying;
use kernel::database;
use kernel::domain::Tenant;
use kernel::jobs::JobError;
use sqlx::MySqlConnection;
use std::sync::Arc;

/// What the middle steps do at the source is undone by the undo of `close`, and what they do on the other server by the
/// undo of `prepare_target`.
pub const SAGA: Saga = Saga {
    follows_tenant: false,
    point_of_no_return: PointOfNoReturn::Reached(|tools, _, tenant| Box::pin(has_left(tools, tenant))),
    ..Saga::of_tenant(&[
        prepare_target::STEP,
        close::STEP,
        await_nodes::STEP,
        lock_source::STEP,
        copy::STEP,
        compare::STEP,
        verify_target::STEP,
        relocate::STEP,
        settle::STEP,
        drop_source::STEP,
    ])
};

async fn has_left(tools: &Tools, tenant: &Tenant) -> Result<bool, JobError> {
    Ok(tools.store.tenant(&tenant.tenant_id).await?.is_some_and(|now| now.database.server != tools.server.id))
}

/// Whether the tenant is on the other server already.
async fn is_moved(context: &Context<'_>) -> Result<bool, StepError> {
    Ok(has_left(context.tools, context.tenant).await?)
}

/// Fails unless an event makes nodes refuse the tenant. The steps that call this rely on it.
async fn verify_closed(context: &Context<'_>) -> Result<(), StepError> {
    match present(context).await?.database.moving_to {
        Some(_) => Ok(()),
        None => Err(StepError::Transient("the tenant is still served where it is".into())),
    }
}

/// The server that the newest request names. A tenant has one move at a time.
async fn target(context: &Context<'_>) -> Result<Arc<Server>, StepError> {
    let asked: Option<(Option<String>,)> = sqlx::query_as(
        "SELECT CAST(JSON_UNQUOTE(JSON_EXTRACT(data, '$.server')) AS CHAR) FROM saas_events
         WHERE tenant_id = ? AND event_type = 'tenant.database_move_requested' ORDER BY version DESC LIMIT 1",
    )
    .bind(context.tenant.tenant_id.as_str())
    .fetch_optional(context.tools.store.pool())
    .await
    .map_err(JobError::from)?;
    let asked = asked.and_then(|(server,)| server).ok_or(StepError::Unfit("the tenant has no request for a move"))?;
    let server = context.tools.servers.iter().find(|server| server.id == asked);
    server.cloned().ok_or_else(|| {
        StepError::Permanent(format!("the provisioner of {} does not administer {asked}", context.tools.server.id))
    })
}

/// The administrator's session with the other server, with the tenant's lock there, which ends the session of a worker
/// that has lost this job.
async fn target_session(context: &Context<'_>) -> Result<Session, StepError> {
    Ok(Session::open(&*target(context).await?, &context.tenant.tenant_id).await?)
}

/// A connection to the tenant's database that reads and writes values without converting them.
async fn lossless(server: &Server, name: &str) -> Result<MySqlConnection, StepError> {
    let mut connection = database::connect(&server.administrator(name)).await?;
    begin_copying(&mut connection).await?;
    Ok(connection)
}
