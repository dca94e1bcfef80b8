//! The step `settle`: the database on the other server carries the ownership marker of the tenant's own database
//! instead of that of a copy, and the account is open or locked as the tenant's present state says, which may have
//! changed during the move. It needs nothing of the server that the tenant has left.

use super::{is_moved, target};
use crate::sagas::saga::Step;
use crate::sagas::shared::tenant_copy::present;
use crate::sagas::shared::{credential, enforce, server_objects};
use crate::sagas::{Context, StepError, TenantJob};
use crate::server::{Marker, Session};
use kernel::database::migrate::tenant_schema;

pub const STEP: Step = Step::new("settle", |context| Box::pin(act(context)));

async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    if !is_moved(context).await? {
        return Err(StepError::Transient("the tenant has not been moved yet".into()));
    }
    let (target, tenant) = (target(context).await?, present(context).await?);
    if tenant.database.schema_version > tenant_schema() {
        return Err(StepError::Transient("the tenant has a newer schema than this program knows".into()));
    }
    let job = context.job();
    let marker = Marker::at(&context.marker(), tenant.database.schema_version);
    let (in_use, open) = (credential::username_in_use(context).await?, enforce::may_log_in(tenant.state));
    if target.id == job.tools.server.id {
        return settle(job, &target.id, context.session, &marker, &in_use, open).await;
    }
    let mut there = job.open(&target).await?;
    settle(job, &target.id, &mut there, &marker, &in_use, open).await?;
    there.close().await;
    Ok(())
}

async fn settle(
    job: TenantJob<'_>,
    server: &str,
    session: &mut Session,
    marker: &Marker,
    in_use: &str,
    open: bool,
) -> Result<(), StepError> {
    if session.find_own(job.database(), marker).await?.is_copy() {
        session.set_marker(job.database(), marker).await?;
    }
    let names = server_objects::accounts(job, server, session).await?;
    enforce::at(job, &names, in_use, open, session).await
}
