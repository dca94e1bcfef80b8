//! Brings what was asked for in a tenant's configuration into its own table `tenant_config`.
//!
//! **Guarantee.** After it, every entry is as it was asked for last: the job reads what is asked for when it runs, all of it,
//! so it may be repeated, be late or stand for several changes. An entry counts as applied only if it is still the one that
//! was written. Entries that nobody has asked for here stay as they are.

use super::{Context, StepError};
use crate::server::Found;
use kernel::crypto::Purpose;
use kernel::database::sql;
use kernel::domain::TenantState;
use kernel::jobs::JobError;
use secrecy::ExposeSecret;
use sqlx::FromRow;

#[derive(FromRow)]
struct Entry {
    config_key: String,
    config_type: String,
    config_value: Option<String>,
    sealed_value: String,
    description: Option<String>,
    removed: i64,
    position: u64,
}

pub async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    // What was written now would be left behind.
    if context.tenant.database.moving_to.is_some() {
        return Err(StepError::NotYet("the tenant's database is being moved".into()));
    }
    let (database, owner) = (context.database().to_owned(), context.mark());
    match context.session.find(&database).await? {
        Found::Marked(mark) if mark.is_of(&owner) => {}
        // Purged meanwhile: nothing is left that could be configured.
        _ if matches!(context.tenant.state, TenantState::Purged | TenantState::Failed) => return Ok(()),
        _ => return Err(StepError::Transient("the tenant's database is not there, or not the tenant's".into())),
    }
    let tenant_id = context.tenant.tenant_id.as_str().to_owned();
    let pool = context.tools.store.pool();
    let entries: Vec<Entry> = sqlx::query_as(
        "SELECT config_key, config_type, config_value, sealed_value, description, CAST(removed AS SIGNED) AS removed, position
         FROM saas_tenant_settings WHERE tenant_id = ? ORDER BY config_key",
    )
    .bind(&tenant_id)
    .fetch_all(pool)
    .await
    .map_err(JobError::from)?;
    let table = format!("{}.tenant_config", sql::identifier(&database)?);
    let delete = format!("DELETE FROM {table} WHERE config_key = ?");
    let put = format!(
        "INSERT INTO {table} (config_key, config_value, config_type, description) VALUES (?, ?, ?, ?)
         ON DUPLICATE KEY UPDATE config_key = VALUES(config_key), config_value = VALUES(config_value),
             config_type = VALUES(config_type), description = COALESCE(VALUES(description), description)"
    );
    for entry in &entries {
        if entry.removed == 1 {
            sqlx::query(&delete).bind(&entry.config_key).execute(context.session.connection()).await?;
            continue;
        }
        let purpose = Purpose::TenantSetting { tenant_id: &tenant_id, key: &entry.config_key };
        let secret = match entry.sealed_value.as_str() {
            "" => None,
            sealed => Some(context.tools.keys.open_text(purpose, sealed)?),
        };
        let value = secret.as_ref().map(ExposeSecret::expose_secret).or(entry.config_value.as_deref());
        sqlx::query(&put)
            .bind(&entry.config_key)
            .bind(value)
            .bind(&entry.config_type)
            .bind(&entry.description)
            .execute(context.session.connection())
            .await?;
    }
    for entry in &entries {
        sqlx::query(
            "UPDATE saas_tenant_settings SET applied_position = position WHERE tenant_id = ? AND config_key = ? AND position = ?",
        )
        .bind(&tenant_id)
        .bind(&entry.config_key)
        .bind(entry.position)
        .execute(pool)
        .await
        .map_err(JobError::from)?;
    }
    Ok(())
}
