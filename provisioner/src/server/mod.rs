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

pub use error::{ServerError, refuses_content};
pub use kernel::database::engine::Dialect;
pub use marker::{Found, MARKER_TABLE, Marker, find};
pub use register::{check_at_start, keep_registered};
pub use session::{Lock, Session};
pub use storage::keep_measured;

use kernel::database;
use kernel::process::config::{ConfigError, Settings, wrong};
use sqlx::MySqlConnection;
use sqlx::mysql::MySqlConnectOptions;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, SemaphorePermit};

/// A server that was waited for in vain is not waited for again within this time.
const AWAY: Duration = Duration::from_secs(30);
/// A connection that fails sooner than this was refused, which costs no time.
const REFUSED: Duration = Duration::from_secs(1);

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
    /// When a connection was last waited for in vain.
    away_since: Mutex<Option<Instant>>,
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
            let (ddl_turns, dialect, away_since) = (Semaphore::new(turns), OnceLock::new(), Mutex::default());
            servers.push(Self { id, host, port, ddl_turns, setting, admin, dialect, away_since });
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

    /// Connects as [`Server::connect`] does. A server that did not answer a moment ago counts as unreachable at once,
    /// so that work for many tenants does not wait for a lost server once for each of them.
    pub async fn connect_unless_away(&self) -> Result<MySqlConnection, ServerError> {
        let since = *self.away_since.lock().unwrap_or_else(PoisonError::into_inner);
        if since.is_some_and(|since| since.elapsed() < AWAY) {
            return Err(sqlx::Error::PoolTimedOut.into());
        }
        let began = Instant::now();
        let connected = self.connect().await;
        let in_vain = connected.is_err() && began.elapsed() > REFUSED;
        *self.away_since.lock().unwrap_or_else(PoisonError::into_inner) = in_vain.then(Instant::now);
        connected
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_lost_server_is_waited_for_once_and_not_for_each_tenant() {
        // It accepts connections and never answers, like a stopped process.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = silent.local_addr().expect("an address").port();
        let admin = MySqlConnectOptions::new().host("127.0.0.1").port(port).username("root");
        let (ddl_turns, dialect, away_since) = (Semaphore::new(1), OnceLock::new(), Mutex::default());
        let (id, host, setting) = ("lost".to_owned(), "127.0.0.1".to_owned(), "TENANT_DB_ADMIN_URL_LOST".to_owned());
        let server = Server { id, host, port, ddl_turns, setting, admin, dialect, away_since };
        let began = Instant::now();
        for _ in 0..5 {
            let refused = server.connect_unless_away().await;
            assert!(matches!(refused, Err(ServerError::Database(error)) if database::is_unreachable(&error)));
        }
        assert!(began.elapsed() < 2 * database::ACQUIRE_TIMEOUT, "{:?}", began.elapsed());
    }
}
