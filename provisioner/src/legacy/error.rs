//! Why a command of the migrator failed.

use crate::exit::{FAILED, REFUSED};
use crate::server::ServerError;
use crate::tables::TableError;
use kernel::database;
use kernel::database::sql::Unquotable;
use kernel::default_tenant::DefaultTenantError;
use kernel::store::CommandError;
use kernel::store::installation::DefaultTenantUnknown;

/// The error of every command. Errors of tables, servers, settings and the event store convert into it.
#[derive(Debug, thiserror::Error)]
pub enum LegacyError {
    /// Source, destination or arguments are not what the command needs. It changed nothing.
    #[error("{0}")]
    Refused(String),
    /// The command had begun and could not continue. The same command continues when it is run again.
    #[error("{0}")]
    Stopped(String),
    /// Tables could not be read, copied or compared.
    #[error(transparent)]
    Tables(#[from] TableError),
    /// Members or domains could not be recorded.
    #[error("an event could not be recorded")]
    Command(#[from] CommandError),
    /// The tenant's database server refused something.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// A setting is missing or wrong.
    #[error(transparent)]
    Setting(#[from] kernel::process::config::ConfigError),
    /// A file or another program failed.
    #[error("{doing} failed")]
    File {
        /// What was being done.
        doing: String,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
}

impl From<DefaultTenantUnknown> for LegacyError {
    fn from(error: DefaultTenantUnknown) -> Self {
        match error {
            DefaultTenantUnknown::Database(error) => error.into(),
            unusable => Self::Refused(unusable.to_string()),
        }
    }
}

impl From<DefaultTenantError> for LegacyError {
    fn from(error: DefaultTenantError) -> Self {
        match error {
            DefaultTenantError::Unknown(error) => error.into(),
            DefaultTenantError::Setting(error) => Self::Setting(error),
            DefaultTenantError::Command(CommandError::Database(error)) => error.into(),
            DefaultTenantError::Command(error) => Self::Command(error),
            error @ DefaultTenantError::NoPlan => Self::Refused(error.to_string()),
        }
    }
}

impl LegacyError {
    /// The kind of failure, as the metric of failures labels it.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Refused(_) => "refused",
            Self::Tables(TableError::At { .. } | TableError::Database(_)) => "database",
            Self::Stopped(_) | Self::Tables(_) => "stopped",
            Self::Command(_) => "event",
            Self::Server(_) => "server",
            Self::Setting(_) => "setting",
            Self::File { .. } => "file",
        }
    }

    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Refused(_) | Self::Setting(_) => REFUSED,
            _ => FAILED,
        }
    }
}

/// Whether the server refused a statement because the account lacks a right.
pub fn is_denied(error: &sqlx::Error) -> bool {
    // Access denied: to a database, a table, a column, or for lack of a privilege.
    matches!(database::number(error), Some(1044 | 1045 | 1142 | 1143 | 1227 | 1370))
}

impl From<sqlx::Error> for LegacyError {
    fn from(error: sqlx::Error) -> Self {
        Self::Tables(error.into())
    }
}

impl From<Unquotable> for LegacyError {
    fn from(error: Unquotable) -> Self {
        Self::Tables(error.into())
    }
}
