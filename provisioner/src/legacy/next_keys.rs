//! The ids that the tables of the tenant's database give next.

use super::LegacyError;
use super::destination::Destination;
use super::mapping::TargetDatabase;
use super::source::Source;
use super::table_plan::TablePlans;
use crate::tables::Doing;
use kernel::database::sql;
use sqlx::Executor;

/// Makes the tenant's tables give the same next id as the source's, so that the id of a deleted row is not given again.
/// The account of the system database may not change tables: there the next id follows the highest.
pub async fn copy(source: &Source, destination: &Destination, plans: &TablePlans) -> Result<(), LegacyError> {
    let rows: Vec<(String, u64)> = sqlx::query_as(
        "SELECT CONVERT(TABLE_NAME USING utf8mb4), CAST(AUTO_INCREMENT AS UNSIGNED) FROM information_schema.TABLES
         WHERE TABLE_SCHEMA = ? AND AUTO_INCREMENT > 1",
    )
    .bind(&source.database)
    .fetch_all(&mut source.connect().await?)
    .await?;
    let mut tenant = destination.connect(TargetDatabase::Tenant).await?;
    for (table, next) in rows {
        // The source has given the last possible id.
        let possible = i64::try_from(next).is_ok();
        if possible && plans.tables.iter().any(|plan| plan.table == table && plan.target == TargetDatabase::Tenant) {
            // A value below the highest id changes nothing.
            let alter = format!("ALTER TABLE {} AUTO_INCREMENT = {next}", sql::identifier(&table)?);
            tenant.execute(alter.as_str()).await.doing(|| format!("setting the next id of {table}"))?;
        }
    }
    Ok(())
}
