//! The checks at the start of a process: of the system database, the database servers and the broker.
//!
//! If a check fails, the process ends, and the error names the server by its setting and says what is wrong. A process
//! tries to reach a server for [`PATIENCE`], and its last attempt may wait as long again for an answer.

use crate::broker::{self, BrokerError, Topology};
use crate::database;
use crate::database::engine::{self, Dialect, Unfit};
use crate::database::migrate::{self, MigrateError};
use crate::database::rights;
use crate::database::tls;
use secrecy::SecretString;
use sqlx::MySqlConnection;
use sqlx::mysql::MySqlConnectOptions;
use std::time::Duration;
use tokio::time::Instant;

/// How long a process tries to reach a server. Services and servers are often started together.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// Pause between two attempts.
const PAUSE: Duration = Duration::from_millis(250);

/// Why a process does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The server does not answer.
    #[error("{0} cannot be reached: {1}")]
    Unreachable(String, String),
    /// The identity of the server cannot be verified.
    #[error("{0} cannot be trusted: {1}")]
    Untrusted(String, &'static str),
    /// The server refuses the account.
    #[error("{0} refuses the account: its user or password is wrong, or it may not connect from here")]
    Denied(String),
    /// The database does not exist, or the account may not use it.
    #[error(
        "{0} has no database with the name in the URL, or none for this account; \
         create it, then run `control-plane migrate` and deploy/sql/tables.sql"
    )]
    NoDatabase(String),
    /// The server is too old, or lacks a feature.
    #[error("{0} will not do")]
    Unfit(String, #[source] Unfit),
    /// The schema is not that of this program.
    #[error("{0} is not ready")]
    Migrate(String, #[source] MigrateError),
    /// The broker answers, but cannot be used.
    #[error("{0} will not do")]
    Broker(String, #[source] BrokerError),
    /// The URL in the setting is wrong.
    #[error("the setting {0} is wrong")]
    Setting(String, #[source] sqlx::Error),
}

/// What the system database is called in messages.
const SYSTEM: &str = "the system database (SYSTEM_DB_URL)";

/// What a service needs on the system database.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It changes rows of all tables: the control plane and the provisioners.
    AllTables,
    /// It has rights on some tables: the data nodes.
    SomeTables,
}

/// Checks the system database: that it can be reached, has the needed features, and has the schema of this program, on
/// which the account has its rights.
pub async fn system_database(url: &SecretString, access: Access) -> Result<(), StartError> {
    let mut connection = system_connection(url).await?;
    match verify(&mut connection, access).await {
        Err(MigrateError::NoRights(_)) if takes_grants_literally(&mut connection).await? => {
            return Err(StartError::Unfit(SYSTEM.into(), Unfit::PartialRevokes));
        }
        verified => verified.map_err(|error| StartError::Migrate(SYSTEM.into(), error))?,
    }
    engine::skip_locked(&mut connection).await.map_err(|unfit| StartError::Unfit(SYSTEM.into(), unfit))
}

/// Connects to the system database, and checks that it can be reached and has the needed features.
pub async fn system_connection(url: &SecretString) -> Result<MySqlConnection, StartError> {
    let options = database::options(url).map_err(|error| StartError::Setting("SYSTEM_DB_URL".into(), error))?;
    let mut connection = match connect(SYSTEM, &options).await {
        Err(StartError::NoDatabase(name)) => {
            // Every account may use this database, also one whose grants do not apply.
            let mut connection = connect(SYSTEM, &options.database("information_schema")).await?;
            return Err(match takes_grants_literally(&mut connection).await? {
                true => StartError::Unfit(name, Unfit::PartialRevokes),
                false => StartError::NoDatabase(name),
            });
        }
        connected => connected?,
    };
    engine::check(&mut connection).await.map_err(|unfit| StartError::Unfit(SYSTEM.into(), unfit))?;
    Ok(connection)
}

async fn verify(connection: &mut MySqlConnection, access: Access) -> Result<(), MigrateError> {
    migrate::verify(connection).await?;
    match access {
        Access::AllTables => rights::verify(connection).await,
        Access::SomeTables => Ok(()),
    }
}

async fn takes_grants_literally(connection: &mut MySqlConnection) -> Result<bool, StartError> {
    let literally = engine::takes_grants_literally(connection).await;
    literally.map_err(|error| StartError::Unfit(SYSTEM.into(), error.into()))
}

/// Checks a server of tenants' databases, and returns its dialect.
pub async fn database_server(name: &str, options: &MySqlConnectOptions) -> Result<Dialect, StartError> {
    let mut connection = connect(name, options).await?;
    let (dialect, _) = engine::check(&mut connection).await.map_err(|unfit| StartError::Unfit(name.into(), unfit))?;
    engine::check_accounts(&mut connection).await.map_err(|unfit| StartError::Unfit(name.into(), unfit))?;
    Ok(dialect)
}

/// Connects, for at most [`PATIENCE`].
///
/// # Errors
/// Says why no connection is possible.
pub async fn connect(name: &str, options: &MySqlConnectOptions) -> Result<MySqlConnection, StartError> {
    let until = Instant::now() + PATIENCE;
    loop {
        let error = match database::connect(options).await {
            Ok(connection) => return Ok(connection),
            Err(error) => error,
        };
        if let Some(reason) = tls::reason(&error) {
            return Err(StartError::Untrusted(name.into(), reason));
        }
        match database::number(&error) {
            // Access is denied (to the user or to the host), or the account is locked or expired.
            Some(1045 | 1698 | 1130 | 4151 | 3118 | 1862 | 1820) => return Err(StartError::Denied(name.into())),
            Some(1049 | 1044) => return Err(StartError::NoDatabase(name.into())),
            _ => {}
        }
        if !database::is_unreachable(&error) || Instant::now() + PAUSE >= until {
            let why = match error {
                sqlx::Error::PoolTimedOut => format!("no answer within {} s", database::ACQUIRE_TIMEOUT.as_secs()),
                error => crate::error::chain(&error),
            };
            return Err(StartError::Unreachable(name.into(), why));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Checks the broker, and declares the topology.
///
/// # Errors
/// If the broker refuses or the topology is wrong; if `needed`, also when it cannot be reached. Otherwise the process
/// starts and connects in the background.
pub async fn broker(url: &SecretString, topology: &Topology, needed: bool) -> Result<(), StartError> {
    let name = || "the broker (AMQP_URL)".to_owned();
    let until = Instant::now() + PATIENCE;
    loop {
        let error = match broker::check(url, topology).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        match error {
            BrokerError::Untrusted(reason) => return Err(StartError::Untrusted(name(), reason)),
            BrokerError::Denied => return Err(StartError::Denied(name())),
            BrokerError::Refused(_) | BrokerError::WrongTopology => return Err(StartError::Broker(name(), error)),
            BrokerError::Timeout | BrokerError::Failed(_) | BrokerError::Cancelled | BrokerError::Full => {}
        }
        if Instant::now() + PAUSE >= until {
            let why = crate::error::chain(&error);
            match error {
                BrokerError::Full if needed => return Err(StartError::Broker(name(), error)),
                _ if needed => return Err(StartError::Unreachable(name(), why)),
                _ => {}
            }
            tracing::warn!(why, "starting without the broker (START_WITHOUT_BROKER)");
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
    }
}
