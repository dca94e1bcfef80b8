//! [`MySqlConnect`]: logging in to a tenant's database as the tenant's own user, in as few round trips as can be; and ending
//! at the server what was given up here.

use super::pool::{Connect, OpenError};
use crate::routing::{Place, Route};
use kernel::crypto::{KeyRing, Purpose};
use kernel::database;
use kernel::database::tls;
use kernel::domain::TenantId;
use kernel::process::telemetry::names;
use secrecy::ExposeSecret;
use sqlx::mysql::MySqlConnectOptions;
use sqlx::{ConnectOptions, Connection, Executor, MySqlConnection, Row};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};

/// Prepared statements kept per connection. The server counts them over all connections.
const STATEMENTS: usize = 20;

/// Longest time of one statement at the server.
pub const SERVER_LIMIT: Duration = Duration::from_secs(5);

/// What every session begins with, in one round trip. The limits come in a definite order: a wait for a lock ends first
/// (its error says what it was), then the statement ([`SERVER_LIMIT`]), and only then does the node give up on the server.
/// The statement's limit has a name of its own on MariaDB (`/*M!`) and on MySQL (`/*!50708`, which MariaDB skips), where it
/// is for reading statements only; what writes waits for nothing but locks.
const SESSION: &str = "SET time_zone = '+00:00', lock_wait_timeout = 4, innodb_lock_wait_timeout = 4, wait_timeout = 600, \
    /*M! max_statement_time = 5, */ /*!50708 max_execution_time = 5000, */ NAMES utf8mb4 COLLATE utf8mb4_unicode_ci; \
    SELECT CAST(CONNECTION_ID() AS UNSIGNED)";

/// Connections that end abandoned statements, at once; they are beyond the budget.
const ENDING: usize = 4;

/// Longest time for one of them.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// Between two tries to get one.
const END_PAUSE: Duration = Duration::from_millis(200);

/// Opens connections with the passwords that its key ring opens.
pub struct MySqlConnect {
    keys: KeyRing,
    ending: Semaphore,
}

/// A session of a tenant's user.
pub struct TenantConnection {
    /// To ask.
    pub sql: MySqlConnection,
    /// Its number at the server.
    number: u64,
    tenant: Arc<TenantId>,
    place: Place,
}

impl MySqlConnect {
    /// With this ring.
    pub fn new(keys: KeyRing) -> Self {
        Self { keys, ending: Semaphore::new(ENDING) }
    }

    /// Ends a session by its number, through another session of the same user, who needs no further right for it.
    async fn kill(&self, tenant: &TenantId, place: &Place, number: u64) -> Result<(), OpenError> {
        let _turn = self.ending.acquire().await.expect("the semaphore is never closed");
        let killing = async {
            let mut other = self.options(tenant, place)?.connect().await.map_err(classify)?;
            let killed = other.execute(format!("KILL {number}").as_str()).await;
            let _ = other.close().await;
            match killed {
                // It has ended by itself.
                Err(error) if database::number(&error) == Some(1094) => Ok(()),
                killed => killed.map(drop).map_err(classify),
            }
        };
        timeout(END_TIMEOUT, killing).await.unwrap_or(Err(OpenError::Unreachable(sqlx::Error::PoolTimedOut)))
    }

    fn options(&self, tenant: &TenantId, place: &Place) -> Result<MySqlConnectOptions, OpenError> {
        let purpose = Purpose::TenantPassword { tenant_id: tenant.as_str(), username: &place.username };
        let password = self.keys.open_text(purpose, &place.sealed_password)?;
        // Field by field: a URL would have to be escaped, and ends up in logs. What SQLx would set in a statement of its
        // own is in SESSION.
        Ok(tls::policy()
            .encrypted(MySqlConnectOptions::new().host(&place.host).port(place.port))
            .username(&place.username)
            .password(password.expose_secret())
            .database(&place.name)
            .charset("utf8mb4")
            .collation("utf8mb4_unicode_ci")
            .pipes_as_concat(false)
            .no_engine_substitution(false)
            .timezone(None)
            .set_names(false)
            .statement_cache_capacity(STATEMENTS)
            .disable_statement_logging())
    }
}

impl Connect for MySqlConnect {
    type Connection = TenantConnection;

    async fn connect(&self, route: &Route) -> Result<TenantConnection, OpenError> {
        let mut sql = self.options(&route.tenant_id, &route.place)?.connect().await.map_err(classify)?;
        let number = sql.fetch_one(SESSION).await.and_then(|row| row.try_get(0));
        let number = number.map_err(classify)?;
        Ok(TenantConnection { sql, number, tenant: Arc::clone(&route.tenant_id), place: route.place.clone() })
    }

    async fn close(&self, connection: TenantConnection) {
        let _ = connection.sql.close().await;
    }

    /// A server does not notice that a client is gone before it has an answer for it, so it is told.
    async fn end(&self, connection: TenantConnection) {
        let TenantConnection { sql, number, tenant, place } = connection;
        drop(sql);
        let over = Instant::now() + SERVER_LIMIT;
        loop {
            match self.kill(&tenant, &place, number).await {
                Ok(()) => metrics::counter!(names::TENANT_STATEMENTS_ENDED).increment(1),
                // Every session of the user is in use, this one among them; at its limit it ends by itself.
                Err(OpenError::UserFull(_)) if Instant::now() < over => {
                    sleep(END_PAUSE).await;
                    continue;
                }
                // The server is away, or the user locked or replaced, and its sessions with it.
                Err(error) => tracing::debug!(%tenant, %error, "a statement that was given up could not be ended"),
            }
            return;
        }
    }
}

fn classify(error: sqlx::Error) -> OpenError {
    match database::number(&error) {
        // Too many connections of this user.
        Some(1203 | 1226) => OpenError::UserFull(error),
        _ if database::is_unreachable(&error) => OpenError::Unreachable(error),
        _ => OpenError::Refused(error),
    }
}
