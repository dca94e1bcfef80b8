//! The configuration of a tenant, as it was requested.
//!
//! **Guarantee.** A secret value is in no event and no answer, and it is sealed in the system database. In the tenant's
//! own table it stands as it is: the tenant's application reads it there, with the tenant's own account. So a secret
//! may not be in the groups that every user of the tenant reads (`tenant.`, `features.`).

use crate::admin::answer::{Answer, answer};
use crate::admin::{Caller, parse, read};
use crate::app::App;
use crate::commands::{ChangeTenantSetting, SettingChange, Started, value_text};
use axum::Json;
use axum::extract::State;
use chrono::{DateTime, NaiveDateTime, Utc};
use kernel::crypto::Purpose;
use kernel::domain::{SettingKey, SettingType, TenantId};
use kernel::http::{ApiError, ApiPath, Code};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::FromRow;
use utoipa::ToSchema;

/// An entry of a tenant's configuration, as it was requested.
#[derive(Serialize, ToSchema)]
pub struct TenantSetting {
    config_key: String,
    /// Null for a secret entry.
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

/// The entries of a tenant that were not removed, with a condition after them.
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

/// A tenant's configuration, as it was requested.
#[derive(Serialize, ToSchema)]
pub struct TenantConfig {
    tenant_id: TenantId,
    config: Vec<TenantSetting>,
}

/// A tenant's configuration as it was requested, by key.
#[utoipa::path(
    get, path = "/admin/tenants/{tenant_id}/config", tag = "tenant_config",
    params(("tenant_id" = TenantId, Path)),
    responses(
        (status = 200, description = "All of it", body = TenantConfig),
        (status = 404, description = "tenant_not_found"),
        (status = 422, description = "invalid_tenant_id"),
    ),
)]
pub async fn list(
    State(app): State<App>,
    ApiPath(tenant): ApiPath<String>,
    _: Caller,
) -> Result<Json<TenantConfig>, ApiError> {
    let tenant_id = parse::tenant_id(&tenant)?;
    read::tenant(&app, &tenant_id).await?;
    let rows: Vec<Row> = sqlx::query_as(select_setting!("ORDER BY config_key"))
        .bind(tenant_id.as_str())
        .fetch_all(app.store.pool())
        .await?;
    Ok(Json(TenantConfig { tenant_id, config: rows.into_iter().map(TenantSetting::from).collect() }))
}

/// One entry of a tenant's configuration, as it was requested.
#[utoipa::path(
    get, path = "/admin/tenants/{tenant_id}/config/{key}", tag = "tenant_config",
    params(("tenant_id" = TenantId, Path), ("key" = inline(SettingKey), Path)),
    responses(
        (status = 200, description = "The entry", body = TenantSetting),
        (status = 404, description = "tenant_not_found, config_not_found"),
        (status = 422, description = "invalid_tenant_id, invalid_config_key"),
    ),
)]
pub async fn get(
    State(app): State<App>,
    ApiPath((tenant, key)): ApiPath<(String, String)>,
    _: Caller,
) -> Result<Json<TenantSetting>, ApiError> {
    let (tenant_id, key) = (parse::tenant_id(&tenant)?, parse::config_key(&key)?);
    read::tenant(&app, &tenant_id).await?;
    let row: Option<Row> = sqlx::query_as(select_setting!("AND config_key = ?"))
        .bind(tenant_id.as_str())
        .bind(key.as_str())
        .fetch_optional(app.store.pool())
        .await?;
    row.map(|row| Json(row.into())).ok_or(Code::ConfigNotFound.into())
}

/// Body of `PUT /admin/tenants/{tenant_id}/config/{key}`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTenantSetting {
    /// A value of the entry's type.
    value: Value,
    /// By default the type of the value.
    #[serde(default)]
    config_type: Option<SettingType>,
    #[serde(default)]
    #[schema(max_length = 200)]
    description: Option<String>,
    /// A secret value is never shown again. The groups `tenant.` and `features.`, which every user of the tenant reads,
    /// take none.
    #[serde(default)]
    secret: bool,
}

/// Set an entry of a tenant's configuration. Nodes answer with it once the operation has succeeded.
#[utoipa::path(
    put, path = "/admin/tenants/{tenant_id}/config/{key}", tag = "tenant_config",
    params(("tenant_id" = TenantId, Path), ("key" = inline(SettingKey), Path)),
    request_body = NewTenantSetting,
    responses(
        (
            status = 202,
            description = "Accepted",
            body = Started,
            headers(("Location" = String, description = "The operation")),
        ),
        (status = 404, description = "tenant_not_found"),
        (status = 409, description = "invalid_state"),
        (
            status = 422,
            description = "invalid_tenant_id, invalid_config_key, invalid_value, invalid_description, invalid_secret",
        ),
    ),
)]
pub async fn put(
    State(app): State<App>,
    ApiPath((tenant, key)): ApiPath<(String, String)>,
    caller: Caller,
) -> Result<Answer, ApiError> {
    let (tenant_id, key) = (parse::tenant_id(&tenant)?, parse::config_key(&key)?);
    let NewTenantSetting { value, config_type, description, secret } = caller.json()?;
    parse::description(description.as_deref())?;
    if secret && key.is_public() {
        return Err(ApiError::invalid("secret", "secret", "every user of the tenant reads this group"));
    }
    let kind = config_type.unwrap_or_else(|| SettingType::of_value(&value));
    let text = value_text(kind, &value)?;
    let (value, sealed) = if secret {
        let purpose = Purpose::TenantSetting { tenant_id: tenant_id.as_str(), key: key.as_str() };
        (None, Some(app.keys.seal(purpose, text.as_bytes()).map_err(|error| ApiError::internal(&error))?))
    } else {
        (Some((value, text)), None)
    };
    let change = SettingChange::Set { kind, value, sealed, description };
    let change = ChangeTenantSetting { tenant_id, key, change, patience: app.patience };
    answer(&app, &caller, &change, Answer::started).await
}

/// Remove an entry from a tenant's configuration, even one that was not set by this API.
#[utoipa::path(
    delete, path = "/admin/tenants/{tenant_id}/config/{key}", tag = "tenant_config",
    params(("tenant_id" = TenantId, Path), ("key" = inline(SettingKey), Path)),
    responses(
        (
            status = 202,
            description = "Accepted",
            body = Started,
            headers(("Location" = String, description = "The operation")),
        ),
        (status = 404, description = "tenant_not_found"),
        (status = 409, description = "invalid_state"),
        (status = 422, description = "invalid_tenant_id, invalid_config_key"),
    ),
)]
pub async fn remove(
    State(app): State<App>,
    ApiPath((tenant, key)): ApiPath<(String, String)>,
    caller: Caller,
) -> Result<Answer, ApiError> {
    let (tenant_id, key) = (parse::tenant_id(&tenant)?, parse::config_key(&key)?);
    let change = ChangeTenantSetting { tenant_id, key, change: SettingChange::Remove, patience: app.patience };
    answer(&app, &caller, &change, Answer::started).await
}
