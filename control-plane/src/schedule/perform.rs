//! The ordinary commands, performed by the leader of the schedules.

use super::{RoleLease, RunError};
use crate::app::App;
use crate::commands::{self, Refusal, Write};
use kernel::domain::{Rejection, TenantId};
use kernel::http::{ApiError, Code};
use kernel::lease::LeaseError;
use kernel::store::{CommandError, UnitOfWork};

/// Performs a command as the leader: 1 if it was done, 0 if the tenant's present state does not allow it (any more).
pub async fn perform<W: Write>(app: &App, lease: &RoleLease, actor: &str, write: &W) -> Result<u64, RunError> {
    let done = commands::perform(&app.store, actor, &Led { lease, write }).await;
    kernel::process::failpoint::hit("schedule.asked").await;
    match done {
        Ok(_) => Ok(1),
        Err(Refusal::Command(CommandError::Rejected(Rejection::State(_)))) => Ok(0),
        Err(Refusal::Command(CommandError::Rejected(Rejection::DomainAbsent | Rejection::DomainPresent))) => Ok(0),
        Err(Refusal::Command(CommandError::DomainTaken(_))) => Ok(0),
        Err(Refusal::Api(error)) if is_of_state(error.code()) => Ok(0),
        Err(Refusal::Command(CommandError::Database(error))) => Err(error.into()),
        Err(Refusal::Api(error)) if error.code() == Code::Conflict => Err(RunError::Lost),
        Err(Refusal::Api(error)) => Err(RunError::Refused(error.code().name())),
        Err(Refusal::Command(error)) => Err(RunError::Refused(error.to_string())),
    }
}

/// Whether a command was refused because of what the tenant is, or does, at present.
fn is_of_state(code: Code) -> bool {
    matches!(code, Code::OperationInProgress | Code::DomainNotFound | Code::TenantIsDefault)
}

/// A command that commits only while this process leads.
struct Led<'a, W> {
    lease: &'a RoleLease,
    write: &'a W,
}

impl<W: Write> Write for Led<'_, W> {
    type Done = W::Done;

    fn tenant(&self) -> Option<&TenantId> {
        self.write.tenant()
    }

    async fn run(&self, unit: &mut UnitOfWork, actor: &str) -> Result<W::Done, Refusal> {
        self.lease.hold(unit.connection()).await.map_err(|error| match error {
            LeaseError::Database(error) => Refusal::from(error),
            LeaseError::Lost(_) => ApiError::from(Code::Conflict).into(),
        })?;
        self.write.run(unit, actor).await
    }
}
