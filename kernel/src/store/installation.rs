//! The rows of `saas_system_config`: what an operator sets for the whole installation without a restart.
//!
//! This is the only place that reads or writes the table, except for the statement in which a node's follower reads
//! everything that it follows. The typed functions give a service the switches that it acts on; [`Entry`] is a row as
//! the admin API shows and changes it. Each function says what a missing row means.

use crate::domain::{InvalidTenantId, SettingKey, SettingType, TenantId};
use chrono::NaiveDateTime;
use sqlx::{FromRow, MySqlConnection, MySqlExecutor};

/// Names the installation in the ownership marker of every tenant database.
pub const INSTALLATION_ID: &str = "system.installation_id";
/// The tenant that answers for hosts without a tenant, and for the calls of old clients.
pub const DEFAULT_TENANT: &str = "system.default_tenant";
/// What a node does with a host that no tenant has.
pub const UNKNOWN_HOST: &str = "routing.unknown_host";
/// How many connections a new tenant's database user may have while its plan sets no number.
pub const DEFAULT_CONNECTIONS: &str = "database.default_max_connections";
/// Whether requests are routed to many tenants, or all of them to the default tenant.
pub const MULTI_TENANT: &str = "system.multi_tenant_enabled";
/// Whether strangers may create a user and a tenant by themselves.
pub const SIGN_UP: &str = "system.tenant_signup_enabled";

/// What `migrations/system` seeds for [`DEFAULT_CONNECTIONS`].
const SEEDED_CONNECTIONS: u32 = 50;

/// Why the default tenant is not known.
#[derive(Debug, thiserror::Error)]
pub enum DefaultTenantUnknown {
    /// The row holds no tenant id.
    #[error("{DEFAULT_TENANT} is no tenant id: {0}")]
    Invalid(InvalidTenantId),
    /// The system database failed, or it has no such row.
    #[error("the system database failed")]
    Database(#[from] sqlx::Error),
}

/// The id of this installation. A missing row is an error: no other id may ever take its place.
pub async fn installation_id(executor: impl MySqlExecutor<'_>) -> Result<String, sqlx::Error> {
    sqlx::query_scalar("SELECT config_value FROM saas_system_config WHERE config_key = ?")
        .bind(INSTALLATION_ID)
        .fetch_one(executor)
        .await
}

/// The id of the default tenant. A missing row is an error.
pub async fn default_tenant(executor: impl MySqlExecutor<'_>) -> Result<TenantId, DefaultTenantUnknown> {
    let id = value(executor, DEFAULT_TENANT).await?.ok_or(sqlx::Error::RowNotFound)?;
    id.parse().map_err(DefaultTenantUnknown::Invalid)
}

/// Connections that a new tenant's database user may have while its plan sets no number; 50, which the first migration
/// seeds, if the row is missing or holds no number.
pub async fn default_connections(executor: impl MySqlExecutor<'_>) -> Result<u32, sqlx::Error> {
    let value = value(executor, DEFAULT_CONNECTIONS).await?;
    Ok(value.and_then(|value| value.parse().ok()).unwrap_or(SEEDED_CONNECTIONS))
}

/// Whether strangers may create a user and a tenant by themselves; no if the row is missing.
pub async fn allows_sign_up(executor: impl MySqlExecutor<'_>) -> Result<bool, sqlx::Error> {
    Ok(value(executor, SIGN_UP).await?.is_some_and(|value| value == "true" || value == "1"))
}

/// Routes requests to many tenants (`true`), or all of them to the default tenant.
pub async fn set_multi_tenant(executor: impl MySqlExecutor<'_>, enabled: bool) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE saas_system_config SET config_value = ? WHERE config_key = ?")
        .bind(if enabled { "true" } else { "false" })
        .bind(MULTI_TENANT)
        .execute(executor)
        .await
        .map(drop)
}

async fn value(executor: impl MySqlExecutor<'_>, key: &str) -> Result<Option<String>, sqlx::Error> {
    let value: Option<Option<String>> =
        sqlx::query_scalar("SELECT config_value FROM saas_system_config WHERE config_key = ?")
            .bind(key)
            .fetch_optional(executor)
            .await?;
    Ok(value.flatten())
}

/// What a node does with a host that no tenant has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownHost {
    /// The default tenant answers.
    Default,
    /// The node answers 404.
    Reject,
}

