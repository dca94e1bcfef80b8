//! The credential of a tenant's database as the system database stores it: the user in use, its sealed password, and
//! the row of a rotation in progress.

use super::server_objects::{self, ServerObject};
use crate::sagas::{Context, StepError, TenantJob};
use crate::server::account;
use kernel::crypto::{Purpose, tokens};
use kernel::domain::TenantId;
use kernel::jobs::{JobError, JobUnit};
use secrecy::{ExposeSecret, SecretString};
use sqlx::MySqlConnection;

/// Name of the tenant's user that is in use; empty: none is.
pub async fn username_in_use(context: &Context<'_>) -> Result<String, StepError> {
    username_of(context.job()).await
}

/// The same for a job without a session.
pub async fn username_of(job: TenantJob<'_>) -> Result<String, StepError> {
    let row: Option<(String,)> = sqlx::query_as("SELECT db_username FROM saas_tenant_databases WHERE tenant_id = ?")
        .bind(job.tenant.tenant_id.as_str())
        .fetch_optional(job.tools.store.pool())
        .await
        .map_err(JobError::from)?;
    Ok(row.map(|(username,)| username).unwrap_or_default())
}

/// The user in use, with its password.
pub async fn in_use(context: &Context<'_>) -> Result<(String, SecretString), StepError> {
    let username = username_in_use(context).await?;
    let password = password(context, &username).await?;
    Ok((username, password.ok_or(StepError::Unfit("the system database stores no password of the tenant"))?))
}

/// The stored password of `username`, opened; `None`: another user is in use, or none.
pub async fn password(context: &Context<'_>, username: &str) -> Result<Option<SecretString>, StepError> {
    let tenant_id = context.tenant.tenant_id.as_str();
    let row: Option<(String,)> = sqlx::query_as(
        "SELECT db_password_encrypted FROM saas_tenant_databases WHERE tenant_id = ? AND db_username = ?",
    )
    .bind(tenant_id)
    .bind(username)
    .fetch_optional(context.tools.store.pool())
    .await
    .map_err(JobError::from)?;
    row.map(|(sealed,)| {
        let opened = context.tools.keys.open_text(Purpose::TenantPassword { tenant_id, username }, &sealed);
        opened.map_err(|_| StepError::Unfit("no key of ENCRYPTION_KEYS opens the tenant's stored password"))
    })
    .transpose()
}

/// The stored password of `username`, or a new one that is stored from here on. The account that is made with it is
/// recorded in the same transaction.
pub async fn password_or_new(context: &Context<'_>, username: &str) -> Result<SecretString, StepError> {
    let job = context.job();
    let account = job.new_name(username);
    let objects = [ServerObject::Account(&account)];
    let server = &context.tools.server.id;
    if let Some(stored) = password(context, username).await? {
        server_objects::record_now(job, server, &objects).await?;
        return Ok(stored);
    }
    let tenant_id = &context.tenant.tenant_id;
    let new = tokens::new_password(account::PASSWORD_LENGTH);
    let purpose = Purpose::TenantPassword { tenant_id: tenant_id.as_str(), username };
    let sealed = context.tools.keys.seal(purpose, new.expose_secret().as_bytes())?;
    let mut unit = job.begin().await?;
    let stored = sqlx::query(
        // updated_at is a projection of the events; left out here, the server would set it by itself.
        "UPDATE saas_tenant_databases SET db_username = ?, db_password_encrypted = ?, updated_at = updated_at
         WHERE tenant_id = ? AND db_username = ''",
    )
    .bind(username)
    .bind(sealed)
    .bind(tenant_id.as_str())
    .execute(unit.connection())
    .await
    .map_err(JobError::from)?;
    if stored.rows_affected() != 1 {
        unit.rollback().await?;
        return Err(StepError::Unfit("the tenant has no row for its credential, or another user is in use"));
    }
    server_objects::record(&mut unit, tenant_id, server, &objects).await?;
    unit.commit().await?;
    Ok(new)
}

/// Empties the credential of the tenant.
pub async fn forget(unit: &mut JobUnit<'_>, tenant_id: &TenantId) -> Result<(), JobError> {
    sqlx::query(
        "UPDATE saas_tenant_databases SET db_username = '', db_password_encrypted = '', updated_at = updated_at
         WHERE tenant_id = ?",
    )
    .bind(tenant_id.as_str())
    .execute(unit.connection())
    .await?;
    Ok(())
}

/// Empties the credential of the tenant, in a unit of its own.
pub async fn forget_now(job: TenantJob<'_>) -> Result<(), JobError> {
    let mut unit = job.begin().await?;
    forget(&mut unit, &job.tenant.tenant_id).await?;
    unit.commit().await
}

/// Removes the row of the tenant's rotation, if there is one. The caller's transaction holds the job of the rotation,
/// or has ended it.
pub async fn forget_next(connection: &mut MySqlConnection, tenant_id: &TenantId) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM saas_next_credentials WHERE tenant_id = ?")
        .bind(tenant_id.as_str())
        .execute(connection)
        .await
        .map(drop)
}
