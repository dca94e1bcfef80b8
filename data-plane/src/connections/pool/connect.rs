//! [`Connect`]: how the pool opens and closes connections, and why it may fail to.

use crate::routing::Route;

/// Opens and closes connections of one kind. Tests put a counting fake in its place.
pub trait Connect: Send + Sync + 'static {
    /// One connection. Dropping it closes it.
    type Connection: Send + 'static;

    /// Opens a connection as the tenant's own user.
    fn connect(&self, route: &Route) -> impl Future<Output = Result<Self::Connection, OpenError>> + Send;

    /// Closes an idle connection politely.
    fn close(&self, connection: Self::Connection) -> impl Future<Output = ()> + Send;

    /// Closes a connection in the middle of a statement, and returns once the server no longer works on the statement.
    fn abort(&self, connection: Self::Connection) -> impl Future<Output = ()> + Send;
}

/// Why a connection could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The server does not answer, or accepts no connection of any user.
    #[error("the tenant's database server cannot be reached")]
    Unreachable(#[source] sqlx::Error),
    /// The tenant's user has as many connections as the server allows it.
    #[error("the tenant's database user has reached its limit of connections")]
    UserFull(#[source] sqlx::Error),
    /// The server answered and refused the login.
    #[error("the tenant's database refused the login")]
    Refused(#[source] sqlx::Error),
    /// The stored password cannot be decrypted.
    #[error("the tenant's database password cannot be decrypted")]
    Sealed(#[from] kernel::crypto::CryptoError),
}

/// Why a request got no connection.
#[derive(Debug, thiserror::Error)]
pub enum NoConnection {
    /// Every connection that may be open stayed in use until the deadline.
    #[error("no connection came free in time")]
    TooLate,
    /// The server failed before, and did not recover before the deadline.
    #[error("the tenant's database server is unavailable")]
    ServerDown,
    /// Opening a connection failed.
    #[error(transparent)]
    Open(#[from] OpenError),
}
