//! The first look at the servers that a process stands on. What is wrong with one ends the process, and the error says which
//! server, by the name of its setting, and what it is. A server has [`PATIENCE`] to be there, and the last try of it may wait for an
//! answer as long again.

use crate::broker::{self, BrokerError, Topology};
use crate::database;
use crate::database::engine::{self, Dialect, Unfit};
use crate::database::migrate::{self, MigrateError};
use crate::database::tls;
use secrecy::SecretString;
use sqlx::MySqlConnection;
use sqlx::mysql::MySqlConnectOptions;
use std::time::Duration;
use tokio::time::Instant;

/// How long a server that is not there is tried: services and servers are often started together.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(250);

/// Why a process does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Nobody answers.
    #[error("{0} cannot be reached: {1}")]
    Unreachable(String, String),
    /// Somebody answers who may be anybody.
    #[error("{0} cannot be trusted: {1}")]
    Untrusted(String, &'static str),
    /// It knows us not.
    #[error("{0} refuses the account: its user or password is wrong, or it may not connect from here")]
    Denied(String),
    /// There is no such database, or it is closed to this account.
    #[error(
        "{0} has no database of the name in the URL, or none for this account; create it, then run `control-plane migrate`"
    )]
    NoDatabase(String),
    /// It is too old, or lacks a feature.
    #[error("{0} will not do")]
    Unfit(String, #[source] Unfit),
    /// Its tables are not those of this program.
    #[error("{0} is not ready")]
    Migrate(String, #[source] MigrateError),
    /// The broker is there and will not do.
    #[error("{0} will not do")]
    Broker(String, #[source] BrokerError),
    /// The URL is wrong.
    #[error("the setting {0} is wrong")]
    Setting(String, #[source] sqlx::Error),
}

/// Looks at the system database.
pub async fn system_database(url: &SecretString) -> Result<(), StartError> {
    let setting = "SYSTEM_DB_URL";
    let name = format!("the system database ({setting})");
    let options = database::options(url).map_err(|error| StartError::Setting(setting.into(), error))?;
    let mut connection = connect(&name, &options).await?;
    engine::look(&mut connection).await.map_err(|unfit| StartError::Unfit(name.clone(), unfit))?;
    migrate::verify(&mut connection).await.map_err(|error| StartError::Migrate(name.clone(), error))?;
    engine::skip_locked(&mut connection).await.map_err(|unfit| StartError::Unfit(name, unfit))
}

/// Looks at a server of tenants' databases.
pub async fn database_server(name: &str, options: &MySqlConnectOptions) -> Result<Dialect, StartError> {
    let mut connection = connect(name, options).await?;
    let (dialect, _) = engine::look(&mut connection).await.map_err(|unfit| StartError::Unfit(name.into(), unfit))?;
    Ok(dialect)
}

/// A connection, of which it is known what keeps it from being.
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
            // Access denied (also to a host), locked, expired.
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

/// Looks at the broker. `needed`: one that is not there ends the process; else it is waited for in the background, as for one
/// that goes away later.
pub async fn broker(url: &SecretString, topology: &Topology, needed: bool) -> Result<(), StartError> {
    let name = || "the broker (AMQP_URL)".to_owned();
    let until = Instant::now() + PATIENCE;
    loop {
        let error = match broker::look(url, topology).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        match error {
            BrokerError::Untrusted(reason) => return Err(StartError::Untrusted(name(), reason)),
            BrokerError::Denied => return Err(StartError::Denied(name())),
            BrokerError::Refused(_) | BrokerError::WrongTopology => return Err(StartError::Broker(name(), error)),
            BrokerError::Timeout | BrokerError::Failed(_) | BrokerError::Cancelled => {}
        }
        if Instant::now() + PAUSE >= until {
            let why = crate::error::chain(&error);
            if needed {
                return Err(StartError::Unreachable(name(), why));
            }
            tracing::warn!(why, "starting without the broker (START_WITHOUT_BROKER)");
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
    }
}
