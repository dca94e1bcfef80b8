//! Why a step failed, and whether another attempt may succeed.

use crate::backup::BackupError;
use crate::server::ServerError;
use crate::tables::TableError;
use kernel::crypto::CryptoError;
use kernel::database;
use kernel::database::sql::Unquotable;
use kernel::jobs::JobError;
use kernel::store::CommandError;

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The cause may pass.
    #[error("{0}")]
    Transient(String),
    /// Nothing is wrong, but something has to happen first.
    #[error("{0}")]
    NotYet(String),
    /// The cause does not pass by itself.
    #[error("{0}")]
    Permanent(String),
    /// Nothing of the job was done, and nothing will be until an operator has changed something: the job fails, also
    /// if it is of a kind that is repeated until it succeeds.
    #[error("{0}")]
    NotBegun(String),
    /// A database server failed.
    #[error(transparent)]
    Server(ServerError),
    /// A stored row or password is not what this program can use.
    #[error("{0}")]
    Unfit(&'static str),
    /// Another worker has the job, or the system database failed.
    #[error(transparent)]
    Job(#[from] JobError),
}

/// A move of the old database excludes the tenant's jobs for a while, and they wait for its end.
impl From<ServerError> for StepError {
    fn from(error: ServerError) -> Self {
        match error {
            error @ ServerError::MoveAtWork { .. } => Self::NotYet(error.to_string()),
            error => Self::Server(error),
        }
    }
}

impl From<sqlx::Error> for StepError {
    fn from(error: sqlx::Error) -> Self {
        Self::Server(error.into())
    }
}

impl From<Unquotable> for StepError {
    fn from(error: Unquotable) -> Self {
        Self::Server(error.into())
    }
}

/// For sealing. Where a secret is opened, the step says which one it was.
impl From<CryptoError> for StepError {
    fn from(_: CryptoError) -> Self {
        Self::Unfit("the primary encryption key has sealed as much as is safe")
    }
}

/// While the system database cannot be reached, nothing is known about the step: the lease runs out and a worker claims
/// the job again. The engine shows an error of another kind in the operation.
impl From<CommandError> for StepError {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::Database(error) if !database::is_contention(&error) => Self::Job(JobError::Database(error)),
            CommandError::Rejected(rejection) => Self::Permanent(rejection.to_string()),
            error => Self::Transient(error.to_string()),
        }
    }
}

/// A damaged backup stays damaged, while a backup store or a server may come back.
impl From<BackupError> for StepError {
    fn from(error: BackupError) -> Self {
        match error {
            BackupError::Server(error) => error.into(),
            BackupError::Job(error) => Self::Job(error),
            BackupError::System(error) => Self::Job(JobError::Database(error)),
            BackupError::Tables(error) => error.into(),
            BackupError::Store { .. } | BackupError::Stream(_) | BackupError::Changed(_) => {
                Self::Transient(kernel::error::chain(&error))
            }
            error => Self::Permanent(kernel::error::chain(&error)),
        }
    }
}

impl From<TableError> for StepError {
    fn from(error: TableError) -> Self {
        match error {
            TableError::At { doing, source } => Self::Server(ServerError::Doing { doing, source }),
            TableError::Database(source) => source.into(),
            TableError::Name(error) => error.into(),
            error => Self::Permanent(error.to_string()),
        }
    }
}

impl StepError {
    /// A database of this name exists and carries another owner's marker, or none.
    pub fn taken(database: &str) -> Self {
        Self::Permanent(format!("a database named {database} exists and is not this tenant's"))
    }

    /// Whether another attempt may succeed.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Transient(_) | Self::NotYet(_) | Self::Job(_) => true,
            Self::Permanent(_) | Self::NotBegun(_) | Self::Unfit(_) => false,
            Self::Server(error) => error.may_pass(),
        }
    }

    /// Whether the database server cannot be reached.
    pub fn is_away(&self) -> bool {
        matches!(self, Self::Server(ServerError::Database(error)) if database::is_unreachable(error))
    }

    /// The reason for the operator, without host names, statements or a database's own words.
    pub fn reason(&self, server: &str) -> String {
        match self {
            Self::Server(error) => error.reason(server),
            Self::Job(error) => error.reason(),
            error => error.to_string(),
        }
    }
}
