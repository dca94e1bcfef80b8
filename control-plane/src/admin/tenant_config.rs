//! The configuration of a tenant, which lies in the tenant's own database, where the control plane cannot log in.
//!
//! A change is kept in `saas_tenant_settings`, recorded as `tenant.config_changed`, and brought into the tenant's table
//! `tenant_config` by a job: all three in one unit, and the job may be repeated at any time. **Guarantee.** A secret value is
//! in no event, in no answer and, in the system database, sealed. In the tenant's own table it stands as it is: that is
//! where the tenant's application reads it, with the tenant's own account. So a secret one may not be among those that every
//! user reads (`tenant.`, `features.`).

use super::Caller;
use super::operations::{self, Started};
use super::system_config::{check_description, path_key, value_text};
use super::tenants::path_tenant_id;
use crate::serve::App;
use crate::write::{Answer, Refusal, Write, answer};
use axum::Json;
use axum::extract::State;
use chrono::{DateTime, NaiveDateTime, Utc};
use kernel::crypto::{KeyRing, Purpose};
use kernel::domain::{Command, SettingKey, SettingType, TenantId};
use kernel::http::{ApiError, ApiPath, Code};
use kernel::jobs::JobKind;
use kernel::store::UnitOfWork;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::{FromRow, MySqlConnection};
use std::time::Duration;
use utoipa::ToSchema;

/// Entries a tenant may have been given, removed ones included.
const MOST: i64 = 1000;

/// An entry of a tenant's configuration, as it was asked for.
#[derive(Serialize, ToSchema)]
pub struct TenantSetting {
    config_key: String,
    /// Null if it is secret.
    value: Value,
    config_type: SettingType,
    description: Option<String>,
    secret: bool,
    /// Whether the tenant's database has it.
    applied: bool,
    updated_at: DateTime<Utc>,
}

#[derive(FromRow)]
struct Row {
    config_key: String,
    config_type: String,
    config_value: Option<String>,
    sealed_value: String,
    description: Option<String>,
    applied: i64,
    updated_at: NaiveDateTime,
}

impl From<Row> for TenantSetting {
    fn from(row: Row) -> Self {
        let config_type = SettingType::of_column(Some(&row.config_type));
        Self {
            value: row.config_value.map_or(Value::Null, |text| config_type.read(&text)),
            config_type,
            description: row.description,
            secret: !row.sealed_value.is_empty(),
            applied: row.applied == 1,
            updated_at: row.updated_at.and_utc(),
            config_key: row.config_key,
        }
    }
}

/// The entries of a tenant that are not removed, with a condition after them.
macro_rules! select_setting {
    ($condition:literal) => {
        concat!(
            "SELECT config_key, config_type, config_value, sealed_value, description,
                    CAST(applied_position = position AS SIGNED) AS applied, updated_at
             FROM saas_tenant_settings WHERE tenant_id = ? AND removed = 0 ",
            $condition
        )
    };
}

/// What was asked for in a tenant's configuration.
#[derive(Serialize, ToSchema)]
pub struct TenantConfig {
    tenant_id: TenantId,
    config: Vec<TenantSetting>,
}

/// What was asked for in a tenant's configuration, by key.
#[utoipa::path(get, path = "/admin/tenants/{tenant_id}/config", tag = "tenant_config", params(("tenant_id" = TenantId, Path)), responses(
    (status = 200, description = "All of it", body = TenantConfig),
    (status = 404, description = "tenant_not_found"),
    (status = 422, description = "invalid_tenant_id")))]
pub async fn list(
    State(app): State<App>,
    ApiPath(tenant): ApiPath<String>,
    _: Caller,
) -> Result<Json<TenantConfig>, ApiError> {
    let tenant_id = path_tenant_id(&tenant)?;
    let read = async {
        if app.store.tenant(&tenant_id).await?.is_none() {
            return Ok(None);
        }
        let rows: Vec<Row> = sqlx::query_as(select_setting!("ORDER BY config_key"))
            .bind(tenant_id.as_str())
            .fetch_all(app.store.pool())
            .await?;
        Ok(Some(rows))
    };
    let rows = read.await.map_err(|error| ApiError::database(&error))?.ok_or(Code::TenantNotFound)?;
    Ok(Json(TenantConfig { tenant_id, config: rows.into_iter().map(TenantSetting::from).collect() }))
}