/// The switches that decide how a node routes requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Switches {
    /// The default tenant; `None` while the row holds no tenant id.
    pub default_tenant: Option<TenantId>,
    /// What happens to a host that no tenant has; [`UnknownHost::Reject`] unless the row says `default`.
    pub unknown_host: UnknownHost,
    /// Whether requests are routed to many tenants; `true` unless the row says `false` or `0`.
    pub multi_tenant: bool,
}

impl Default for Switches {
    fn default() -> Self {
        Self { default_tenant: None, unknown_host: UnknownHost::Reject, multi_tenant: true }
    }
}

/// The rows that [`Switches`] are read from.
pub const SWITCHES: [&str; 3] = [DEFAULT_TENANT, UNKNOWN_HOST, MULTI_TENANT];

impl Switches {
    /// Reads the switches from the keys and values of the rows [`SWITCHES`].
    pub fn from_rows(rows: &[(String, Option<String>)]) -> Self {
        let of = |key| rows.iter().find(|(name, _)| name == key).and_then(|(_, value)| value.as_deref()).map(str::trim);
        Self {
            default_tenant: of(DEFAULT_TENANT).and_then(|id| id.parse().ok()),
            unknown_host: match of(UNKNOWN_HOST) {
                Some("default") => UnknownHost::Default,
                _ => UnknownHost::Reject,
            },
            multi_tenant: !of(MULTI_TENANT).is_some_and(|value| value.eq_ignore_ascii_case("false") || value == "0"),
        }
    }
}

/// A row, as the admin API shows it.
#[derive(FromRow)]
pub struct Entry {
    pub config_key: String,
    /// The text of its value.
    pub config_value: Option<String>,
    /// The name of its type; see [`SettingType::of_column`].
    pub config_type: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// Whether it is public.
    pub is_public: bool,
    /// When it was last changed, in UTC.
    pub updated_at: NaiveDateTime,
}

/// The columns of [`Entry`] with a condition after them.
macro_rules! select_entry {
    ($condition:literal) => {
        concat!(
            "SELECT config_key, config_value, config_type, description, COALESCE(is_public, 0) <> 0 AS is_public,
                    updated_at FROM saas_system_config ",
            $condition
        )
    };
}

/// All rows, by key; at most 1,000.
pub async fn entries(executor: impl MySqlExecutor<'_>) -> Result<Vec<Entry>, sqlx::Error> {
    sqlx::query_as(select_entry!("ORDER BY config_key LIMIT 1000")).fetch_all(executor).await
}

/// The row of this key.
pub async fn entry(executor: impl MySqlExecutor<'_>, key: &SettingKey) -> Result<Option<Entry>, sqlx::Error> {
    sqlx::query_as(select_entry!("WHERE config_key = ?")).bind(key.as_str()).fetch_optional(executor).await
}

/// A row to be written.
pub struct NewEntry<'a> {
    pub key: &'a SettingKey,
    /// The text of its value.
    pub value: &'a str,
    pub kind: SettingType,
    /// What it is for; `None` leaves a row's description as it is.
    pub description: Option<&'a str>,
    /// Whether it is public; `None` leaves a row as it is, and makes a new one private.
    pub is_public: Option<bool>,
}

impl NewEntry<'_> {
    /// Inserts the row, or replaces the one of the same key.
    pub async fn put(&self, connection: &mut MySqlConnection) -> Result<(), sqlx::Error> {
        sqlx::query(
            "INSERT INTO saas_system_config (config_key, config_value, config_type, description, is_public)
             VALUES (?, ?, ?, ?, COALESCE(?, 0))
             ON DUPLICATE KEY UPDATE config_value = VALUES(config_value), config_type = VALUES(config_type),
                 description = COALESCE(?, description), is_public = COALESCE(?, is_public)",
        )
        .bind(self.key.as_str())
        .bind(self.value)
        .bind(self.kind.as_str())
        .bind(self.description)
        .bind(self.is_public)
        .bind(self.description)
        .bind(self.is_public)
        .execute(connection)
        .await
        .map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_of_connections_is_what_the_migration_seeds() {
        let migration = include_str!("../../../migrations/system/0001_seed_tables.sql");
        assert!(migration.contains(&format!("('{DEFAULT_CONNECTIONS}', '{SEEDED_CONNECTIONS}', 'number'")));
    }
}
