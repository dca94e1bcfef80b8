//! The step `last_backup`: if `BACKUP_BEFORE_PURGE` says so, a last backup is whole. It is pruned by its age, as every
//! backup of a purged tenant.

use crate::sagas::saga::{Step, WITH_ALL_ROWS};
use crate::sagas::shared::take_backup::take_backup;
use crate::sagas::{Context, StepError};
use crate::server::Found;
use kernel::jobs::JobError;

pub const STEP: Step = Step::new("last_backup", |context| Box::pin(act(context))).within(WITH_ALL_ROWS);

async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    let Some(retention) = context.tools.backup_before_purge else { return Ok(()) };
    let (database, owner) = (context.database().to_owned(), context.marker());
    // A tenant whose provisioning failed has no database. If an earlier attempt has dropped the database, that attempt
    // has backed it up.
    match context.session.find(&database).await? {
        Found::Marked(marker) if marker.is_of(&owner) => {}
        _ => return Ok(()),
    }
    let taken: Option<(String,)> = sqlx::query_as(
        "SELECT b.backup_id FROM saas_backups b JOIN saas_operations o ON o.operation_id = ?
         WHERE b.tenant_id = ? AND b.taken_at >= o.created_at LIMIT 1",
    )
    .bind(context.lease.operation_id.to_string())
    .bind(context.tenant.tenant_id.as_str())
    .fetch_optional(context.tools.store.pool())
    .await
    .map_err(JobError::from)?;
    if taken.is_some() {
        return Ok(());
    }
    take_backup(context.tools, Some(context.tenant), retention).await
}
