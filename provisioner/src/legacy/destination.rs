//! Where the rows go: the system database and the database of the default tenant, which may be on different servers.
//!
//! **Guarantees.** One migrator at a time works on an installation: it holds a lock on a connection of its own, which
//! the server frees when the process ends. The migrator writes rows only to a tenant's database that carries the
//! ownership marker of this installation's default tenant.

use super::error::is_denied;
use super::mapping::TargetDatabase;
use super::source::Source;
use super::table_plan::{Change, TablePlan};
use super::{LegacyError, system_database};
use crate::server::account::{self, Account, AccountName};
use crate::server::{self, Dialect, Found, Lock, Marker, Server, Session};
use crate::tables::Doing;
use crate::tables::definition::{define, read_definition};
use crate::tables::schema;
use crate::tables::schema::Tables;
use crate::tables::session::begin_copying;
use kernel::database::{self, sql};
use kernel::domain::{Tenant, TenantState};
use kernel::process::config::Settings;
use kernel::store::{Store, installation};
use sqlx::mysql::MySqlConnectOptions;
use sqlx::{Connection, Executor, MySqlConnection};
use std::collections::BTreeSet;
use tokio::sync::Mutex;

/// Connections of the pool. A few suffice, because the migrator appends events one after the other.
const POOL: u32 = 3;

/// Seconds to wait for the end of a job that is at work on the default tenant.
const JOBS: u32 = 60;

/// The system database and the default tenant's database, with the lock of this migrator.
pub struct Destination {
    pub store: Store,
    /// The default tenant.
    pub tenant: Tenant,
    system: MySqlConnectOptions,
    tenant_options: MySqlConnectOptions,
    /// The database server of the default tenant.
    server: Server,
    installation: String,
    /// The host part of the tenant's accounts.
    account_host: String,
    /// Holds the lock until it is dropped.
    guard: Mutex<MySqlConnection>,
}

impl Destination {
    /// Connects to both databases, checks them and takes the lock.
    pub async fn open(settings: &Settings) -> Result<Self, LegacyError> {
        let mut servers = Server::from_settings(settings)?;
        let account_host: String = settings.get("TENANT_ACCOUNT_HOST")?;
        let (system, mut guard) = system_database::connect(settings).await?;
        // This connection is idle while the others work.
        guard.execute("SET SESSION wait_timeout = 86400").await?;
        system_database::verify(&mut guard).await?;
        let locked: Option<i64> =
            sqlx::query_scalar("SELECT GET_LOCK(CONCAT('legacy:', DATABASE()), 3)").fetch_one(&mut guard).await?;
        if locked != Some(1) {
            return Err(LegacyError::Refused("another `provisioner legacy` is at work on this installation".into()));
        }
        let pool = database::pool(&settings.secret("SYSTEM_DB_URL")?, POOL)?;
        let store = Store::new(pool);
        let tenant = default_tenant(&store).await?;
        servers.retain(|server| server.id == tenant.database.server);
        let server = servers.pop().ok_or_else(|| {
            LegacyError::Refused(format!(
                "the default tenant is on the database server {}, which no setting TENANT_DB_ADMIN_URL names",
                tenant.database.server
            ))
        })?;
        let tenant_options = server.administrator(&tenant.database.name);
        let installation = installation::installation_id(store.pool()).await?;
        check_ownership(&installation, &tenant, &server).await?;
        let guard = Mutex::new(guard);
        Ok(Self { store, tenant, system, tenant_options, server, installation, account_host, guard })
    }

    /// Fails if the lock of this migrator was lost with its connection, for then another one may be at work.
    pub async fn verify_alone(&self) -> Result<(), LegacyError> {
        self.guard.lock().await.ping().await.map_err(|_| {
            LegacyError::Stopped(
                "the lock of this command was lost meanwhile: the connection to the system database that held it \
                 has ended"
                    .into(),
            )
        })
    }

    /// Locks the default tenant's accounts at its server and ends their sessions, so that no node can write to it.
    pub async fn lock_out(&self, session: &mut Session) -> Result<(), LegacyError> {
        for name in self.accounts(session).await? {
            self.account(&name, 0).lock_out(session).await?;
        }
        Ok(())
    }

    /// Opens the account in use again, unless the tenant may not log in any more.
    pub async fn unlock(&self, session: &mut Session) -> Result<(), LegacyError> {
        let tenant_id = &self.tenant.tenant_id;
        let state = self.store.tenant(tenant_id).await?.map(|tenant| tenant.state);
        if !matches!(state, Some(TenantState::Active | TenantState::Maintenance)) {
            return Ok(());
        }
        let in_use: String = sqlx::query_scalar("SELECT db_username FROM saas_tenant_databases WHERE tenant_id = ?")
            .bind(tenant_id.as_str())
            .fetch_one(self.store.pool())
            .await?;
        let most = self.store.connections_of(&self.tenant).await?;
        for name in self.accounts(session).await? {
            if name.username == in_use {
                self.account(&name, most).unlock(session).await?;
            }
        }
        Ok(())
    }

