//! A database server that tenants live on, as its administrator sees it.
//!
//! [`Server`] is its address and credential. [`Session`] is one connection that holds a tenant's lock. [`Marker`] is
//! the ownership marker in a database. [`account`] makes and removes a tenant's database user, and [`password_hash`] is
//! what the server gets instead of the user's password. [`inventory`] reads what is on the server, `storage`
//! measures how much each tenant's database takes, and `register` keeps the server in the list of servers. Everything
//! here fails with a [`ServerError`], which everything above converts into an error of its own.

pub mod account;
mod error;
pub mod inventory;
mod kill_sessions;
mod marker;
pub mod password_hash;
mod register;
mod session;
mod storage;

pub use error::ServerError;
pub use kernel::database::engine::Dialect;
pub use marker::{Found, MARKER_TABLE, Marker, find};
pub use register::{check_at_start, keep_registered};
pub use session::Session;
pub use storage::keep_measured;

use kernel::database;
use kernel::process::config::{ConfigError, Settings, wrong};
use sqlx::MySqlConnection;
use sqlx::mysql::MySqlConnectOptions;
use std::sync::OnceLock;
use tokio::sync::{Semaphore, SemaphorePermit};

/// A registered database server.
pub struct Server {
    /// Its id in `saas_database_servers`: `main`, or the suffix of its setting in lower case.
    pub id: String,
    /// The host that nodes connect to, too.
    pub host: String,
    /// The port that nodes connect to, too.
    pub port: u16,
    /// Turns at statements that make databases, users and tables ([`Server::ddl_turn`]).
    ddl_turns: Semaphore,
    /// Name of the setting with its URL.
    setting: String,
    admin: MySqlConnectOptions,
    dialect: OnceLock<Dialect>,
}

/// The most characters of a server's host: the columns that hold it have as many.
const MOST_OF_HOST: usize = 200;

impl Server {
    /// The servers of the settings `TENANT_DB_ADMIN_URL` and `TENANT_DB_ADMIN_URL_<NAME>`.
    pub fn from_settings(settings: &Settings) -> Result<Vec<Self>, ConfigError> {
        let turns: usize = settings.get("PROVISIONER_DDL_AT_ONCE")?;
        let mut urls =
            vec![("main".to_owned(), "TENANT_DB_ADMIN_URL".to_owned(), settings.secret("TENANT_DB_ADMIN_URL")?)];
        for (suffix, url) in settings.secrets_by_suffix("TENANT_DB_ADMIN_URL_")? {
            urls.push((suffix.to_ascii_lowercase(), format!("TENANT_DB_ADMIN_URL_{suffix}"), url));
        }
        let mut servers = Vec::new();
        for (id, setting, url) in urls {
            let fits = (1..=32).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            if !fits || servers.iter().any(|server: &Self| server.id == id) {
                return Err(wrong(&setting, "the server's name must be unique, of a-z, 0-9 and '-'"));
            }
            let admin = database::options(&url).map_err(|error| wrong(&setting, error))?;
            let (host, port) = (admin.get_host().to_owned(), admin.get_port());
            if host.len() > MOST_OF_HOST {
                return Err(wrong(&setting, format!("the host has more than {MOST_OF_HOST} characters")));
            }
            let ddl_turns = Semaphore::new(turns);
            servers.push(Self { id, host, port, ddl_turns, setting, admin, dialect: OnceLock::new() });
        }
        Ok(servers)
    }

    /// The server of this name.
    pub fn named(settings: &Settings, id: &str) -> Result<Self, ConfigError> {
        let found = Self::from_settings(settings)?.into_iter().find(|server| server.id == id);
        found.ok_or_else(|| Self::unknown(id))
    }

    /// The error that no setting names the server `id`.
    pub fn unknown(id: &str) -> ConfigError {
        ConfigError::Missing(match id {
            "main" => "TENANT_DB_ADMIN_URL".into(),
            id => format!("TENANT_DB_ADMIN_URL_{}", id.to_uppercase()),
        })
    }

    /// Waits for a turn to make databases, users or tables. A server does that one after the other, under the lock of
    /// its dictionary. More than a few at once would only wait for each other there, and hold up all other statements
    /// meanwhile.
    pub async fn ddl_turn(&self) -> Option<SemaphorePermit<'_>> {
        // `None` would mean that the semaphore was closed, which nothing does.
        self.ddl_turns.acquire().await.ok()
    }

    /// Connects as the administrator, within [`database::ACQUIRE_TIMEOUT`].
    pub async fn connect(&self) -> Result<MySqlConnection, ServerError> {
        Ok(database::connect(&self.admin).await?)
    }

    /// Its id, host and port, as events record them.
    pub fn address(&self) -> (String, String, u16) {
        (self.id.clone(), self.host.clone(), self.port)
    }

    /// Options for a login as a tenant's user, in `database`.
    pub fn login(&self, username: &str, password: &str, database: &str) -> MySqlConnectOptions {
        self.admin.clone().username(username).password(password).database(database)
    }

    /// Options for a login as the administrator, in `database`.
    pub fn administrator(&self, database: &str) -> MySqlConnectOptions {
        self.admin.clone().database(database)
    }
}
