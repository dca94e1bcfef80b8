//! Why a tenant could not be counted.

use crate::server::ServerError;
use kernel::jobs::JobError;

/// Why a tenant could not be counted.
#[derive(Debug, thiserror::Error)]
pub enum CountError {
    /// Its database server failed, or the database is not there.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// Another process collects now, or the system database failed.
    #[error(transparent)]
    Job(#[from] JobError),
    /// The deadline passed.
    #[error("counting took too long")]
    TooLong,
    /// A day has no row in the answer of the server.
    #[error("the server counted no figures")]
    NoFigures,
    /// The request names no tenant.
    #[error("the request for figures does not name a tenant")]
    NoTenant,
}

impl From<sqlx::Error> for CountError {
    fn from(error: sqlx::Error) -> Self {
        Self::Server(error.into())
    }
}

impl CountError {
    /// The reason for the operator, without host names, statements or a database's own words.
    pub fn reason(&self, server: &str) -> String {
        match self {
            Self::Server(error) => error.reason(server),
            error => error.to_string(),
        }
    }

    /// Whether the connection to the server is gone.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Server(error) if error.database().is_some_and(kernel::database::is_unreachable))
    }
}