    /// A session with the default tenant's server that holds the lock that every job of the tenant needs.
    pub async fn lock_tenant(&self) -> Result<Session, LegacyError> {
        let lock = Lock::of_tenant(&self.installation, &self.tenant.tenant_id);
        Session::open_beside_jobs(&self.server, &lock, JOBS).await?.ok_or_else(|| {
            LegacyError::Stopped(format!(
                "a job has been at work on the default tenant {} for {JOBS} s: run the same command again when it has \
                 ended",
                self.tenant.tenant_id
            ))
        })
    }

    /// Every account of the tenant that the server may have: those at the host of the settings, and those that it
    /// shows.
    async fn accounts(&self, session: &mut Session) -> Result<BTreeSet<AccountName>, LegacyError> {
        let usernames = account::usernames(&self.installation, &self.tenant.tenant_id);
        let seen = session.accounts_of(&usernames).await?.unwrap_or_default();
        let made = usernames.map(|username| AccountName { username, host: self.account_host.clone() });
        Ok(made.into_iter().chain(seen).collect())
    }

    fn account<'a>(&'a self, name: &'a AccountName, max_connections: u32) -> Account<'a> {
        Account { username: &name.username, host: &name.host, database: &self.tenant.database.name, max_connections }
    }

    /// Connects a session that writes values without loss.
    pub async fn connect(&self, target: TargetDatabase) -> Result<MySqlConnection, LegacyError> {
        let options = match target {
            TargetDatabase::System => &self.system,
            TargetDatabase::Tenant => &self.tenant_options,
        };
        let mut connection = database::connect(options).await.doing(|| "connecting to the destination".into())?;
        begin_copying(&mut connection).await?;
        Ok(connection)
    }

    /// Name of the database.
    pub fn database(&self, target: TargetDatabase) -> &str {
        match target {
            TargetDatabase::System => self.system.get_database().unwrap_or_default(),
            TargetDatabase::Tenant => &self.tenant.database.name,
        }
    }

    pub async fn tables(&self, target: TargetDatabase) -> Result<Tables, LegacyError> {
        Ok(schema::read(&mut self.connect(target).await?, self.database(target)).await?)
    }

    pub async fn has_rows(&self, connection: &mut MySqlConnection, table: &str) -> Result<bool, LegacyError> {
        let query = format!("SELECT 1 FROM {} LIMIT 1", sql::identifier(table)?);
        Ok(connection.fetch_optional(query.as_str()).await?.is_some())
    }

    /// Refuses a destination that holds rows, before the first import copies any.
    pub async fn check_empty(&self, tables: &[TablePlan], present: &Tables) -> Result<(), LegacyError> {
        let (mut system, mut tenant) =
            (self.connect(TargetDatabase::System).await?, self.connect(TargetDatabase::Tenant).await?);
        let mut full = Vec::new();
        for plan in tables {
            let connection = match plan.target {
                TargetDatabase::System => &mut system,
                TargetDatabase::Tenant if plan.mapped.is_some() || present.contains_key(&plan.table) => &mut tenant,
                TargetDatabase::Tenant => continue,
            };
            if self.has_rows(connection, &plan.table).await? {
                full.push(format!("{}.{}", self.database(plan.target), plan.table));
            }
        }
        match full.as_slice() {
            [] => Ok(()),
            _ => Err(LegacyError::Refused(format!(
                "the destination already holds other data in {}: the old database moves into a new installation",
                full.join(", ")
            ))),
        }
    }

    /// Makes the changes that the tenant's database needs. Each may be made again.
    pub async fn change(&self, source: &Source, changes: &[Change]) -> Result<(), LegacyError> {
        let mut tenant = self.connect(TargetDatabase::Tenant).await?;
        let mut system = self.connect(TargetDatabase::System).await?;
        let mut reader = source.connect().await?;
        for change in changes {
            let of_system = matches!(change, Change::Widen { target: TargetDatabase::System, .. });
            let connection = if of_system { &mut system } else { &mut tenant };
            let not_understood = |table: &str, column: &str| {
                LegacyError::Stopped(format!(
                    "the definition of {table}.{column} in the new database is not understood"
                ))
            };
            let statement = match change {
                Change::Create { table } => {
                    let create = read_definition(&mut reader, table).await?;
                    create.replacen("CREATE TABLE ", "CREATE TABLE IF NOT EXISTS ", 1)
                }
                Change::Add { table, column, definition } => {
                    let (name, quoted) = (sql::identifier(table)?, sql::identifier(column)?);
                    format!("ALTER TABLE {name} ADD COLUMN {quoted} {definition}")
                }
                Change::Relax { table, column } => {
                    let line = relaxed(&read_definition(connection, table).await?, column)
                        .ok_or_else(|| not_understood(table, column))?;
                    format!("ALTER TABLE {} MODIFY COLUMN {line}", sql::identifier(table)?)
                }
                Change::Widen { table, column, column_type, .. } => {
                    let line = widened(&read_definition(connection, table).await?, column, column_type)
                        .ok_or_else(|| not_understood(table, column))?;
                    format!("ALTER TABLE {} MODIFY COLUMN {line}", sql::identifier(table)?)
                }
            };
            match define(connection, &statement).await {
                Err(error) if of_system && is_denied(&error) => {
                    return Err(LegacyError::Stopped(format!(
                        "a column of the system database is too narrow, and the account of SYSTEM_DB_URL may not \
                         change it: run the command with the account that migrates, or execute {statement}"
                    )));
                }
                changed => changed.doing(|| format!("changing the new databases ({change:?})"))?,
            }
        }
        Ok(())
    }
}

