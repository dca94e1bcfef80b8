//! The saga of the kind `move`: brings a tenant's database to another server.
//!
//! **Guarantees.** No write is lost and two copies can never both be written: the tenant's account is locked and its
//! sessions are ended before the first row is copied, and the account on the other server is opened only after all
//! tables have been found equal. The event `tenant.database_moved` is the point of no return. Until then the job can be
//! undone, and the tenant is served where it was; the former database is dropped last of all. The recorded state of the
//! tenant does not change: nodes refuse an active tenant as in maintenance while its `moving_to` names a server.
//!
//! The job runs on the workers of the server that the tenant leaves, which must administer the other one too. An
//! attempt after the point of no return runs on the workers of the other server, so a source that dies holds nothing
//! up.

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

use super::saga::{Outcome, PointOfNoReturn, Saga};
use super::shared::server_objects;
use super::shared::tenant_copy::present;
use super::{ACTOR, Context, StepError, TenantJob, Tools};
use crate::server::Server;
use crate::tables::session::begin_reading;
use kernel::database;
use kernel::domain::{Command, TenantId};
use kernel::jobs::{self, JobError, JobKind, NewJob};
use sqlx::MySqlConnection;
use std::sync::Arc;
use std::time::Duration;

/// The patience of the job that opens the accounts of a tenant whose move was given up. Such a job is repeated until it
/// succeeds.
const ENFORCED_WITHIN: Duration = Duration::from_secs(3600);

/// What the middle steps do at the source is undone by the undo of `close`, and what they do on the other server by the
/// undo of `prepare_target`.
pub const SAGA: Saga = Saga {
    // A program from before this kind takes a job of the kind `move` on the other server for one that has not begun,
    // and would drop what it takes for a copy.
    handed_over_as: Some(JobKind::FinishMove),
    point_of_no_return: PointOfNoReturn::Reached(|tools, _, tenant| Box::pin(has_moved(tools, &tenant.tenant_id))),
    abandon: Some(|job| Box::pin(abandon(job))),
    outcome: Outcome::CANCELLED_MOVE,
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

/// The saga of the kind `finish_move`: the same steps, of which all up to the point of no return find that they are
/// done.
pub const FINISH: Saga = SAGA;

/// Whether the tenant is on the other server already.
async fn has_moved(tools: &Tools, tenant_id: &TenantId) -> Result<bool, JobError> {
    let requested = requested_server(tools, tenant_id).await?;
    let now = tools.store.tenant(tenant_id).await?;
    Ok(now.is_some_and(|now| requested.is_some_and(|requested| now.database.server == requested)))
}

async fn is_moved(context: &Context<'_>) -> Result<bool, StepError> {
    Ok(has_moved(context.tools, &context.tenant.tenant_id).await?)
}

/// Fails unless an event makes nodes refuse the tenant. The steps that call this rely on it.
async fn verify_closed(context: &Context<'_>) -> Result<(), StepError> {
    match present(context).await?.database.moving_to {
        Some(_) => Ok(()),
        None => Err(StepError::Transient("the tenant is still served where it is".into())),
    }
}

/// The server that the newest request names. A tenant has one move at a time.
async fn requested_server(tools: &Tools, tenant_id: &TenantId) -> Result<Option<String>, JobError> {
    let requested: Option<(Option<String>,)> = sqlx::query_as(
        "SELECT CAST(JSON_UNQUOTE(JSON_EXTRACT(data, '$.server')) AS CHAR) FROM saas_events
         WHERE tenant_id = ? AND event_type = 'tenant.database_move_requested' ORDER BY version DESC LIMIT 1",
    )
    .bind(tenant_id.as_str())
    .fetch_optional(tools.store.pool())
    .await?;
    Ok(requested.and_then(|(server,)| server))
}

async fn target(context: &Context<'_>) -> Result<Arc<Server>, StepError> {
    let requested = requested_server(context.tools, &context.tenant.tenant_id).await?;
    let requested = requested.ok_or(StepError::Unfit("the tenant has no request for a move"))?;
    context.tools.server_named(&requested).cloned().ok_or_else(|| {
        StepError::Permanent(format!("the provisioner of {} does not administer {requested}", context.tools.server.id))
    })
}

/// What becomes of a move when the server that the tenant is on stays away: the tenant stays there. The move may have
/// locked its accounts; a job of their own opens them when the server is back.
async fn abandon(job: TenantJob<'_>) -> Result<Option<String>, StepError> {
    let (tenant_id, source) = (&job.tenant.tenant_id, &job.tenant.database.server);
    let Some(requested) = requested_server(job.tools, tenant_id).await? else { return Ok(None) };
    let enforce = NewJob::for_tenant(JobKind::Enforce, tenant_id, source, ENFORCED_WITHIN);
    let mut unit = job.begin().await?;
    unit.execute(tenant_id, ACTOR, Command::CancelMove).await?;
    jobs::enqueue(unit.connection(), &[enforce]).await.map_err(JobError::from)?;
    server_objects::leave_copy(&mut unit, job.tenant, &requested).await?;
    unit.commit().await?;
    Ok(Some(format!("a copy of the tenant may be left on {requested}; an audit removes it")))
}

/// A connection to the tenant's database that reads values without converting them.
async fn lossless(server: &Server, name: &str) -> Result<MySqlConnection, StepError> {
    let mut connection = database::connect(&server.administrator(name)).await?;
    begin_reading(&mut connection).await?;
    Ok(connection)
}
