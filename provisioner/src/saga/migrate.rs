//! Brings a tenant's database to the newest schema while it is in service.
//!
//! **Guarantees.** Tenant migrations only add: programs of the version before go on with the database, while it is migrated and
//! afterwards, so no node is told to wait and a job that fails leaves nothing to undo. The files are applied one by one, each may
//! be repeated, and after each the mark says how far the database is, and then an event, `tenant.schema_migrated`; whoever takes
//! the job over begins there. A statement that has to wait for a table gives up soon, because everybody who asks for the
//! table after it waits behind it.

use super::provision::apply_schema::expected_tables;
use super::{ACTOR, Context, StepError};
use crate::server::{Found, Mark};
use kernel::database::{migrate, sql};
use kernel::domain::{Command, TenantState};
use kernel::jobs::JobError;
use kernel::process::failpoint;
use std::collections::HashSet;

/// Seconds that a statement waits for a table which is in use; the job is tried again.
const TABLE_WAIT: u32 = 1;

pub async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    // What was changed now would be left behind.
    if context.tenant.database.moving_to.is_some() {
        return Err(StepError::NotYet("the tenant's database is being moved".into()));
    }
    // It has none any more.
    if context.tenant.database.host.is_none() || context.tenant.state == TenantState::Purged {
        return Ok(());
    }
    let (database, owner) = (context.database().to_owned(), context.mark());
    let mut mark = match context.session.find(&database).await? {
        Found::Marked(mark) if mark.is_of(&owner) && !mark.is_copy() => mark,
        _ => return Err(StepError::Transient("the tenant's database is not there, or not the tenant's".into())),
    };
    // An attempt that was killed may have got further than it could say.
    if mark.schema != context.tenant.database.schema_version {
        record(context, mark.schema).await?;
    }
    // A newer program was here.
    if mark.schema > migrate::tenant_schema() || mark.is_current()? {
        return Ok(());
    }
    context.session.execute(&format!("SET SESSION lock_wait_timeout = {TABLE_WAIT}")).await?;
    for migration in migrate::tenant() {
        let version = u32::try_from(migration.version).unwrap_or(0);
        if version <= mark.schema {
            continue;
        }
        tracing::info!(tenant_id = %context.tenant.tenant_id, version, "applying a tenant migration");
        context.session.execute(&format!("USE {};\n{}", sql::identifier(&database)?, migration.sql)).await?;
        let present: HashSet<String> = context.session.tables(&database).await?.into_iter().collect();
        if let Some(missing) = expected_tables(version).find(|table| !present.contains(*table)) {
            return Err(StepError::Transient(format!("the table {missing} is missing after the schema was applied")));
        }
        failpoint::hit("migrate.applied").await;
        mark = Mark::at(&mark, version);
        context.session.mark(&database, &mark).await?;
        failpoint::hit("migrate.marked").await;
        record(context, version).await?;
    }
    Ok(())
}

/// The event says what the mark says.
async fn record(context: &Context<'_>, schema_version: u32) -> Result<(), StepError> {
    let mut unit = context.tools.store.begin().await.map_err(JobError::from)?;
    let command = Command::CompleteSchemaMigration { schema_version };
    unit.execute(&context.tenant.tenant_id, ACTOR, command).await?;
    context.lease.hold(unit.connection()).await?;
    unit.commit().await.map_err(JobError::from)?;
    Ok(())
}