/// One entry of a tenant's configuration, as it was asked for.
#[utoipa::path(get, path = "/admin/tenants/{tenant_id}/config/{key}", tag = "tenant_config",
    params(("tenant_id" = TenantId, Path), ("key" = inline(SettingKey), Path)), responses(
    (status = 200, description = "The entry", body = TenantSetting),
    (status = 404, description = "tenant_not_found, config_not_found"),
    (status = 422, description = "invalid_tenant_id, invalid_config_key")))]
pub async fn get(
    State(app): State<App>,
    ApiPath((tenant, key)): ApiPath<(String, String)>,
    _: Caller,
) -> Result<Json<TenantSetting>, ApiError> {
    let (tenant_id, key) = (path_tenant_id(&tenant)?, path_key(&key)?);
    let read = async {
        if app.store.tenant(&tenant_id).await?.is_none() {
            return Ok(None);
        }
        Ok(Some(read(&mut *app.store.pool().acquire().await?, &tenant_id, &key).await?))
    };
    let row = read.await.map_err(|error| ApiError::database(&error))?.ok_or(Code::TenantNotFound)?;
    row.map(|row| Json(row.into())).ok_or(Code::ConfigNotFound.into())
}

async fn read(
    connection: &mut MySqlConnection,
    tenant_id: &TenantId,
    key: &SettingKey,
) -> Result<Option<Row>, sqlx::Error> {
    sqlx::query_as(select_setting!("AND config_key = ?"))
        .bind(tenant_id.as_str())
        .bind(key.as_str())
        .fetch_optional(connection)
        .await
}

/// Body of `PUT /admin/tenants/{tenant_id}/config/{key}`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTenantSetting {
    /// A value of the entry's type.
    value: Value,
    /// The value's own unless told otherwise.
    #[serde(default)]
    config_type: Option<SettingType>,
    #[serde(default)]
    #[schema(max_length = 200)]
    description: Option<String>,
    /// Never shown again. Not for the groups `tenant.` and `features.`, which every user of the tenant reads.
    #[serde(default)]
    secret: bool,
}

/// Set an entry of a tenant's configuration. Once the operation has succeeded, nodes answer with it.
#[utoipa::path(put, path = "/admin/tenants/{tenant_id}/config/{key}", tag = "tenant_config",
    params(("tenant_id" = TenantId, Path), ("key" = inline(SettingKey), Path)), request_body = NewTenantSetting, responses(
    (status = 202, description = "Accepted", body = Started, headers(("Location" = String, description = "The operation"))),
    (status = 404, description = "tenant_not_found"),
    (status = 409, description = "invalid_state, conflict"),
    (status = 422, description = "invalid_tenant_id, invalid_config_key, invalid_value, invalid_description, invalid_secret")))]
pub async fn put(
    State(app): State<App>,
    ApiPath((tenant, key)): ApiPath<(String, String)>,
    caller: Caller,
) -> Result<Answer, ApiError> {
    let (tenant_id, key) = (path_tenant_id(&tenant)?, path_key(&key)?);
    let NewTenantSetting { value, config_type, description, secret } = caller.json()?;
    check_description(description.as_deref())?;
    if secret && key.is_public() {
        return Err(ApiError::invalid("secret", "secret", "every user of the tenant reads this group"));
    }
    let kind = config_type.unwrap_or_else(|| SettingType::of_value(&value));
    let text = value_text(kind, &value)?;
    let (value, sealed) = if secret {
        let purpose = Purpose::TenantSetting { tenant_id: tenant_id.as_str(), key: key.as_str() };
        (None, Some(seal(&app.keys, purpose, &text)?))
    } else {
        (Some((value, text)), None)
    };
    let wish = Wish::Set { kind, value, sealed, description };
    answer(&app, &caller, &Change { tenant_id, key, wish, patience: app.patience }).await
}

