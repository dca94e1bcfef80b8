//! The switches of the installation, written with their types.
//!
//! **Guarantee.** A switch that a service acts on never gets a value that the service does not know. A key that does
//! not exist is refused unless the caller asks for its creation: a typing error would be a switch without effect.

use super::{Refusal, Write};
use kernel::domain::{MAX_VALUE, SettingKey, SettingType, TenantId, TenantState};
use kernel::http::{ApiError, Code};
use kernel::store::UnitOfWork;
use kernel::store::installation::{self, Entry, NewEntry};
use serde_json::Value;

/// Ownership markers of databases carry the installation's id: another value would orphan all of them.
pub const READ_ONLY: [&str; 1] = [installation::INSTALLATION_ID];

/// Sets an entry of the system's configuration.
pub struct PutSystemSetting {
    pub key: SettingKey,
    pub value: Value,
    /// The type that the caller expects; an entry never changes its type.
    pub config_type: Option<SettingType>,
    pub description: Option<String>,
    pub is_public: Option<bool>,
    /// Create the entry if it does not exist.
    pub create: bool,
}

impl Write for PutSystemSetting {
    type Done = Entry;

    async fn run(&self, unit: &mut UnitOfWork, actor: &str) -> Result<Entry, Refusal> {
        let key = &self.key;
        let kind = match installation::entry(unit.connection(), key).await? {
            Some(row) => SettingType::of_column(row.config_type.as_deref()),
            None if self.create => self.config_type.unwrap_or_else(|| SettingType::of_value(&self.value)),
            None => return Err(Code::ConfigNotFound.into()),
        };
        if self.config_type.is_some_and(|expected| expected != kind) {
            let detail = format!("the entry is a {}", kind.as_str());
            return Err(ApiError::invalid("config_type", "config_type", detail).into());
        }
        let text = value_text(kind, &self.value)?;
        check_known(unit, key, &self.value).await?;
        let (description, is_public) = (self.description.as_deref(), self.is_public);
        NewEntry { key, value: &text, kind, description, is_public }.put(unit.connection()).await?;
        tracing::info!(actor, key = %key, "the system's configuration was changed");
        Ok(installation::entry(unit.connection(), key).await?.ok_or(Code::ConfigNotFound)?)
    }
}

/// The text of a value of this type; `invalid_value` if it is of another type or too long.
pub fn value_text(kind: SettingType, value: &Value) -> Result<String, ApiError> {
    let text = kind.write(value);
    let text = text.ok_or_else(|| ApiError::invalid("value", "value", format!("not a {}", kind.as_str())))?;
    if text.len() > MAX_VALUE {
        return Err(ApiError::invalid("value", "value", format!("more than {MAX_VALUE} bytes")));
    }
    Ok(text)
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
                Some(tenant) if matches!(tenant.state, TenantState::Active | TenantState::Maintenance) => Ok(()),
                Some(tenant) => refuse(&format!("the tenant is {}, so it could not serve", tenant.state)),
                None => refuse("there is no such tenant"),
            }
        }
        _ => Ok(()),
    }
}
