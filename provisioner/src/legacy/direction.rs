//! The transfer of a planned table: to the new system, or back.

use super::LegacyError;
use super::mapping::TargetDatabase;
use super::table_plan::TablePlan;
use crate::tables::transfer::{TableTransfer, TransferColumn};
use kernel::database::sql;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the old database to the new ones.
    Forward,
    /// From the new ones back.
    Back,
}

/// The transfer of a table's rows. `tenant_id` is the default tenant: a rollback transfers the rows of its users.
pub fn transfer_of(plan: &TablePlan, direction: Direction, tenant_id: &str) -> Result<TableTransfer, LegacyError> {
    let key = plan.key.as_deref();
    let columns = plan.columns.iter().map(|column| {
        // A table that is carried has the same character sets at both ends.
        let same = TransferColumn::same(&column.column);
        let as_bytes = same.as_bytes && plan.mapped.is_none();
        match direction {
            Direction::Forward => TransferColumn { as_bytes, from: &column.from, to: &column.to, ..same },
            Direction::Back => TransferColumn {
                as_bytes,
                from: &column.to,
                to: &column.from,
                null_as: plan.mapped.and_then(|mapped| {
                    mapped.back.iter().find(|(name, _)| *name == column.to).map(|(_, instead)| *instead)
                }),
                ..same
            },
        }
    });
    let ours = goes_back(plan, tenant_id)?;
    let columns: Vec<_> = columns.collect();
    let mut transfer = match direction {
        Direction::Back => TableTransfer::new(&plan.table, key, ours, &columns)?,
        // Users of other tenants only are not of the old system, so no pass compares or deletes their rows.
        Direction::Forward => {
            let mut transfer = TableTransfer::new(&plan.table, key, "TRUE".into(), &columns)?;
            transfer.to.filter = ours;
            transfer
        }
    };
    transfer.computes = plan.computes;
    Ok(transfer)
}

/// Condition for rows that go back: all rows of the system database but those of users who belong to other tenants
/// only.
fn goes_back(plan: &TablePlan, tenant_id: &str) -> Result<String, LegacyError> {
    let user = match plan.mapped {
        Some(mapped) if mapped.target == TargetDatabase::System => match (mapped.table, mapped.user) {
            ("user_info", _) => "user_id",
            (_, Some(user)) => mapped.new_name(user),
            (_, None) => return Ok("TRUE".into()),
        },
        _ => return Ok("TRUE".into()),
    };
    let (table, user, tenant) = (sql::identifier(&plan.table)?, sql::identifier(user)?, sql::literal(tenant_id)?);
    Ok(format!(
        "(CAST({table}.{user} AS BINARY) IN \
              (SELECT user_key FROM saas_tenant_users WHERE tenant_id = {tenant} AND deleted = 0) \
          OR CAST({table}.{user} AS BINARY) NOT IN (SELECT user_key FROM saas_tenant_users WHERE deleted = 0))"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::legacy::design;
    use crate::legacy::table_plan::{self, Unmapped};
    use crate::tables::transfer::Range;

    #[test]
    fn each_end_reads_columns_by_its_own_names() {
        let (system, tenant) = (design::tables(TargetDatabase::System), design::tables(TargetDatabase::Tenant));
        let mut source = system.clone();
        source.retain(|name, _| !name.starts_with("saas_"));
        source.extend(tenant.clone());
        source.retain(|name, _| !name.starts_with("tenant_"));
        let orders = source.get_mut("order_pingxx_orders").unwrap();
        orders.columns.iter_mut().find(|column| column.name == "user_id").unwrap().name = "user_bid".into();
        let mut orders = source.get_mut("order_orders").unwrap().columns.iter_mut();
        orders.find(|column| column.name == "user_id").unwrap().name = "user_bid".into();
        let plans = table_plan::resolve(&source, &system, &tenant, Unmapped::Carry).unwrap();
        let plan = |name: &str| plans.tables.iter().find(|plan| plan.table == name).unwrap();

        let all = Range::default();
        let forward = transfer_of(plan("order_pingxx_orders"), Direction::Forward, "default").unwrap();
        assert!(forward.read("TRUE").contains("`user_bid`") && forward.insert.contains("`user_id`"));
        assert!(forward.from.hashes(&all).contains("`user_bid`") && forward.to.hashes(&all).contains("`user_id`"));
        assert!(!forward.to.hashes(&all).contains("COALESCE(`extra`"));
        assert_eq!(forward.key_index, Some(0));
        let back = transfer_of(plan("order_pingxx_orders"), Direction::Back, "default").unwrap();
        assert!(back.read("TRUE").contains("COALESCE(`extra`, '')") && back.insert.contains("`user_bid`"));
        assert!(
            back.from.hashes(&all).contains("COALESCE(`paid_at`, created_at)")
                && !back.to.hashes(&all).contains("COALESCE")
        );

        let users = transfer_of(plan("user_info"), Direction::Back, "default").unwrap();
        assert!(users.read("TRUE").contains("saas_tenant_users") && users.to.filter == "TRUE");
        let forward = transfer_of(plan("user_info"), Direction::Forward, "default").unwrap();
        assert!(forward.to.filter.contains("saas_tenant_users") && forward.from.filter == "TRUE");
        let within = users.to.within(&Range { after: Some(-5), to: Some(9_007_199_254_740_993) });
        assert_eq!(within, "TRUE AND `id` > -5 AND `id` <= 9007199254740993");
    }
}
