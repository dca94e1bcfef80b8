//! Step 2: the tenant's user exists. Its password is made and kept (sealed) before the user is made with it, so that a
//! killed attempt never leaves a user whose password nobody knows.

use crate::saga::{Context, StepError};
use crate::server::account;
use kernel::crypto::Purpose;
use kernel::crypto::tokens;
use secrecy::{ExposeSecret, SecretString};

pub async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    let [username, _] = context.usernames();
    let password = keep_password(context, &username).await?;
    let _turn = context.tools.server.ddl_turn().await;
    Ok(context.account(&username).create(context.session, &password).await?)
}

pub async fn undo(context: &mut Context<'_>) -> Result<(), StepError> {
    let [username, _] = context.usernames();
    context.account(&username).drop(context.session).await?;
    sqlx::query(
        "UPDATE saas_tenant_databases SET db_username = '', db_password_encrypted = '', updated_at = updated_at WHERE tenant_id = ?",
    )
        .bind(context.tenant.tenant_id.as_str())
        .execute(context.tools.store.pool())
        .await
        .map_err(kernel::jobs::JobError::from)?;
    Ok(())
}

/// The kept password, or a new one that is kept from here on.
pub async fn keep_password(context: &Context<'_>, username: &str) -> Result<SecretString, StepError> {
    if let Some(kept) = kept_password(context, username).await? {
        return Ok(kept);
    }
    let tenant_id = context.tenant.tenant_id.as_str();
    let new = tokens::new_password(account::PASSWORD_LENGTH);
    let sealed =
        context.tools.keys.seal(Purpose::TenantPassword { tenant_id, username }, new.expose_secret().as_bytes())?;
    let kept = sqlx::query(
        // updated_at is a projection of the events; left out here, the server would set it by itself.
        "UPDATE saas_tenant_databases SET db_username = ?, db_password_encrypted = ?, updated_at = updated_at
         WHERE tenant_id = ? AND db_username = ''",
    )
    .bind(username)
    .bind(sealed)
    .bind(tenant_id)
    .execute(context.tools.store.pool())
    .await
    .map_err(kernel::jobs::JobError::from)?;
    if kept.rows_affected() == 1 {
        return Ok(new);
    }
    // Somebody was faster; what is kept counts.
    let kept = kept_password(context, username).await?;
    kept.ok_or(StepError::Unfit("the tenant has no row for its credential"))
}

/// The password kept for `username`, opened.
pub async fn kept_password(context: &Context<'_>, username: &str) -> Result<Option<SecretString>, StepError> {
    let tenant_id = context.tenant.tenant_id.as_str();
    let row: Option<(String,)> = sqlx::query_as(
        "SELECT db_password_encrypted FROM saas_tenant_databases WHERE tenant_id = ? AND db_username = ?",
    )
    .bind(tenant_id)
    .bind(username)
    .fetch_optional(context.tools.store.pool())
    .await
    .map_err(kernel::jobs::JobError::from)?;
    row.map(|(sealed,)| {
        let opened = context.tools.keys.open_text(Purpose::TenantPassword { tenant_id, username }, &sealed);
        opened.map_err(|_| StepError::Unfit("the tenant's kept password does not open with the key ring"))
    })
    .transpose()
}
