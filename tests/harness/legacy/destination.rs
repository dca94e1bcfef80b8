//! The place of each legacy table in the new system, as the design describes it. The migrator has its own list.

use crate::servers::accounts::SYSTEM_DATABASE;

/// The default tenant's database.
pub const TENANT_DATABASE: &str = "ai_shifu_tenant_default";

/// Tables of people who log in belong to the system database, all others to the tenant.
const OF_USERS: [&str; 4] = ["user_info", "user_token", "user_conversion", "user_verify_code"];

/// Columns with another name in the new schema.
const RENAMED: [(&str, &str, &str); 2] =
    [("order_orders", "user_bid", "user_id"), ("order_pingxx_orders", "user_bid", "user_id")];

/// The database that a legacy table's rows are in after an import. The name of the table stays.
pub fn database(table: &str) -> &'static str {
    if OF_USERS.contains(&table) { SYSTEM_DATABASE } else { TENANT_DATABASE }
}

/// The name of a legacy column after an import.
pub fn column<'n>(table: &str, column: &'n str) -> &'n str {
    let renamed = RENAMED.iter().find(|(of, from, _)| *of == table && *from == column);
    renamed.map_or(column, |(_, _, to)| to)
}
