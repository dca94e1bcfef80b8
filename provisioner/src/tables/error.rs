//! Why tables or stored objects could not be read, copied, compared or created.

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
    /// A copy is not what its original was.
    #[error("{0}")]
    NotEqual(String),
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
