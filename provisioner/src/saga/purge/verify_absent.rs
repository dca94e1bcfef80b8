//! Step 4: looks again, at everything, in one go: the certificate says what is seen here.

use crate::saga::{Context, StepError};
use crate::server::Found;
use kernel::jobs::JobError;

pub async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    let (database, mark) = (context.database().to_owned(), context.mark());
    if matches!(context.session.find(&database).await?, Found::Marked(found) if found.is_of(&mark)) {
        return Err(StepError::Transient("the tenant's database is still there".into()));
    }
    for username in context.usernames() {
        // Locking is the way to ask whether there is such a user; locked is also what it should be if there is.
        if context.account(&username).lock(context.session).await? {
            return Err(StepError::Transient("a user of the tenant is still there".into()));
        }
        if !context.session.sessions_of(&username).await?.is_empty() {
            return Err(StepError::Transient("a user of the tenant still has a session".into()));
        }
    }
    let (kept,): (i64,) = sqlx::query_as(
        "SELECT COUNT(*) FROM saas_tenant_databases WHERE tenant_id = ? AND db_password_encrypted <> ''",
    )
    .bind(context.tenant.tenant_id.as_str())
    .fetch_one(context.tools.store.pool())
    .await
    .map_err(JobError::from)?;
    if kept > 0 {
        return Err(StepError::Transient("the tenant's credential is still kept".into()));
    }
    Ok(())
}