/// A column's line of a table's definition without NOT NULL.
fn relaxed(definition: &str, column: &str) -> Option<String> {
    let name = sql::identifier(column).ok()?.to_string();
    let line = definition.lines().map(str::trim).find(|line| line.starts_with(&format!("{name} ")))?;
    // A comment or a default stands behind it.
    Some(line.trim_end_matches(',').replacen(" NOT NULL", " NULL", 1))
}

/// A column's line of a table's definition with another type. Defaults, comments and everything else stay.
fn widened(definition: &str, column: &str, column_type: &str) -> Option<String> {
    let name = sql::identifier(column).ok()?.to_string();
    let line = definition.lines().map(str::trim).find(|line| line.starts_with(&format!("{name} ")))?;
    let rest = line.strip_prefix(&name)?.trim_start().trim_end_matches(',');
    // The type ends at the first blank outside parentheses; `unsigned` and the like follow it and are not widened.
    let end = match (rest.find('('), rest.find(' ')) {
        (Some(open), Some(blank)) if open < blank => rest.find(')')? + 1,
        (_, Some(blank)) => blank,
        (Some(_), None) => rest.find(')')? + 1,
        (None, None) => rest.len(),
    };
    Some(format!("{name} {column_type}{}", &rest[end..]))
}

fn refused(what: &str, error: &sqlx::Error) -> LegacyError {
    LegacyError::Refused(format!("{what}: {error}"))
}

async fn default_tenant(store: &Store) -> Result<Tenant, LegacyError> {
    let tenant_id = installation::default_tenant(store.pool()).await?;
    let tenant = store.tenant(&tenant_id).await?;
    match tenant {
        Some(tenant) if matches!(tenant.state, TenantState::Active | TenantState::Maintenance) => Ok(tenant),
        Some(tenant) => Err(LegacyError::Refused(format!(
            "the default tenant {tenant_id} is {}: it must be active or in maintenance",
            tenant.state
        ))),
        None => Err(LegacyError::Refused(format!(
            "the default tenant {tenant_id} does not exist yet: \
             start the control plane and a provisioner, which create it"
        ))),
    }
}

async fn check_ownership(installation: &str, tenant: &Tenant, server: &Server) -> Result<(), LegacyError> {
    let name = &tenant.database.name;
    let mut connection = database::connect(&server.administrator(name))
        .await
        .map_err(|error| refused(&format!("the default tenant's database {name} cannot be reached"), &error))?;
    let dialect = match Dialect::of(&mut connection).await? {
        Ok((dialect, _)) => dialect,
        Err(version) => {
            return Err(LegacyError::Refused(format!("the tenant's database server is too old ({version})")));
        }
    };
    match server::find(&mut connection, dialect, name).await? {
        Found::Marked(marker) if marker.is_of(&Marker::new(installation, &tenant.tenant_id)) => Ok(()),
        _ => Err(LegacyError::Refused(format!(
            "the database {name} does not carry the ownership marker of this installation's default tenant"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::{relaxed, widened};

    #[test]
    fn a_wider_column_keeps_everything_else() {
        let definition = "CREATE TABLE `t` (\n  `id` bigint(20) NOT NULL AUTO_INCREMENT,\n  \
                          `struct` text NOT NULL DEFAULT '' COMMENT 'a, b',\n  \
                          `short` varchar(32) NOT NULL DEFAULT '',\n  \
                          `structure` text,\n  PRIMARY KEY (`id`)\n)";
        let line = widened(definition, "struct", "longtext");
        assert_eq!(line.as_deref(), Some("`struct` longtext NOT NULL DEFAULT '' COMMENT 'a, b'"));
        let line = widened(definition, "short", "varchar(64)");
        assert_eq!(line.as_deref(), Some("`short` varchar(64) NOT NULL DEFAULT ''"));
        assert_eq!(widened(definition, "structure", "longtext").as_deref(), Some("`structure` longtext"));
        assert_eq!(widened(definition, "absent", "longtext"), None);
        let line = relaxed(definition, "struct");
        assert_eq!(line.as_deref(), Some("`struct` text NULL DEFAULT '' COMMENT 'a, b'"));
    }
}
