//! Which of the two systems is in use: the maintenance of the default tenant, the switch between one tenant and many,
//! and whether the old database has changed since the cut-over.

use super::LegacyError;
use super::destination::Destination;
use super::direction::{Direction, transfer_of};
use super::mapping::TargetDatabase;
use super::members::ACTOR;
use super::parallel::{ConnectionSet, in_parallel};
use super::state;
use super::table_plan::TablePlans;
use crate::tables::compare::sum;
use crate::tables::transfer::Range;
use kernel::domain::{Command, Rejection};
use kernel::store::CommandError;
use std::cell::RefCell;
use std::time::Duration;

/// Tables of the old database that do not hold what the cut-over recorded.
pub async fn changed_since_cut_over(
    destination: &Destination,
    plans: &TablePlans,
    sets: &mut [ConnectionSet],
) -> Result<Vec<String>, LegacyError> {
    let states = state::tables(&mut destination.connect(TargetDatabase::System).await?).await?;
    let changed = RefCell::new(Vec::new());
    let tenant_id = destination.tenant.tenant_id.as_str();
    in_parallel(sets, &plans.tables, async |set, plan| {
        let transfer = transfer_of(plan, Direction::Forward, tenant_id)?;
        let now = sum(&mut set.source, &transfer.from, &Range::default(), &plan.table).await?;
        let then = states.get(&plan.table).and_then(|state| state.cut_over.clone());
        if then != Some((now.rows, format!("{:x}", now.checksum))) {
            changed.borrow_mut().push(plan.table.clone());
        }
        Ok(())
    })
    .await?;
    Ok(changed.into_inner())
}

/// The default tenant while no node can write to it: it is in maintenance, and its accounts are locked.
pub struct Shut<'a> {
    destination: &'a Destination,
    /// Whether this command began the maintenance.
    began: bool,
}

/// Puts the default tenant into maintenance, waits until every node that reports has applied that, and then locks the
/// tenant's accounts and ends their sessions: a node that does not report might still write.
pub async fn shut(destination: &Destination) -> Result<Shut<'_>, LegacyError> {
    let began = begin_maintenance(destination).await?;
    let shut = Shut { destination, began };
    let locked = async {
        await_nodes(destination).await?;
        destination.lock_out().await
    };
    if let Err(error) = locked.await {
        if let Err(second) = shut.reopen().await {
            tracing::error!(error = %second, "the default tenant was not opened again after its lock-out had failed");
        }
        return Err(error);
    }
    Ok(shut)
}

impl Shut<'_> {
    /// Opens the account in use again. Nodes refuse the tenant as long as it is in maintenance.
    pub async fn unlock(&self) -> Result<(), LegacyError> {
        self.destination.unlock().await
    }

    /// The same after another error, which is the one that the operator sees.
    pub async fn unlock_after(&self, error: &LegacyError) {
        if let Err(second) = self.unlock().await {
            tracing::error!(error = %second, after = %error, "the account of the default tenant stays locked");
        }
    }

    /// Opens the account in use again, and ends the maintenance that this command began.
    pub async fn reopen(self) -> Result<(), LegacyError> {
        self.unlock().await?;
        if self.began { end_maintenance(self.destination).await } else { Ok(()) }
    }
}

/// Puts the default tenant into maintenance. `false`: it is in maintenance already.
async fn begin_maintenance(destination: &Destination) -> Result<bool, LegacyError> {
    let begin = Command::SetMaintenance { enabled: true };
    match destination.store.execute(&destination.tenant.tenant_id, ACTOR, begin).await {
        Ok(_) => Ok(true),
        Err(CommandError::Rejected(Rejection::State(_))) => Ok(false),
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

/// Switches between routing to many tenants and sending every request to the default tenant.
pub async fn set_multi_tenant(destination: &Destination, enabled: bool) -> Result<(), LegacyError> {
    Ok(kernel::store::installation::set_multi_tenant(destination.store.pool(), enabled).await?)
}

/// Ends the maintenance of the default tenant, if it is in maintenance.
pub async fn end_maintenance(destination: &Destination) -> Result<(), LegacyError> {
    let end = Command::SetMaintenance { enabled: false };
    match destination.store.execute(&destination.tenant.tenant_id, ACTOR, end).await {
        Ok(_) | Err(CommandError::Rejected(Rejection::State(_))) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
