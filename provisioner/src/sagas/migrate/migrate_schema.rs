//! The step `migrate_schema`: the tenant's database has the newest schema.

use crate::sagas::saga::{Step, WITH_ALL_ROWS};
use crate::sagas::shared::append::append;
use crate::sagas::shared::schema::verify_tables;
use crate::sagas::{Context, StepError};
use crate::server::{Marker, ServerError};
use kernel::database::{migrate, sql};
use kernel::domain::{Command, TenantState};
use kernel::process::failpoint;

/// Seconds that a statement waits for a table in use before the job is tried again. All other statements on the table
/// wait behind it meanwhile.
const TABLE_WAIT: u32 = 1;

/// It is not undone: what was added hinders no program, and the next migration of the tenant adds the rest.
pub const STEP: Step = Step::new("migrate_schema", |context| Box::pin(act(context))).within(WITH_ALL_ROWS);

async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    // The move may have copied the tables already.
    if context.tenant.database.moving_to.is_some() {
        return Err(StepError::NotYet("the tenant's database is being moved".into()));
    }
    // Such a tenant has no database.
    if context.tenant.database.host.is_none() || context.tenant.state == TenantState::Purged {
        return Ok(());
    }
    let (database, owner) = (context.database().to_owned(), context.marker());
    let mut marker = context.session.find_own(&database, &owner).await?;
    if marker.is_copy() {
        return Err(ServerError::NotOwned { database, tenant_id: owner.tenant_id.to_string() }.into());
    }
    // An attempt that was killed may have applied a migration without appending its event.
    if marker.schema != context.tenant.database.schema_version {
        record(context, marker.schema).await?;
    }
    // A newer program may have migrated the database further.
    if marker.schema > migrate::tenant_schema() || marker.is_current()? {
        return Ok(());
    }
    context.session.execute(&format!("SET SESSION lock_wait_timeout = {TABLE_WAIT}")).await?;
    for migration in migrate::tenant() {
        let version = u32::try_from(migration.version).unwrap_or(0);
        if version <= marker.schema {
            continue;
        }
        tracing::info!(tenant_id = %context.tenant.tenant_id, version, "applying a tenant migration");
        context.session.execute(&format!("USE {};\n{}", sql::identifier(&database)?, migration.sql)).await?;
        verify_tables(context, &database, version).await?;
        failpoint::hit("migrate.applied").await;
        marker = Marker::at(&marker, version);
        context.session.set_marker(&database, &marker).await?;
        failpoint::hit("migrate.marked").await;
        record(context, version).await?;
    }
    Ok(())
}

/// Appends the event that says what the ownership marker says.
async fn record(context: &Context<'_>, schema_version: u32) -> Result<(), StepError> {
    append(context.job(), [Command::CompleteSchemaMigration { schema_version }]).await
}
