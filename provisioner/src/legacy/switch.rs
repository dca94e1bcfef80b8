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

/// Puts the default tenant into maintenance and waits until every node that reports has applied that.
pub async fn begin_maintenance(destination: &Destination) -> Result<(), LegacyError> {
    const PATIENCE: Duration = Duration::from_secs(15);
    let begin = Command::SetMaintenance { enabled: true };
    let position = match destination.store.execute(&destination.tenant.tenant_id, ACTOR, begin).await {
        Ok(tenant) => tenant.position,
        // The tenant is in maintenance already.
        Err(CommandError::Rejected(Rejection::State(_))) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
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
