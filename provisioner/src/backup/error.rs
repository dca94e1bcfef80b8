//! Why a backup was not taken, found, opened or loaded.

use crate::legacy::LegacyError;
use crate::server::ServerError;
use kernel::crypto::CryptoError;
use kernel::database::sql::Unquotable;
use kernel::jobs::JobError;
use kernel::process::config::ConfigError;
use kernel::store::CommandError;
use std::process::ExitCode;

/// See the module.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Command line, settings or the present state are not what is needed. Nothing was changed.
    #[error("{0}")]
    Refused(String),
    /// What is in the store is not what was put there, or does not open. Says which file.
    #[error("{0}")]
    Damaged(String),
    /// What was loaded is not what the backup says.
    #[error("{0}")]
    NotEqual(String),
    /// Somebody made or changed a view, routine, trigger or event while the backup was taken.
    #[error("views, routines, triggers or events of {0} were changed while its backup was taken")]
    Changed(String),
    /// The backup store failed.
    #[error("{doing} failed")]
    Store {
        /// What was being done.
        doing: String,
        /// Why it failed.
        #[source]
        source: object_store::Error,
    },
    /// A database failed.
    #[error("{doing} failed")]
    Database {
        /// What was being done.
        doing: String,
        /// Why it failed.
        #[source]
        source: sqlx::Error,
    },
    /// Compressing or reading a stream.
    #[error("the stream of a backup failed")]
    Stream(#[from] std::io::Error),
    /// The key may seal no more.
    #[error(transparent)]
    Key(#[from] CryptoError),
    /// A setting is missing or wrong.
    #[error(transparent)]
    Setting(#[from] ConfigError),
    /// A table or column has a name that cannot be quoted.
    #[error(transparent)]
    Name(#[from] Unquotable),
    /// Tables could not be read.
    #[error(transparent)]
    Tables(#[from] LegacyError),
    /// The database server refused something.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// An event could not be recorded.
    #[error("an event could not be recorded")]
    Command(#[from] CommandError),
    /// The job belongs to somebody else.
    #[error(transparent)]
    Job(#[from] JobError),
    /// The system database failed.
    #[error("the system database failed")]
    System(#[from] sqlx::Error),
}

/// Exit codes, as `provisioner backup --help` documents them.
pub const FAILED: u8 = 1;
/// Nothing was touched.
pub const REFUSED: u8 = 3;
/// It looked, and found something wrong.
pub const FOUND: u8 = 4;

impl BackupError {
    /// What the process ends with.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Refused(_) | Self::Setting(_) => REFUSED,
            Self::Damaged(_) | Self::NotEqual(_) => FOUND,
            _ => FAILED,
        })
    }
}

/// Says what was being done when something failed.
pub trait Doing<T> {
    /// Adds it.
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, BackupError>;
}

impl<T> Doing<T> for Result<T, sqlx::Error> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, BackupError> {
        self.map_err(|source| BackupError::Database { doing: what(), source })
    }
}

impl<T> Doing<T> for Result<T, object_store::Error> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, BackupError> {
        self.map_err(|source| match source {
            object_store::Error::NotFound { .. } => {
                BackupError::Damaged(format!("{} failed: there is no such file", what()))
            }
            source => BackupError::Store { doing: what(), source },
        })
    }
}
