//! The default tenant while no node can write to it: it is in maintenance, its accounts are locked, and no job changes
//! that.
//!
//! **Guarantees.** The command holds the lock that every job of the tenant needs, so an audit with repair or a job that
//! adapts the account to the tenant's state waits and is tried again later. The command records what it is about to do
//! before it does it. A command that is killed leaves the tenant shut, and the next command takes over: before the
//! switch it opens the tenant, and from the switch on it finishes the switch. `provisioner legacy status` says so.

use super::destination::Destination;
use super::mapping::TargetDatabase;
use super::members::ACTOR;
use super::state::{self, Stage};
use super::{LegacyError, switch};
use crate::server::Session;
use kernel::domain::{Command, Rejection, TenantState};
use kernel::process::failpoint;
use kernel::store::CommandError;
use std::time::Duration;

/// What the tenant is shut for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum For {
    /// The last pass before the old system is given up. A command after a killed one opens the tenant.
    LastPass,
    /// A rollback, after which the tenant stays in maintenance.
    Rollback,
}

/// The shut tenant, with the session that holds its lock.
pub struct Shut<'a> {
    destination: &'a Destination,
    session: Session,
    /// Whether the maintenance began for this, so that it ends with it.
    began: bool,
    recorded: bool,
}

/// Puts the default tenant into maintenance, waits until every node that reports has applied that, and then locks the
/// tenant's accounts and ends their sessions: a node that does not report might still write.
pub async fn shut(destination: &Destination, purpose: For) -> Result<Shut<'_>, LegacyError> {
    let session = destination.lock_tenant().await?;
    let mut system = destination.connect(TargetDatabase::System).await?;
    let before = state::read(&mut system).await?.and_then(|import| import.shut);
    let tenant = destination.store.tenant(&destination.tenant.tenant_id).await?;
    let began = before.unwrap_or(tenant.is_none_or(|tenant| tenant.state != TenantState::Maintenance));
    let recorded = purpose == For::LastPass;
    if recorded {
        state::set_shut(&mut system, Some(began)).await?;
    }
    let mut shut = Shut { destination, session, began, recorded };
    let locked = async {
        set_maintenance(destination, true).await?;
        await_nodes(destination).await?;
        destination.lock_out(&mut shut.session).await
    };
    if let Err(error) = locked.await {
        if let Err(second) = shut.reopen().await {
            tracing::error!(error = %second, "the default tenant was not opened again after its lock-out had failed");
        }
        return Err(error);
    }
    failpoint::hit("legacy.shut").await;
    Ok(shut)
}

/// Opens the tenant that a killed command has left shut, or finishes the switch that it has recorded.
pub async fn take_over(destination: &Destination) -> Result<(), LegacyError> {
    let mut system = destination.connect(TargetDatabase::System).await?;
    let Some(import) = state::read(&mut system).await? else { return Ok(()) };
    let Some(began) = import.shut else { return Ok(()) };
    let session = destination.lock_tenant().await?;
    let mut shut = Shut { destination, session, began, recorded: true };
    if import.stage == Stage::CutOver {
        switch::set_multi_tenant(destination, true).await?;
        shut.serve().await?;
        eprintln!("an earlier command ended after it had recorded the switch: the switch is complete now");
    } else {
        shut.reopen().await?;
        eprintln!("an earlier command ended while the default tenant was shut for the last pass: it is open again");
    }
    Ok(())
}

impl Shut<'_> {
    /// Fails if the lock of the tenant was lost with its connection, for then a job may have opened the account.
    pub async fn verify_held(&mut self) -> Result<(), LegacyError> {
        match self.session.is_alive().await {
            true => Ok(()),
            false => Err(LegacyError::Stopped(
                "the lock of the default tenant was lost meanwhile: the connection to its database server that held \
                 it has ended"
                    .into(),
            )),
        }
    }

    /// Opens the account in use again. Nodes refuse the tenant as long as it is in maintenance.
    pub async fn unlock(&mut self) -> Result<(), LegacyError> {
        if !self.session.is_alive().await {
            self.session = self.destination.lock_tenant().await?;
        }
        self.destination.unlock(&mut self.session).await
    }

    /// The same after another error, which is the one that the operator sees.
    pub async fn unlock_after(&mut self, error: &LegacyError) {
        if let Err(second) = self.unlock().await {
            tracing::error!(error = %second, after = %error, "the account of the default tenant stays locked");
        }
    }

    /// Opens the account in use again, and ends the maintenance that began with this.
    pub async fn reopen(mut self) -> Result<(), LegacyError> {
        self.open(self.began).await
    }

    /// Opens the account in use, and ends the maintenance of the tenant that is in use from now on.
    pub async fn serve(&mut self) -> Result<(), LegacyError> {
        self.open(true).await
    }

    async fn open(&mut self, end: bool) -> Result<(), LegacyError> {
        self.unlock().await?;
        if end {
            set_maintenance(self.destination, false).await?;
        }
        if self.recorded {
            state::set_shut(&mut self.destination.connect(TargetDatabase::System).await?, None).await?;
        }
        Ok(())
    }
}

/// Puts the default tenant into maintenance or ends it, unless that is so already.
async fn set_maintenance(destination: &Destination, enabled: bool) -> Result<(), LegacyError> {
    let set = Command::SetMaintenance { enabled };
    match destination.store.execute(&destination.tenant.tenant_id, ACTOR, set).await {
        Ok(_) | Err(CommandError::Rejected(Rejection::State(_))) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

async fn await_nodes(destination: &Destination) -> Result<(), LegacyError> {
    const PATIENCE: Duration = Duration::from_secs(15);
    let position = destination.store.heads().await?.events;
    match destination.store.await_nodes(position, PATIENCE, Duration::from_millis(200)).await? {
        0 => Ok(()),
        behind => Err(LegacyError::Stopped(format!(
            "{behind} data nodes have not applied the maintenance of the default tenant within {} s",
            PATIENCE.as_secs()
        ))),
    }
}
