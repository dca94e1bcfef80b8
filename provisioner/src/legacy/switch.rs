//! Which of the two systems is in use: the switch between one tenant and many, and whether the old database has changed
//! since the cut-over.

use super::LegacyError;
use super::destination::Destination;
use super::direction::{Direction, transfer_of};
use super::mapping::TargetDatabase;
use super::parallel::{ConnectionSet, in_parallel};
use super::state;
use super::table_plan::TablePlans;
use crate::tables::compare::sum;
use crate::tables::transfer::Range;
use std::cell::RefCell;

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

/// Switches between routing to many tenants and sending every request to the default tenant.
pub async fn set_multi_tenant(destination: &Destination, enabled: bool) -> Result<(), LegacyError> {
    Ok(kernel::store::installation::set_multi_tenant(destination.store.pool(), enabled).await?)
}
