//! The step `verify_absent`: checks everything again, in one attempt. The certificate says what is seen here.

use super::databases;
use crate::sagas::saga::Step;
use crate::sagas::{Context, StepError, TenantJob};
use crate::server::Session;
use crate::server::account::AccountName;
use kernel::jobs::JobError;

pub const STEP: Step = Step::new("verify_absent", |context| Box::pin(act(context)));

async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    let (names, job) = (context.accounts().await?, context.job());
    verify(job, &names, context.session).await?;
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

/// Fails if the server of the session has a database, an account or a session of the tenant.
pub async fn verify(job: TenantJob<'_>, names: &[AccountName], session: &mut Session) -> Result<(), StepError> {
    if let Some(database) = databases::left(job, session).await? {
        return Err(StepError::Transient(format!("database {database} of the tenant is still there")));
    }
    // The server's own list, if it can be read, also has accounts that no row names.
    let seen = session.accounts_of(&job.usernames()).await?.unwrap_or_default();
    for name in names.iter().chain(&seen) {
        let username = &name.username;
        // Locking is how an administrator without rights on mysql.* asks whether there is such a user.
        if job.account_named(name).lock(session).await? {
            return Err(StepError::Transient(format!("the database user {username}@{} is still there", name.host)));
        }
        if !session.sessions_of(username).await?.is_empty() {
            return Err(StepError::Transient(format!("the database user {username} still has a session")));
        }
    }
    Ok(())
}
