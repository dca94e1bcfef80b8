//! The switches of the installation. Nodes read them twice a second. Secrets have no place here: they are settings of
//! the processes.

use crate::admin::answer::{Answer, answer};
use crate::admin::{Caller, parse};
use crate::app::App;
use crate::commands::{PutSystemSetting, READ_ONLY};
use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use kernel::domain::{SettingKey, SettingType};
use kernel::http::{ApiError, ApiPath, Code};
use kernel::store::installation::{self, Entry};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// An entry of the system's configuration.
#[derive(Serialize, ToSchema)]
pub struct SystemSetting {
    config_key: String,
    /// A value of its type; null if the stored text is of another type.
    value: Value,
    config_type: SettingType,
    description: Option<String>,
    is_public: bool,
    read_only: bool,
    updated_at: DateTime<Utc>,
}

impl From<Entry> for SystemSetting {
    fn from(row: Entry) -> Self {
        let config_type = SettingType::of_column(row.config_type.as_deref());
        Self {
            value: row.config_value.map_or(Value::Null, |text| config_type.read(&text)),
            config_type,
            description: row.description,
            is_public: row.is_public,
            read_only: READ_ONLY.contains(&row.config_key.as_str()),
            updated_at: row.updated_at.and_utc(),
            config_key: row.config_key,
        }
    }
}

/// The system's configuration.
#[derive(Serialize, ToSchema)]
pub struct SystemConfig {
    config: Vec<SystemSetting>,
}

/// The system's configuration, by key; at most 1,000 entries.
#[utoipa::path(
    get, path = "/admin/config", tag = "config",
    responses((status = 200, description = "All entries", body = SystemConfig)),
)]
pub async fn list(State(app): State<App>, _: Caller) -> Result<Json<SystemConfig>, ApiError> {
    let rows = installation::entries(app.store.pool()).await?;
    Ok(Json(SystemConfig { config: rows.into_iter().map(SystemSetting::from).collect() }))
}

/// One entry of the system's configuration.
#[utoipa::path(
    get, path = "/admin/config/{key}", tag = "config",
    params(("key" = inline(SettingKey), Path)),
    responses(
        (status = 200, description = "The entry", body = SystemSetting),
        (status = 404, description = "config_not_found"),
        (status = 422, description = "invalid_config_key"),
    ),
)]
pub async fn get(
    State(app): State<App>,
    ApiPath(key): ApiPath<String>,
    _: Caller,
) -> Result<Json<SystemSetting>, ApiError> {
    let key = parse::config_key(&key)?;
    let row = installation::entry(app.store.pool(), &key).await?;
    row.map(|row| Json(row.into())).ok_or(Code::ConfigNotFound.into())
}

/// Body of `PUT /admin/config/{key}`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSystemSetting {
    /// A value of the entry's type.
    value: Value,
    /// The entry's type. A new entry has the type of its value by default; an existing one never changes its type.
    #[serde(default)]
    config_type: Option<SettingType>,
    #[serde(default)]
    #[schema(max_length = 200)]
    description: Option<String>,
    #[serde(default)]
    is_public: Option<bool>,
    /// Create the entry if it does not exist.
    #[serde(default)]
    create: bool,
}

/// Set an entry of the system's configuration. Nodes act on the change within two seconds.
#[utoipa::path(
    put, path = "/admin/config/{key}", tag = "config",
    params(("key" = inline(SettingKey), Path)),
    request_body = NewSystemSetting,
    responses(
        (status = 200, description = "The entry", body = SystemSetting),
        (status = 404, description = "config_not_found"),
        (status = 409, description = "config_read_only"),
        (status = 422, description = "invalid_config_key, invalid_config_type, invalid_value, invalid_description"),
    ),
)]
pub async fn put(State(app): State<App>, ApiPath(key): ApiPath<String>, caller: Caller) -> Result<Answer, ApiError> {
    let key = parse::config_key(&key)?;
    let NewSystemSetting { value, config_type, description, is_public, create } = caller.json()?;
    parse::description(description.as_deref())?;
    if READ_ONLY.contains(&key.as_str()) {
        return Err(Code::ConfigReadOnly.into());
    }
    let put = PutSystemSetting { key, value, config_type, description, is_public, create };
    answer(&app, &caller, &put, |entry| Answer::ok(SystemSetting::from(entry))).await
}
