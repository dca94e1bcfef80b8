//! The step `apply_config`: the tenant's own table `tenant_config` has the configuration that was requested for it.
//!
//! **Guarantee.** After it, every requested entry has its newest requested value: the step reads all requests when it
//! runs, so one job may be repeated, be late or stand for several changes. An entry counts as applied only if its
//! request is still the one that was written. Entries that were never requested through the admin API stay as they are,
//! except for `tenant.name`, which is the tenant's name.

use crate::sagas::saga::Step;
use crate::sagas::{Context, StepError};
use crate::server::ServerError;
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

/// The entry that seeding makes with the tenant's name.
pub const NAME: &str = "tenant.name";

/// The step of a tenant that is created from the backup of another one: the copied entry has the other one's name.
pub const NAME_STEP: Step = Step::new("apply_name", |context| Box::pin(apply_name(context)));

async fn apply_name(context: &mut Context<'_>) -> Result<(), StepError> {
    let table = format!("{}.tenant_config", sql::identifier(context.database())?);
    let update = format!("UPDATE {table} SET config_value = ? WHERE config_key = ?");
    let name = context.tenant.tenant_name.clone();
    sqlx::query(&update).bind(name).bind(NAME).execute(context.session.connection()).await?;
    Ok(())
}

/// It is not undone: it makes true what is decided already.
pub const STEP: Step = Step::new("apply_config", |context| Box::pin(act(context)));

async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    // The move may have copied `tenant_config` already.
    if context.tenant.database.moving_to.is_some() {
        return Err(StepError::NotYet("the tenant's database is being moved".into()));
    }
    // The steps that provision the database make the table, and write the name that the tenant had when they began.
    if context.tenant.state == TenantState::Provisioning {
        return Err(StepError::NotYet("the tenant's database is being provisioned".into()));
    }
    let (database, owner) = (context.database().to_owned(), context.marker());
    match context.session.find_own(&database, &owner).await {
        Ok(_) => {}
        // Such a tenant has no database that could be configured.
        Err(ServerError::Missing { .. } | ServerError::NotOwned { .. })
            if matches!(context.tenant.state, TenantState::Purged | TenantState::Failed) =>
        {
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    }
    let tenant_id = context.tenant.tenant_id.as_str().to_owned();
    let pool = context.tools.store.pool();
    let entries: Vec<Entry> = sqlx::query_as(
        "SELECT config_key, config_type, config_value, sealed_value, description,
                CAST(removed AS SIGNED) AS removed, position
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
    if !entries.iter().any(|entry| entry.config_key == NAME) {
        apply_name(context).await?;
    }
    let mut unit = context.job().begin().await?;
    for entry in &entries {
        sqlx::query(
            "UPDATE saas_tenant_settings SET applied_position = position
             WHERE tenant_id = ? AND config_key = ? AND position = ?",
        )
        .bind(&tenant_id)
        .bind(&entry.config_key)
        .bind(entry.position)
        .execute(unit.connection())
        .await
        .map_err(JobError::from)?;
    }
    Ok(unit.commit().await?)
}
