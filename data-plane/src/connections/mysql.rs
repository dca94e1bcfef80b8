//! [`MySqlConnect`]: logging in to a tenant's database as the tenant's own user, in as few round trips as can be.

use super::pool::{Connect, OpenError};
use crate::routing::Route;
use kernel::crypto::{KeyRing, Purpose};
use kernel::database;
use secrecy::ExposeSecret;
use sqlx::mysql::MySqlConnectOptions;
use sqlx::{ConnectOptions, Connection, Executor, MySqlConnection};

/// Prepared statements kept per connection. The server counts them over all connections.
const STATEMENTS: usize = 20;

/// What every session begins with, in one round trip. The limit on a statement's time has a name of its own on MariaDB
/// (`/*M!`) and on MySQL (`/*!50708`, which MariaDB skips): it ends on the server what the node gave up on.
const SESSION: &str = "SET time_zone = '+00:00', lock_wait_timeout = 5, wait_timeout = 600, \
    /*M! max_statement_time = 5, */ /*!50708 max_execution_time = 5000, */ NAMES utf8mb4 COLLATE utf8mb4_unicode_ci";

/// Opens connections with the passwords that its key ring opens.
pub struct MySqlConnect {
    keys: KeyRing,
}

impl MySqlConnect {
    /// With this ring.
    pub fn new(keys: KeyRing) -> Self {
        Self { keys }
    }

    fn options(&self, route: &Route) -> Result<MySqlConnectOptions, OpenError> {
        let place = &route.place;
        let purpose = Purpose::TenantPassword { tenant_id: route.tenant_id.as_str(), username: &place.username };
        let password = self.keys.open_text(purpose, &place.sealed_password)?;
        // Field by field: a URL would have to be escaped, and ends up in logs. What SQLx would set in a statement of its
        // own is in SESSION.
        Ok(MySqlConnectOptions::new()
            .host(&place.host)
            .port(place.port)
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
    type Connection = MySqlConnection;

    async fn connect(&self, route: &Route) -> Result<MySqlConnection, OpenError> {
        let opening = async {
            let mut connection = self.options(route)?.connect().await.map_err(classify)?;
            connection.execute(SESSION).await.map_err(classify)?;
            Ok(connection)
        };
        opening.await
    }

    async fn close(&self, connection: MySqlConnection) {
        let _ = connection.close().await;
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
