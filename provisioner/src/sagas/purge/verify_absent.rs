//! The step `verify_absent`: checks everything again, in one attempt. The certificate says what is seen here.

use crate::sagas::saga::Step;
use crate::sagas::{Context, StepError};
use crate::server::Found;
use kernel::jobs::JobError;

pub const STEP: Step = Step::new("verify_absent", |context| Box::pin(act(context)));

async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    let (database, marker) = (context.database().to_owned(), context.marker());
    if matches!(context.session.find(&database).await?, Found::Marked(found) if found.is_of(&marker)) {
        return Err(StepError::Transient(format!("database {database} of the tenant is still there")));
    }
    for username in context.usernames() {
        // Locking is how an administrator without rights on mysql.* asks whether there is such a user.
        if context.account(&username).lock(context.session).await? {
            return Err(StepError::Transient(format!("the database user {username} is still there")));
        }
        if !context.session.sessions_of(&username).await?.is_empty() {
            return Err(StepError::Transient(format!("the database user {username} still has a session")));
        }
    }
    let (stored,): (i64,) = sqlx::query_as(
        "SELECT COUNT(*) FROM saas_tenant_databases WHERE tenant_id = ? AND db_password_encrypted <> ''",
    )
    .bind(context.tenant.tenant_id.as_str())
    .fetch_one(context.tools.store.pool())
    .await
    .map_err(JobError::from)?;
    if stored > 0 {
        return Err(StepError::Transient("the credential of the tenant is still stored".into()));
    }
    Ok(())
}
