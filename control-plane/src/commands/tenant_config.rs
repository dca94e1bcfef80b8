//! The configuration of a tenant, which lies in the tenant's own database, where the control plane cannot log in.
//!
//! A change is stored in `saas_tenant_settings`, recorded as `tenant.config_changed`, and written into the tenant's
//! table `tenant_config` by a job. All three are one unit, and the job may be repeated at any time.

use super::operations::{Started, start};
use super::{Refusal, Write};
use kernel::domain::{Command, SettingKey, SettingType, TenantId};
use kernel::http::ApiError;
use kernel::jobs::JobKind;
use kernel::store::UnitOfWork;
use serde_json::Value;
use std::time::Duration;

/// Entries that a tenant may have been given, removed ones included.
const MOST: i64 = 1000;

/// Sets or removes an entry of a tenant's configuration.
pub struct ChangeTenantSetting {
    pub tenant_id: TenantId,
    pub key: SettingKey,
    pub change: SettingChange,
    pub patience: Duration,
}

/// What becomes of an entry.
pub enum SettingChange {
    /// It gets this value.
    Set {
        kind: SettingType,
        /// The value and its text; `None` for a secret one.
        value: Option<(Value, String)>,
        /// The sealed text of a secret value.
        sealed: Option<String>,
        description: Option<String>,
    },
    /// It is removed.
    Remove,
}

impl Write for ChangeTenantSetting {
    type Done = Started;

    fn tenant(&self) -> Option<&TenantId> {
        Some(&self.tenant_id)
    }

    async fn run(&self, unit: &mut UnitOfWork, actor: &str) -> Result<Started, Refusal> {
        let key = self.key.clone();
        let command = match &self.change {
            SettingChange::Set { kind, value, sealed, .. } => Command::ChangeConfig {
                key,
                kind: Some(*kind),
                value: value.as_ref().map(|(value, _)| value.clone()),
                secret: sealed.is_some(),
            },
            SettingChange::Remove => Command::ChangeConfig { key, kind: None, value: None, secret: false },
        };
        let tenant = unit.execute(&self.tenant_id, actor, command).await?;
        let (kind, text, sealed, description, removed) = match &self.change {
            SettingChange::Set { kind, value, sealed, description } => {
                (*kind, value.as_ref().map(|(_, text)| text), sealed.as_deref(), description.as_ref(), false)
            }
            SettingChange::Remove => (SettingType::String, None, None, None, true),
        };
        let others: i64 =
            sqlx::query_scalar("SELECT COUNT(*) FROM saas_tenant_settings WHERE tenant_id = ? AND config_key <> ?")
                .bind(self.tenant_id.as_str())
                .bind(self.key.as_str())
                .fetch_one(unit.connection())
                .await?;
        if others >= MOST {
            return Err(ApiError::invalid("value", "config_key", format!("a tenant has at most {MOST} entries")).into());
        }
        sqlx::query(
            "INSERT INTO saas_tenant_settings (tenant_id, config_key, config_type, config_value, sealed_value,
                                               description, removed, position, updated_at)
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
        start(unit, tenant, JobKind::Configure, self.patience).await
    }
}
