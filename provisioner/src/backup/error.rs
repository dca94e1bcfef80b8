//! Why a backup was not taken, found, opened or loaded.

use crate::exit::{FAILED, FOUND, REFUSED};
use crate::server::{ServerError, refuses_content};
use crate::tables::TableError;
use kernel::crypto::CryptoError;
use kernel::database::sql::Unquotable;
use kernel::jobs::JobError;
use kernel::process::config::ConfigError;
use kernel::store::CommandError;

/// The error of everything in `backup` and in its commands.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Arguments, settings or the present state are not what is needed. Nothing was changed.
    #[error("{0}")]
    Refused(String),
    /// A file in the store is not what was written, or does not open. The text names the file.
    #[error("{0}")]
    Damaged(String),
    /// The loaded data is not what the backup says.
    #[error("{0}")]
    NotEqual(String),
    /// A table or a stored object was created or changed while the backup was taken.
    #[error("tables, views, routines, triggers or events of {0} were changed while its backup was taken")]
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
    /// Compressing or writing a stream failed.
    #[error("the stream of a backup failed")]
    Stream(#[from] std::io::Error),
    /// The encryption key has sealed as much as is safe.
    #[error(transparent)]
    Key(#[from] CryptoError),
    /// A setting is missing or wrong.
    #[error(transparent)]
    Setting(#[from] ConfigError),
    /// Tables or stored objects could not be read, loaded or compared.
    #[error(transparent)]
    Tables(TableError),
    /// The database server refused something.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// An event could not be recorded.
    #[error("an event could not be recorded")]
    Command(#[from] CommandError),
    /// Another worker has the job.
    #[error(transparent)]
    Job(#[from] JobError),
    /// The system database failed.
    #[error("the system database failed")]
    System(#[from] sqlx::Error),
}

impl BackupError {
    /// Whether a load failed because of the backup's content: the backup is damaged, is not equal to its manifest, or
    /// cannot be made on a server. Every other error speaks of the server, the store or a connection.
    pub fn is_of_content(&self) -> bool {
        match self {
            Self::Damaged(_) | Self::NotEqual(_) | Self::Refused(_) => true,
            Self::Tables(error) => error.database().is_some_and(refuses_content),
            Self::Server(error) => error.refuses_content(),
            _ => false,
        }
    }

    /// The exit code of the process.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Refused(_) | Self::Setting(_) => REFUSED,
            Self::Damaged(_) | Self::NotEqual(_) => FOUND,
            _ => FAILED,
        }
    }
}

/// Unfit stored objects and unequal copies have variants of their own here, because the exit codes tell them apart.
impl From<TableError> for BackupError {
    fn from(error: TableError) -> Self {
        match error {
            TableError::Refused(why) => Self::Refused(why),
            error @ TableError::RowTooLong { .. } => Self::Refused(error.to_string()),
            TableError::NotEqual(how) => Self::NotEqual(how),
            error => Self::Tables(error),
        }
    }
}

impl From<Unquotable> for BackupError {
    fn from(error: Unquotable) -> Self {
        Self::Tables(error.into())
    }
}

/// Adds to an error of the backup store what was being done.
pub trait InStore<T> {
    /// Turns the error into [`BackupError::Store`], or into [`BackupError::Damaged`] if a file is missing.
    fn in_store(self, doing: impl FnOnce() -> String) -> Result<T, BackupError>;
}

impl<T> InStore<T> for Result<T, object_store::Error> {
    fn in_store(self, doing: impl FnOnce() -> String) -> Result<T, BackupError> {
        self.map_err(|source| match source {
            object_store::Error::NotFound { .. } => {
                BackupError::Damaged(format!("{} failed: there is no such file", doing()))
            }
            source => BackupError::Store { doing: doing(), source },
        })
    }
}
