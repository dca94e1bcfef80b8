//! Step 3: all tables exist, and the mark says so. The migrations are one batch: a round trip for each of 21 tables would
//! cost a fifth of the whole provisioning.

use crate::saga::{Context, StepError};
use crate::server::{Found, Mark};
use kernel::database::{migrate, sql};
use std::collections::HashSet;

pub async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    let (database, owner) = (context.database().to_owned(), context.mark());
    let mark = match context.session.find(&database).await? {
        Found::Marked(mark) if mark.is_of(&owner) => mark,
        _ => return Err(StepError::Transient("the tenant's database is not there, or not the tenant's".into())),
    };
    bring(context, &database, &mark).await
}

/// Brings a database of the tenant from the schema of its mark to the present one.
pub async fn bring(context: &mut Context<'_>, database: &str, mark: &Mark) -> Result<(), StepError> {
    match migrate(context, database, mark).await? {
        true => Ok(context.session.mark(database, &mark.migrated()).await?),
        false => Ok(()),
    }
}

/// The same, and the mark stays what it is. `false`: there was nothing to do.
pub async fn migrate(context: &mut Context<'_>, database: &str, mark: &Mark) -> Result<bool, StepError> {
    if mark.is_current()? {
        return Ok(false);
    }
    let mut batch = format!("USE {};\n", sql::identifier(database)?);
    for migration in migrate::tenant().iter().filter(|migration| migration.version > i64::from(mark.schema)) {
        batch.push_str(&migration.sql);
        batch.push('\n');
    }
    let _turn = context.tools.server.ddl_turn().await;
    context.session.execute(&batch).await?;
    let present: HashSet<String> = context.session.tables(database).await?.into_iter().collect();
    if let Some(missing) = expected_tables(u32::MAX).find(|table| !present.contains(*table)) {
        return Err(StepError::Transient(format!("the table {missing} is missing after the schema was applied")));
    }
    Ok(true)
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
