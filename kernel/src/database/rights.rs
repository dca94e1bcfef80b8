//! Whether the account of a service may change what it changes. `deploy/sql/tables.sql` grants that on single tables,
//! so it is run after each migration that creates one.

use super::migrate::{MigrateError, SYSTEM};
use super::sql;
use sqlx::{Executor, MySqlConnection};
use std::collections::BTreeSet;

/// Services only add to these tables.
const ADDED_TO: [&str; 2] = ["saas_events", "saas_schema_migrations"];

/// Checks that the account may change the rows of every table that the migrations of this program create. Other tables
/// of the database do not matter. No row is touched.
///
/// # Errors
/// Names the first table that the account may not change.
pub async fn verify(connection: &mut MySqlConnection) -> Result<(), MigrateError> {
    for table in tables() {
        let allowed = may_change(connection, table).await?;
        match (ADDED_TO.contains(&table), allowed) {
            (false, false) => return Err(MigrateError::NoRights(table.to_owned())),
            (true, true) => tracing::warn!(
                table,
                "the account may change rows that the services only add; run deploy/sql/tables.sql on the system \
                 database"
            ),
            _ => {}
        }
    }
    Ok(())
}

/// The server's own decision counts every way to grant a right. Its lists of rights do not show all of them.
async fn may_change(connection: &mut MySqlConnection, table: &str) -> Result<bool, sqlx::Error> {
    let name = sql::identifier(table).expect("the names in the migrations can be quoted");
    match connection.execute(format!("DELETE FROM {name} WHERE 1 = 0").as_str()).await {
        Ok(_) => Ok(true),
        // A later migration may have dropped the table.
        Err(error) if super::number(&error) == Some(1146) => Ok(!ADDED_TO.contains(&table)),
        Err(error) if matches!(super::number(&error), Some(1142 | 1044)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The tables that the migrations create.
fn tables() -> BTreeSet<&'static str> {
    let lines = SYSTEM.iter().flat_map(|migration| migration.sql.lines());
    lines.filter_map(|line| line.strip_prefix("CREATE TABLE IF NOT EXISTS ")?.split([' ', '(']).next()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_sql_lets_the_services_change_the_tables_of_all_migrations() {
        let granted = include_str!("../../../deploy/sql/tables.sql")
            .lines()
            .filter_map(|line| line.strip_prefix("GRANT UPDATE, DELETE ON `ai_shifu_system`.`")?.strip_suffix('`'));
        let changed: BTreeSet<&str> = tables().into_iter().filter(|table| !ADDED_TO.contains(table)).collect();
        assert!(changed.len() > 40, "{changed:?}");
        assert_eq!(granted.collect::<BTreeSet<_>>(), changed);
    }
}
