//! Why tables or stored objects could not be read, copied, compared or created.

use kernel::database;
use kernel::database::sql::Unquotable;

/// The error of everything in `tables`. Errors of backups, jobs and the migrator convert from it, never the other way.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// A server refused a statement or cannot be reached.
    #[error("{doing} failed")]
    At {
        /// What the statement was for.
        doing: String,
        /// The server's answer.
        #[source]
        source: sqlx::Error,
    },
    /// The same, where the statement speaks for itself.
    #[error("a database server failed")]
    Database(#[from] sqlx::Error),
    /// The name of a database, table or column cannot be quoted.
    #[error(transparent)]
    Name(#[from] Unquotable),
    /// A row is longer than the statement that would write it may be.
    #[error(
        "a row of {table} ({key}) needs {bytes} bytes, more than the server's max_allowed_packet of {limit}: \
         raise it there"
    )]
    RowTooLong {
        /// The row's table.
        table: String,
        /// The row's key, or that it has none.
        key: String,
        /// Length of the row in a statement.
        bytes: usize,
        /// The server's longest statement.
        limit: usize,
    },
    /// A stored object cannot be read, or must not be created.
    #[error("{0}")]
    Refused(String),
    /// The far end of a transfer has a row that the near end cannot have given.
    #[error("{table} has a row (key {key}) that was written meanwhile and would be lost")]
    Foreign { table: String, key: i128 },
    /// A copy is not what its original was.
    #[error("{0}")]
    NotEqual(String),
}

impl TableError {
    /// Whether a unique key already has a value that was written.
    pub fn is_duplicate(&self) -> bool {
        self.database().is_some_and(database::is_duplicate)
    }

    /// Whether two transactions waited for each other.
    pub fn is_deadlock(&self) -> bool {
        self.database().is_some_and(database::is_deadlock)
    }

    /// The server's own error, if there is one.
    pub fn database(&self) -> Option<&sqlx::Error> {
        match self {
            Self::At { source, .. } | Self::Database(source) => Some(source),
            _ => None,
        }
    }
}

/// Adds to an error of a database what was being done.
pub trait Doing<T> {
    /// Turns the error into [`TableError::At`].
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, TableError>;
}

impl<T> Doing<T> for Result<T, sqlx::Error> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, TableError> {
        self.map_err(|source| TableError::At { doing: what(), source })
    }
}
