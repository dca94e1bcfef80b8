//! [`JobUnit`]: whatever a worker writes into the system database, it writes in a transaction that holds its job.

use super::JobKind;
use super::lease::{JobError, Lease, StepRecord};
use crate::domain::{Command, Tenant, TenantId};
use crate::store::{CommandError, Store, UnitOfWork};
use sqlx::MySqlConnection;

/// A unit of work of a worker. It begins by locking the job's row under the worker's epoch, so no other worker can
/// claim the job before the unit has ended, and a worker that has lost its job begins none. The functions that write
/// for a worker take this type instead of a connection.
pub struct JobUnit<'a> {
    unit: UnitOfWork,
    lease: &'a Lease,
}

impl Lease {
    /// Begins a unit of work of this worker.
    pub async fn begin(&self, store: &Store) -> Result<JobUnit<'_>, JobError> {
        let mut unit = store.begin().await?;
        match self.hold(unit.connection()).await {
            Ok(()) => Ok(JobUnit { unit, lease: self }),
            Err(error) => {
                unit.rollback().await?;
                Err(error)
            }
        }
    }
}

impl JobUnit<'_> {
    /// The job that the unit holds.
    pub fn lease(&self) -> &Lease {
        self.lease
    }

    /// The connection of the transaction.
    pub fn connection(&mut self) -> &mut MySqlConnection {
        self.unit.connection()
    }

    /// The present state of the tenant.
    pub async fn tenant(&mut self, id: &TenantId) -> Result<Option<Tenant>, sqlx::Error> {
        self.unit.tenant(id).await
    }

    /// Decides `command` on the present state of the tenant, and appends the events.
    pub async fn execute(&mut self, id: &TenantId, actor: &str, command: Command) -> Result<Tenant, CommandError> {
        self.unit.execute(id, actor, command).await
    }

    /// Decides several commands for one tenant, as [`UnitOfWork::execute_all`] does.
    pub async fn execute_all(
        &mut self,
        id: &TenantId,
        actor: &str,
        commands: impl IntoIterator<Item = Command>,
    ) -> Result<usize, CommandError> {
        self.unit.execute_all(id, actor, commands).await
    }

    /// Ends the job with the unit: as succeeded, or as failed with the reason.
    pub async fn finish(&mut self, unshown: &[StepRecord], failed: Option<&str>) -> Result<(), JobError> {
        self.lease.record(self.unit.connection(), unshown).await?;
        self.lease.finish(self.unit.connection(), failed).await
    }

    /// Gives the job to the workers of another server with the unit, as a job of this kind.
    pub async fn hand_over(&mut self, server: &str, kind: JobKind) -> Result<(), JobError> {
        self.lease.hand_over(self.unit.connection(), server, kind).await
    }

    pub async fn commit(self) -> Result<(), JobError> {
        Ok(self.unit.commit().await?)
    }

    /// Rolls back at once. A unit that is merely dropped holds its locks until its connection is cleaned up.
    pub async fn rollback(self) -> Result<(), JobError> {
        Ok(self.unit.rollback().await?)
    }
}