fn seal(keys: &KeyRing, purpose: Purpose<'_>, text: &str) -> Result<String, ApiError> {
    keys.seal(purpose, text.as_bytes()).map_err(|error| ApiError::internal(&error))
}

/// Remove an entry from a tenant's configuration, also one that was not set here.
#[utoipa::path(delete, path = "/admin/tenants/{tenant_id}/config/{key}", tag = "tenant_config",
    params(("tenant_id" = TenantId, Path), ("key" = inline(SettingKey), Path)), responses(
    (status = 202, description = "Accepted", body = Started, headers(("Location" = String, description = "The operation"))),
    (status = 404, description = "tenant_not_found"),
    (status = 409, description = "invalid_state, conflict"),
    (status = 422, description = "invalid_tenant_id, invalid_config_key")))]
pub async fn remove(
    State(app): State<App>,
    ApiPath((tenant, key)): ApiPath<(String, String)>,
    caller: Caller,
) -> Result<Answer, ApiError> {
    let (tenant_id, key) = (path_tenant_id(&tenant)?, path_key(&key)?);
    answer(&app, &caller, &Change { tenant_id, key, wish: Wish::Remove, patience: app.patience }).await
}

enum Wish {
    Set {
        kind: SettingType,
        /// And its text; `None`: it is secret.
        value: Option<(Value, String)>,
        sealed: Option<String>,
        description: Option<String>,
    },
    Remove,
}

struct Change {
    tenant_id: TenantId,
    key: SettingKey,
    wish: Wish,
    patience: Duration,
}

impl Write for Change {
    async fn run(&self, unit: &mut UnitOfWork, actor: &str) -> Result<Answer, Refusal> {
        let key = self.key.clone();
        let command = match &self.wish {
            Wish::Set { kind, value, sealed, .. } => Command::ChangeConfig {
                key,
                kind: Some(*kind),
                value: value.as_ref().map(|(value, _)| value.clone()),
                secret: sealed.is_some(),
            },
            Wish::Remove => Command::ChangeConfig { key, kind: None, value: None, secret: false },
        };
        let tenant = unit.execute(&self.tenant_id, actor, command).await?;
        let (kind, text, sealed, description, removed) = match &self.wish {
            Wish::Set { kind, value, sealed, description } => {
                (*kind, value.as_ref().map(|(_, text)| text), sealed.as_deref(), description.as_ref(), false)
            }
            Wish::Remove => (SettingType::String, None, None, None, true),
        };
        let (others,): (i64,) =
            sqlx::query_as("SELECT COUNT(*) FROM saas_tenant_settings WHERE tenant_id = ? AND config_key <> ?")
                .bind(self.tenant_id.as_str())
                .bind(self.key.as_str())
                .fetch_one(unit.connection())
                .await?;
        if others >= MOST {
            return Err(ApiError::invalid("value", "config_key", format!("a tenant has at most {MOST} entries")).into());
        }
        sqlx::query(
            "INSERT INTO saas_tenant_settings (tenant_id, config_key, config_type, config_value, sealed_value, description,
                                               removed, position, updated_at)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, UTC_TIMESTAMP(6))
             ON DUPLICATE KEY UPDATE config_type = VALUES(config_type), config_value = VALUES(config_value),
                 sealed_value = VALUES(sealed_value), description = COALESCE(VALUES(description), description),
                 removed = VALUES(removed), position = VALUES(position), updated_at = VALUES(updated_at)",
        )
        .bind(self.tenant_id.as_str())
        .bind(self.key.as_str())
        .bind(kind.as_str())
        .bind(text)
        .bind(sealed.unwrap_or_default())
        .bind(description)
        .bind(removed)
        .bind(tenant.position.0)
        .execute(unit.connection())
        .await?;
        operations::start(unit, &tenant, JobKind::Configure, self.patience).await
    }
}
