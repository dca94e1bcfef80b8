//! A database server that tenants live on, as its administrator sees it.
//!
//! [`Server`] is where it is, [`Session`] is one connection with a tenant's lock, [`Mark`] says whose a database is,
//! [`account`] makes and removes a tenant's database user, [`password_hash`] is what the server is told of its password.

pub mod account;
mod error;
pub mod inventory;
mod mark;
pub mod password_hash;
mod register;
mod session;
mod sessions;
mod storage;

pub use error::ServerError;
pub use kernel::database::engine::Dialect;
pub use mark::{Found, MARK_TABLE, Mark, find};
pub use register::{first_look, keep_registered};
pub use session::Session;
pub use storage::keep_measured;

use anyhow::Context;
use kernel::database;
use kernel::process::config::{Settings, wrong};
use sqlx::MySqlConnection;
use sqlx::mysql::MySqlConnectOptions;
use std::sync::OnceLock;
use tokio::sync::{Semaphore, SemaphorePermit};

/// A registered database server.
pub struct Server {
    /// Its name in `saas_database_servers`: `main`, or the suffix of its setting in lower case.
    pub id: String,
    /// Where nodes connect to.
    pub host: String,
    /// Port of it.
    pub port: u16,
    /// Turns at statements that make databases, users and tables ([`Server::ddl_turn`]).
    ddl_turns: Semaphore,
    /// The setting it stands in.
    setting: String,
    admin: MySqlConnectOptions,
    dialect: OnceLock<Dialect>,
}

impl Server {
    /// The servers of the settings `TENANT_DB_ADMIN_URL` and `TENANT_DB_ADMIN_URL_<NAME>`.
    pub fn from_settings(settings: &Settings) -> anyhow::Result<Vec<Self>> {
        let turns: usize = settings.get("PROVISIONER_DDL_AT_ONCE")?;
        if turns == 0 {
            return Err(wrong("PROVISIONER_DDL_AT_ONCE", "at least 1").into());
        }
        let mut urls =
            vec![("main".to_owned(), "TENANT_DB_ADMIN_URL".to_owned(), settings.secret("TENANT_DB_ADMIN_URL")?)];
        for (suffix, url) in settings.secrets_by_suffix("TENANT_DB_ADMIN_URL_")? {
            urls.push((suffix.to_ascii_lowercase(), format!("TENANT_DB_ADMIN_URL_{suffix}"), url));
        }
        let mut servers = Vec::new();
        for (id, setting, url) in urls {
            let fits = (1..=32).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            if !fits || servers.iter().any(|server: &Self| server.id == id) {
                return Err(wrong(&setting, "the server's name must be unique, of a-z, 0-9 and '-'").into());
            }
            let admin = database::options(&url).with_context(|| format!("the setting {setting} is wrong"))?;
            let (host, port) = (admin.get_host().to_owned(), admin.get_port());
            let ddl_turns = Semaphore::new(turns);
            servers.push(Self { id, host, port, ddl_turns, setting, admin, dialect: OnceLock::new() });
        }
        Ok(servers)
    }

    /// The turn to make databases, users or tables. A server does that one after the other, under its dictionary's lock: more
    /// than a few at once only wait for each other there, and hold up everybody else's statements meanwhile.
    pub async fn ddl_turn(&self) -> Option<SemaphorePermit<'_>> {
        // `None` would mean that the semaphore was closed, which nothing does.
        self.ddl_turns.acquire().await.ok()
    }

    /// A connection of the administrator, bounded by [`database::ACQUIRE_TIMEOUT`].
    pub async fn connect(&self) -> Result<MySqlConnection, ServerError> {
        Ok(database::connect(&self.admin).await?)
    }

    /// Its id, host and port, as events record them.
    pub fn address(&self) -> (String, String, u16) {
        (self.id.clone(), self.host.clone(), self.port)
    }

    /// Options for a login as somebody else than the administrator.
    pub fn login(&self, username: &str, password: &str, database: &str) -> MySqlConnectOptions {
        self.admin.clone().username(username).password(password).database(database)
    }

    /// Options for a login as the administrator, in `database`.
    pub fn administrator(&self, database: &str) -> MySqlConnectOptions {
        self.admin.clone().database(database)
    }
}
