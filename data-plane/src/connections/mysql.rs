//! [`MySqlConnect`] logs in to a tenant's database as the tenant's own user, in as few round trips as possible. When a
//! request gives up in the middle of a statement, it kills that statement at the server.

use super::pool::{Connect, OpenError};
use crate::routing::{DatabaseAddress, Route};
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

/// Prepared statements that each connection caches. The server limits their number over all connections.
const STATEMENTS: usize = 20;

/// The server's own limit on the time of one statement.
pub const SERVER_LIMIT: Duration = Duration::from_secs(5);

/// What every session begins with, in one round trip. The limits take effect in a definite order: a wait for a lock
/// ends first (its error names the cause), then the statement ([`SERVER_LIMIT`]), and only then does the node give up
/// on the server. The limit on statements has one name on MariaDB (`/*M!`) and another on MySQL (`/*!50708`, which
/// MariaDB skips). On MySQL it covers reading statements only; a writing statement waits for nothing but locks.
const SESSION: &str = "SET time_zone = '+00:00', lock_wait_timeout = 4, innodb_lock_wait_timeout = 4, \
    wait_timeout = 600, \
    /*M! max_statement_time = 5, */ /*!50708 max_execution_time = 5000, */ NAMES utf8mb4 COLLATE utf8mb4_unicode_ci; \
    SELECT CAST(CONNECTION_ID() AS UNSIGNED)";

/// The most connections that kill abandoned statements at the same time. They do not count against the budget.
const KILLS_AT_ONCE: usize = 4;

/// Longest time to kill one statement.
const KILL_TIMEOUT: Duration = Duration::from_secs(1);

/// Pause between two attempts to kill a statement.
const KILL_PAUSE: Duration = Duration::from_millis(200);

/// Opens connections. The key ring decrypts the tenants' passwords.
pub struct MySqlConnect {
    keys: KeyRing,
    kills: Semaphore,
}

/// A session of a tenant's user.
pub struct TenantConnection {
    /// The connection that runs statements.
    pub sql: MySqlConnection,
    /// The session's id at the server, for `KILL`.
    number: u64,
    tenant: Arc<TenantId>,
    database: DatabaseAddress,
}

impl MySqlConnect {
    pub fn new(keys: KeyRing) -> Self {
        Self { keys, kills: Semaphore::new(KILLS_AT_ONCE) }
    }

    /// Kills a session through another session of the same user. A user needs no further right to kill its own
    /// sessions.
    async fn kill(&self, tenant: &TenantId, database: &DatabaseAddress, number: u64) -> Result<(), OpenError> {
        let _permit = self.kills.acquire().await.expect("the semaphore is never closed");
        let killing = async {
            let mut other = self.options(tenant, database)?.connect().await.map_err(classify)?;
            let killed = other.execute(format!("KILL {number}").as_str()).await;
            let _ = other.close().await;
            match killed {
                // The server knows no such session: it has already ended.
                Err(error) if database::number(&error) == Some(1094) => Ok(()),
                killed => killed.map(drop).map_err(classify),
            }
        };
        timeout(KILL_TIMEOUT, killing).await.unwrap_or(Err(OpenError::Unreachable(sqlx::Error::PoolTimedOut)))
    }

    fn options(&self, tenant: &TenantId, database: &DatabaseAddress) -> Result<MySqlConnectOptions, OpenError> {
        let purpose = Purpose::TenantPassword { tenant_id: tenant.as_str(), username: &database.username };
        let password = self.keys.open_text(purpose, &database.sealed_password)?;
        // Set field by field, because a URL would need escaping and might end up in logs. What SQLx would set in a
        // statement of its own is part of SESSION.
        Ok(tls::policy()
            .encrypted(MySqlConnectOptions::new().host(&database.host).port(database.port))
            .username(&database.username)
            .password(password.expose_secret())
            .database(&database.name)
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
        let mut sql = self.options(&route.tenant_id, &route.database)?.connect().await.map_err(classify)?;
        let number = sql.fetch_one(SESSION).await.and_then(|row| row.try_get(0));
        let number = number.map_err(classify)?;
        Ok(TenantConnection { sql, number, tenant: Arc::clone(&route.tenant_id), database: route.database.clone() })
    }

    async fn close(&self, connection: TenantConnection) {
        let _ = connection.sql.close().await;
    }

    /// A server notices that its client is gone only when it has an answer to send, so the node kills the session.
    async fn abort(&self, connection: TenantConnection) {
        let TenantConnection { sql, number, tenant, database } = connection;
        drop(sql);
        let give_up = Instant::now() + SERVER_LIMIT;
        loop {
            match self.kill(&tenant, &database, number).await {
                Ok(()) => metrics::counter!(names::TENANT_STATEMENTS_ENDED).increment(1),
                // All sessions of the user are in use, among them the one to kill, which ends at the server's limit
                // anyway.
                Err(OpenError::UserFull(_)) if Instant::now() < give_up => {
                    sleep(KILL_PAUSE).await;
                    continue;
                }
                // The server does not answer, or the user was locked or replaced, which ended its sessions.
                Err(error) => {
                    tracing::debug!(%tenant, %error, "an abandoned statement could not be killed at the server")
                }
            }
            return;
        }
    }
}

fn classify(error: sqlx::Error) -> OpenError {
    match database::number(&error) {
        // The user has reached its limit of connections (ER_TOO_MANY_USER_CONNECTIONS, ER_USER_LIMIT_REACHED).
        Some(1203 | 1226) => OpenError::UserFull(error),
        _ if database::is_unreachable(&error) => OpenError::Unreachable(error),
        _ => OpenError::Refused(error),
    }
}
