//! Brings a database of a tenant to the newest schema while nothing else uses it.

use crate::sagas::{Context, StepError};
use crate::server::Marker;
use kernel::database::{migrate, sql};
use std::collections::HashSet;

/// Applies the migrations that the ownership marker does not name yet, and then says in the marker that they are
/// applied.
pub async fn bring(context: &mut Context<'_>, database: &str, marker: &Marker) -> Result<(), StepError> {
    match migrate(context, database, marker).await? {
        true => Ok(context.session.set_marker(database, &marker.migrated()).await?),
        false => Ok(()),
    }
}

/// Applies the migrations that `marker` does not name yet, and leaves the marker as it is. `false`: there are none.
/// They are one batch: a round trip for each of 21 tables would cost a fifth of a whole provisioning.
pub async fn migrate(context: &mut Context<'_>, database: &str, marker: &Marker) -> Result<bool, StepError> {
    if marker.is_current()? {
        return Ok(false);
    }
    let mut batch = format!("USE {};\n", sql::identifier(database)?);
    for migration in migrate::tenant().iter().filter(|migration| migration.version > i64::from(marker.schema)) {
        batch.push_str(&migration.sql);
        batch.push('\n');
    }
    let _turn = context.tools.server.ddl_turn().await;
    context.session.execute(&batch).await?;
    verify_tables(context, database, u32::MAX).await?;
    Ok(true)
}

/// Fails unless the database has every table that the migrations up to `schema` create.
pub async fn verify_tables(context: &mut Context<'_>, database: &str, schema: u32) -> Result<(), StepError> {
    let present: HashSet<String> = context.session.tables(database).await?.into_iter().collect();
    match expected_tables(schema).find(|table| !present.contains(*table)) {
        None => Ok(()),
        Some(missing) => {
            Err(StepError::Transient(format!("database {database} lacks the table {missing} after its migration")))
        }
    }
}

/// The tables that the migrations up to `schema` create, from their text.
pub fn expected_tables(schema: u32) -> impl Iterator<Item = &'static str> {
    migrate::tenant()
        .iter()
        .filter(move |migration| migration.version <= i64::from(schema))
        .flat_map(|migration| migration.sql.lines())
        .filter_map(|line| line.strip_prefix("CREATE TABLE IF NOT EXISTS "))
        .filter_map(|rest| rest.split([' ', '(']).next())
        .map(|name| name.trim_matches('`'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_migrations_create_the_21_tables() {
        let tables: HashSet<_> = expected_tables(u32::MAX).collect();
        assert_eq!(tables.len(), 21, "{tables:?}");
        assert!(tables.contains("order_orders") && tables.contains("tenant_statistics"));
    }
}
