//! The switches of the installation: `saas_system_config`, read and written with their types.
//!
//! **Guarantee.** A switch that a service acts on never gets a value it does not know. Nodes read the switches once a second.
//! Keys that nobody knows are refused unless they are created on purpose: a typing error would be a switch without effect.
//! Secrets have no place here; they are settings of the processes.

use super::Caller;
use crate::serve::App;
use crate::write::{Answer, Refusal, Write, answer};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use kernel::domain::MAX_VALUE;
use kernel::domain::{SettingKey, SettingType, TenantId, TenantState};
use kernel::http::{ApiError, ApiPath, Code};
use kernel::store::UnitOfWork;
use kernel::store::installation::{self, Entry, NewEntry};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

/// Names the installation in the marks of its databases: another value would orphan them all.
const READ_ONLY: [&str; 1] = [installation::INSTALLATION_ID];

/// An entry of the system's configuration.
#[derive(Serialize, ToSchema)]
pub struct SystemSetting {
    config_key: String,
    /// A value of its type; null if what is stored is none.
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
#[utoipa::path(get, path = "/admin/config", tag = "config", responses((status = 200, description = "All of it", body = SystemConfig)))]
pub async fn list(State(app): State<App>, _: Caller) -> Result<Json<SystemConfig>, ApiError> {
    let rows = installation::entries(app.store.pool()).await.map_err(|error| ApiError::database(&error))?;
    Ok(Json(SystemConfig { config: rows.into_iter().map(SystemSetting::from).collect() }))
}

/// One entry of the system's configuration.
#[utoipa::path(get, path = "/admin/config/{key}", tag = "config", params(("key" = inline(SettingKey), Path)), responses(
    (status = 200, description = "The entry", body = SystemSetting),
    (status = 404, description = "config_not_found"),
    (status = 422, description = "invalid_config_key")))]
pub async fn get(
    State(app): State<App>,
    ApiPath(key): ApiPath<String>,
    _: Caller,
) -> Result<Json<SystemSetting>, ApiError> {
    let key = path_key(&key)?;
    let row = installation::entry(app.store.pool(), &key).await.map_err(|error| ApiError::database(&error))?;
    row.map(|row| Json(row.into())).ok_or(Code::ConfigNotFound.into())
}

/// A key in a path.
pub fn path_key(text: &str) -> Result<SettingKey, ApiError> {
    text.parse().map_err(|error| ApiError::invalid("config_key", "config_key", error))
}

/// Body of `PUT /admin/config/{key}`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSystemSetting {
    /// A value of the entry's type.
    value: Value,
    /// The entry's type: of a new one the value's own unless told otherwise; that of another cannot be changed.
    #[serde(default)]
    config_type: Option<SettingType>,
    #[serde(default)]
    #[schema(max_length = 200)]
    description: Option<String>,
    #[serde(default)]
    is_public: Option<bool>,
    /// Make the entry if there is none.
    #[serde(default)]
    create: bool,
}

/// Set an entry of the system's configuration. Nodes act on it within two seconds.
#[utoipa::path(put, path = "/admin/config/{key}", tag = "config", params(("key" = inline(SettingKey), Path)), request_body = NewSystemSetting, responses(
    (status = 200, description = "The entry", body = SystemSetting),
    (status = 404, description = "config_not_found"),
    (status = 409, description = "config_read_only, conflict"),
    (status = 422, description = "invalid_config_key, invalid_config_type, invalid_value, invalid_description")))]
pub async fn put(State(app): State<App>, ApiPath(key): ApiPath<String>, caller: Caller) -> Result<Answer, ApiError> {
    let (key, body) = (path_key(&key)?, caller.json::<NewSystemSetting>()?);
    check_description(body.description.as_deref())?;
    if READ_ONLY.contains(&key.as_str()) {
        return Err(Code::ConfigReadOnly.into());
    }
    answer(&app, &caller, &Put { key, body }).await
}

/// At most 200 characters, the columns' length.
pub fn check_description(text: Option<&str>) -> Result<(), ApiError> {
    match text {
        Some(text) if text.chars().count() > 200 => {
            Err(ApiError::invalid("description", "description", "at most 200 characters"))
        }
        _ => Ok(()),
    }
}

/// The text of a value of this type.
pub fn value_text(kind: SettingType, value: &Value) -> Result<String, ApiError> {
    let text = kind.write(value);
    let text = text.ok_or_else(|| ApiError::invalid("value", "value", format!("not a {}", kind.as_str())))?;
    if text.len() > MAX_VALUE {
        return Err(ApiError::invalid("value", "value", format!("more than {MAX_VALUE} bytes")));
    }
    Ok(text)
}

struct Put {
    key: SettingKey,
    body: NewSystemSetting,
}

impl Write for Put {
    async fn run(&self, unit: &mut UnitOfWork, actor: &str) -> Result<Answer, Refusal> {
        let Self { key, body } = self;
        let now = installation::entry(unit.connection(), key).await?;
        let kind = match &now {
            Some(row) => SettingType::of_column(row.config_type.as_deref()),
            None if body.create => body.config_type.unwrap_or_else(|| SettingType::of_value(&body.value)),
            None => return Err(Code::ConfigNotFound.into()),
        };
        if body.config_type.is_some_and(|wanted| wanted != kind) {
            let detail = format!("the entry is a {}", kind.as_str());
            return Err(ApiError::invalid("config_type", "config_type", detail).into());
        }
        let text = value_text(kind, &body.value)?;
        check_known(unit, key, &body.value).await?;
        let (description, is_public) = (body.description.as_deref(), body.is_public);
        NewEntry { key, value: &text, kind, description, is_public }.put(unit.connection()).await?;
        tracing::info!(actor, key = %key, "the system's configuration was changed");
        let row = installation::entry(unit.connection(), key).await?.ok_or(Code::ConfigNotFound)?;
        Ok(Answer::new(StatusCode::OK, json!(SystemSetting::from(row))))
    }
}

/// `invalid_value` for a switch that services act on, if they would not know the value.
async fn check_known(unit: &mut UnitOfWork, key: &SettingKey, value: &Value) -> Result<(), Refusal> {
    let refuse = |detail: &str| Err(ApiError::invalid("value", "value", detail).into());
    match key.as_str() {
        installation::UNKNOWN_HOST if value != "default" && value != "reject" => refuse("default or reject"),
        installation::DEFAULT_CONNECTIONS if !value.as_u64().is_some_and(|n| (1..=10_000).contains(&n)) => {
            refuse("a whole number from 1 to 10000")
        }
        installation::DEFAULT_TENANT => {
            let id: Result<TenantId, _> = value.as_str().unwrap_or_default().parse();
            let Ok(id) = id else { return refuse("not a tenant id") };
            match unit.tenant(&id).await? {
                Some(tenant) if !matches!(tenant.state, TenantState::Deleted | TenantState::Purged) => Ok(()),
                _ => refuse("there is no such tenant"),
            }
        }
        _ => Ok(()),
    }
}
