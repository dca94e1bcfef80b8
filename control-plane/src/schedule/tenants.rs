//! Requests the purge of deleted tenants whose retention has passed, by the same command as an administrator would.
//!
//! The command decides: a tenant whose purge is in progress, or that was restored in between, refuses.

use super::{Lease, RunError};
use crate::admin::Purge;
use crate::serve::App;
use crate::write::{self, Answer, Refusal, Write};
use kernel::domain::Rejection;
use kernel::http::{ApiError, Code};
use kernel::lease::LeaseError;
use kernel::store::{CommandError, UnitOfWork};

/// Most purges requested by one run: many expire together only when many were deleted together.
const AT_ONCE: u32 = 100;

pub async fn purge_expired(app: &App, lease: &Lease) -> Result<u64, RunError> {
    let mut requested = 0;
    for tenant_id in app.store.expired(AT_ONCE).await? {
        let purge = Purge { tenant_id, patience: app.patience };
        requested += ask(app, lease, "schedule:tenant-retention", &purge).await?;
    }
    Ok(requested)
}

/// Asks for something as the leader: 1 if it was done, 0 if the tenant's present does not allow it (any more).
pub(super) async fn ask(app: &App, lease: &Lease, actor: &str, write: &impl Write) -> Result<u64, RunError> {
    let asked = write::perform(&app.store, actor, &Led { lease, write }).await;
    kernel::process::failpoint::hit("schedule.asked").await;
    match asked {
        Ok(_) => Ok(1),
        Err(Refusal::Command(CommandError::Rejected(Rejection::State(_)))) => Ok(0),
        Err(Refusal::Command(CommandError::Rejected(Rejection::DomainAbsent | Rejection::DomainPresent))) => Ok(0),
        Err(Refusal::Command(CommandError::DomainTaken(_))) => Ok(0),
        Err(Refusal::Api(error)) if matches!(error.code(), Code::OperationInProgress | Code::DomainNotFound) => Ok(0),
        Err(Refusal::Command(CommandError::Database(error))) => Err(error.into()),
        Err(Refusal::Api(error)) if error.code() == Code::Conflict => Err(RunError::Lost),
        Err(Refusal::Api(error)) => Err(RunError::Refused(error.code().name())),
        Err(Refusal::Command(error)) => Err(RunError::Refused(error.to_string())),
    }
}

/// A write that commits only while this process leads.
struct Led<'a, W> {
    lease: &'a Lease,
    write: &'a W,
}

impl<W: Write> Write for Led<'_, W> {
    async fn run(&self, unit: &mut UnitOfWork, actor: &str) -> Result<Answer, Refusal> {
        self.lease.hold(unit.connection()).await.map_err(|error| match error {
            LeaseError::Database(error) => Refusal::from(error),
            LeaseError::Lost(_) => ApiError::from(Code::Conflict).into(),
        })?;
        self.write.run(unit, actor).await
    }
}
