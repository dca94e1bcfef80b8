//! Step 1, if `BACKUP_BEFORE_PURGE` says so: a last backup. It goes with its age, as all backups of a tenant that is purged.

use crate::backup::job::back_up;
use crate::saga::{Context, StepError};
use crate::server::Found;
use kernel::jobs::JobError;

pub async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    let Some(retention) = context.tools.backup_before_purge else { return Ok(()) };
    let (database, owner) = (context.database().to_owned(), context.mark());
    // A tenant that failed had none; one that an earlier attempt has dropped was backed up by it.
    match context.session.find(&database).await? {
        Found::Marked(mark) if mark.is_of(&owner) => {}
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
    back_up(context.tools, Some(context.tenant), retention).await
}
