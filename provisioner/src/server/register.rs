//! Registers the server in the system database, so that tenants can be placed on it, and checks it every 30 seconds.
//!
//! A server is not registered, and the health of the process says why, if it is too old, lacks a feature or gives
//! rights to every user: the database `test` of an old installation, with its wildcard grants, would be open to every
//! tenant.

use super::Server;
use kernel::database::{self, engine};
use kernel::process::health::{Health, Part};
use kernel::process::retry::Waits;
use kernel::process::shutdown::Shutdown;
use kernel::start::{self, StartError};
use kernel::store::Store;
use sqlx::MySqlConnection;
use std::sync::Arc;
use std::time::Duration;

/// How often a server that works is checked.
const EVERY: Duration = Duration::from_secs(30);

/// Checks all servers when the process starts. A server that answers and is unfit, or refuses the password, is an error
/// of the settings. A server that does not answer is waited for, as long as another one answers.
pub async fn check_at_start(servers: &[Server]) -> Result<(), StartError> {
    let checks = servers.iter().map(|server| async {
        let name = format!("the database server {} ({})", server.id, server.setting);
        start::database_server(&name, &server.admin).await.map(drop)
    });
    let mut away = Vec::new();
    for check in futures::future::join_all(checks).await {
        match check {
            Err(error @ StartError::Unreachable(..)) => away.push(error),
            check => check?,
        }
    }
    match away.pop() {
        Some(error) if away.len() + 1 == servers.len() => Err(error),
        _ => Ok(()),
    }
}

/// Keeps the server's row up to date until the process stops.
pub async fn keep_registered(
    server: Arc<Server>,
    account_host: String,
    store: Store,
    health: Health,
    shutdown: Shutdown,
) {
    let mut waits = Waits::new(Duration::from_millis(500), EVERY);
    loop {
        let wait = match check(&server, &account_host, &store).await {
            Ok(()) => {
                health.report("database_servers", Part::Healthy);
                waits.reset();
                EVERY
            }
            Err(error) => {
                let reason = match &error {
                    Unfit::Database(cause) | Unfit::Lacks(engine::Unfit::Database(cause)) => database::reason(cause),
                    unfit => unfit.to_string(),
                };
                let part = Part::Degraded(format!("database server {}: {reason}", server.id));
                health.report_error("database_servers", part, &error);
                waits.next_wait()
            }
        };
        tokio::select! { () = tokio::time::sleep(wait) => {}, () = shutdown.requested() => return }
    }
}

#[derive(Debug, thiserror::Error)]
enum Unfit {
    #[error("it cannot be reached or refuses a statement")]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Lacks(#[from] engine::Unfit),
    #[error(
        "it grants rights on '{0}' to every user; revoke them \
         (DELETE FROM mysql.db WHERE User IN ('', 'PUBLIC'); FLUSH PRIVILEGES)"
    )]
    OpenToAll(String),
}

async fn check(server: &Server, account_host: &str, store: &Store) -> Result<(), Unfit> {
    let mut connection = database::connect(&server.admin).await?;
    let (dialect, version) = engine::check(&mut connection).await?;
    engine::check_accounts(&mut connection).await?;
    if let Some(database) = open_to_all(&mut connection).await? {
        return Err(Unfit::OpenToAll(database));
    }
    sqlx::query(
        "INSERT INTO saas_database_servers (server_id, host, port, dialect, server_version, account_host, seen_at)
         VALUES (?, ?, ?, ?, ?, ?, UTC_TIMESTAMP(6))
         ON DUPLICATE KEY UPDATE host = VALUES(host), port = VALUES(port), dialect = VALUES(dialect),
                                 server_version = VALUES(server_version),
                                 account_host = VALUES(account_host), seen_at = VALUES(seen_at)",
    )
    .bind(&server.id)
    .bind(&server.host)
    .bind(server.port)
    .bind(dialect.as_str())
    .bind(version)
    .bind(account_host)
    .execute(store.pool())
    .await?;
    Ok(())
}

/// A database that anonymous users or `PUBLIC` have rights on. An administrator's account that may not read `mysql.db`
/// finds none; then the verification of each tenant's own grants still finds such rights.
async fn open_to_all(connection: &mut MySqlConnection) -> Result<Option<String>, sqlx::Error> {
    let found: Result<Option<(String,)>, _> =
        sqlx::query_as("SELECT CONVERT(Db USING utf8mb4) FROM mysql.db WHERE User IN ('', 'PUBLIC') LIMIT 1")
            .fetch_optional(connection)
            .await;
    match found {
        Err(error) if matches!(database::number(&error), Some(1142 | 1044)) => Ok(None),
        found => Ok(found?.map(|(database,)| database)),
    }
}
