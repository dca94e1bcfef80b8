//! [`TenantDatabase`]: one tenant's database for one request, and what happens when a statement fails.

use super::TenantDatabases;
use super::mysql::SERVER_LIMIT;
use super::pool::{NoConnection, OpenError};
use crate::gate::Permit;
use crate::routing::Route;
use kernel::database;
use kernel::error::chain;
use kernel::http::{ApiError, Code};
use kernel::process::telemetry::names;
use sqlx::MySqlConnection;
use sqlx::mysql::{MySqlArguments, MySqlRow};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// How long the node waits for one statement. The server's own limit is shorter, so this one ends only statements of a
/// server that does not answer at all.
const STATEMENT_TIMEOUT: Duration = SERVER_LIMIT.saturating_add(Duration::from_secs(1));

/// The server's error number for an index that a statement names and the table does not have.
const NO_SUCH_INDEX: u16 = 1176;

/// The server's error number for a query that was interrupted. MySQL sends it to a session that was killed.
const INTERRUPTED: u16 = 1317;

/// The error numbers of MySQL and of MariaDB for a statement that reached the server's time limit.
const STATEMENT_LIMIT: [u16; 2] = [3024, 1969];

/// One tenant's database, for one request.
pub struct TenantDatabase<'d> {
    databases: &'d TenantDatabases,
    route: Arc<Route>,
    deadline: Instant,
    _permit: Permit,
}

/// Statements on one connection. The connection goes back to the pool only if all of them succeeded.
///
/// After a lost connection the work runs a second time, and it is unknown how much of the first attempt took effect. So
/// work that writes must check first what is already done.
pub trait Work: Sync {
    /// The result.
    type Output: Send;

    /// Longest time of the whole work.
    const LIMIT: Duration = STATEMENT_TIMEOUT;

    /// Whether the work is a single statement, so that the connection stays usable when the server refuses it.
    const SINGLE_STATEMENT: bool = false;

    /// Runs the statements.
    fn run(&self, connection: &mut MySqlConnection) -> impl Future<Output = Result<Self::Output, sqlx::Error>> + Send;
}

impl<'d> TenantDatabase<'d> {
    pub(super) fn new(databases: &'d TenantDatabases, route: Arc<Route>, deadline: Instant, permit: Permit) -> Self {
        Self { databases, route, deadline, _permit: permit }
    }

    /// All rows of a query that changes nothing. `sql` is constant, so each connection prepares it once.
    pub async fn rows(&mut self, sql: &'static str, arguments: MySqlArguments) -> Result<Vec<MySqlRow>, ApiError> {
        self.run(&Query { sql, plain: None, arguments }).await
    }

    /// All rows of a query that names an index. If the table does not have the index (because an operator changed the
    /// schema), `plain` runs instead, a slower query with the same parameters.
    pub async fn rows_by_index(
        &mut self,
        sql: &'static str,
        plain: &'static str,
        arguments: MySqlArguments,
    ) -> Result<Vec<MySqlRow>, ApiError> {
        self.run(&Query { sql, plain: Some(plain), arguments }).await
    }

    /// Runs the work on one connection, and once more on a new one if the first was lost.
    pub async fn run<W: Work>(&mut self, work: &W) -> Result<W::Output, ApiError> {
        let first = self.attempt(false, work).await;
        // Each piece of work after the first waits until a deadline of its own.
        self.deadline = Instant::now() + self.databases.wait;
        match first {
            Err(Failure::Lost(error)) => {
                tracing::info!(cause = %chain(&error), "a connection was lost or refused; the request tries once more");
                // The cause may be intended: the tenant was suspended, or its user or server was replaced.
                let routing = &self.databases.routing;
                routing.freshness.renew().await;
                self.route = routing.now(&self.route).ok_or(Code::TenantNotFound)?;
                if let Some(refusal) = self.route.availability.refusal() {
                    return Err(refusal);
                }
                self.deadline = Instant::now() + self.databases.wait;
                self.attempt(true, work).await.map_err(Failure::into_api_error)
            }
            answer => answer.map_err(Failure::into_api_error),
        }
    }

    async fn attempt<W: Work>(&mut self, fresh: bool, work: &W) -> Result<W::Output, Failure> {
        let mut connection = match self.databases.pool.acquire(&self.route, fresh, self.deadline).await {
            Ok(connection) => connection,
            // The user may have been replaced or locked since this request began.
            Err(NoConnection::Open(OpenError::Refused(error))) if !fresh => return Err(Failure::Lost(error)),
            Err(error) => return Err(Failure::NoConnection(error)),
        };
        match timeout(W::LIMIT, work.run(&mut connection.begin().sql)).await {
            Ok(Ok(output)) => {
                connection.finished();
                self.databases.served.note(&self.route);
                Ok(output)
            }
            Ok(Err(error)) if is_lost(&error) => {
                connection.lost();
                Err(Failure::Lost(error))
            }
            Ok(Err(error)) => {
                // An error of the server is a complete answer, but earlier statements may have left a transaction open.
                if W::SINGLE_STATEMENT && database::number(&error).is_some() {
                    connection.finished();
                }
                Err(Failure::Statement(error))
            }
            Err(_) => Err(Failure::Timeout),
        }
    }
}

struct Query {
    sql: &'static str,
    plain: Option<&'static str>,
    arguments: MySqlArguments,
}

impl Work for Query {
    type Output = Vec<MySqlRow>;

    const SINGLE_STATEMENT: bool = true;

    async fn run(&self, connection: &mut MySqlConnection) -> Result<Vec<MySqlRow>, sqlx::Error> {
        let rows = sqlx::query_with(self.sql, self.arguments.clone()).fetch_all(&mut *connection).await;
        match (rows, self.plain) {
            (Err(error), Some(plain)) if database::number(&error) == Some(NO_SUCH_INDEX) => {
                sqlx::query_with(plain, self.arguments.clone()).fetch_all(connection).await
            }
            (rows, _) => rows,
        }
    }
}

enum Failure {
    /// The connection broke, or the login was refused. A new connection may work.
    Lost(sqlx::Error),
    NoConnection(NoConnection),
    Statement(sqlx::Error),
    Timeout,
}

impl Failure {
    fn into_api_error(self) -> ApiError {
        match self {
            Self::NoConnection(NoConnection::TooLate) => refused("connection"),
            Self::NoConnection(error @ NoConnection::ServerDown) => unavailable("server_down", &chain(&error)),
            Self::NoConnection(error) => unavailable("open", &chain(&error)),
            Self::Lost(error) => unavailable("lost", &chain(&error)),
            Self::Timeout => unavailable("timeout", "no answer in time"),
            Self::Statement(error) if database::number(&error).is_some_and(|it| STATEMENT_LIMIT.contains(&it)) => {
                unavailable("timeout", &chain(&error))
            }
            Self::Statement(error) if database::is_contention(&error) => unavailable("contention", &chain(&error)),
            Self::Statement(error) => ApiError::internal(&error),
        }
    }
}

/// Whether the connection is gone: it was closed or killed, or its server stopped.
fn is_lost(error: &sqlx::Error) -> bool {
    database::is_unreachable(error) || database::number(error) == Some(INTERRUPTED)
}

/// The answer to a request for which there is no room. Nothing is broken, so the log entry is for debugging only.
pub(super) fn refused(reason: &'static str) -> ApiError {
    metrics::counter!(names::TENANT_REFUSALS, "reason" => reason).increment(1);
    tracing::debug!(reason, "a request was refused because the tenant's limits or the node's budget are used up");
    Code::TenantUnavailable.into()
}

/// The answer to a request that met a broken database.
fn unavailable(reason: &'static str, cause: &str) -> ApiError {
    metrics::counter!(names::TENANT_REFUSALS, "reason" => reason).increment(1);
    tracing::warn!(reason, cause, "a tenant's database did not answer");
    Code::TenantUnavailable.into()
}
