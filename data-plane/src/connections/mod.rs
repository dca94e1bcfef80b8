//! The tenants' databases, as a request uses them: a turn, a connection, rows.
//!
//! **Guarantees.** A tenant has at most its plan's number of requests in work and waiting, the rest are refused at once
//! ([`crate::gate`]), and those beyond its rate before anything else ([`TenantDatabases::admit`]); all connections of the node are
//! one budget ([`pool`], [`ledger`]); servers that fail are left alone for a while ([`servers`]). Every statement ends at the
//! server: at its limit there ([`SERVER_LIMIT`]), and when its client gives up before. A read, or [`Work`] that may be
//! repeated, that met a dead connection or a refused login (a restart, a `KILL` after a rotation) is done once more on a new
//! one, by the route as it is now; if the tenant is served no more, that is the answer. What a client is told is always 503
//! `tenant_unavailable`, never the database's own words.

mod ledger;
mod mysql;
mod pool;
mod servers;

use crate::gate::{NoTurn, Turn};
use crate::noticeboard::Noticeboard;
use crate::routing::{Route, Routing};
use kernel::crypto::KeyRing;
use kernel::database;
use kernel::domain::TenantId;
use kernel::error::chain;
use kernel::http::{ApiError, Code};
use kernel::process::shutdown::Shutdown;
use kernel::process::telemetry::names;
use mysql::{MySqlConnect, SERVER_LIMIT};
use pool::{NoConnection, OpenError, Pool};
use sqlx::MySqlConnection;
use sqlx::mysql::{MySqlArguments, MySqlRow};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// Longest time of one statement on this side: the server ends it before, unless it does not answer at all.
const STATEMENT_TIMEOUT: Duration = SERVER_LIMIT.saturating_add(Duration::from_secs(1));

/// The databases of all tenants. Clones share everything.
#[derive(Clone)]
pub struct TenantDatabases {
    pool: Pool<MySqlConnect>,
    routing: Arc<Routing>,
    noticeboard: Noticeboard,
    wait: Duration,
}

/// How many connections, and how long to wait for them.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Connections in all.
    pub connections: usize,
    /// Connections of one tenant.
    pub of_tenant: usize,
    /// Longest wait of a request, for its turn and its connection together.
    pub wait: Duration,
}

impl TenantDatabases {
    /// Nothing is opened yet.
    pub fn new(keys: KeyRing, budget: Budget, routing: Arc<Routing>, noticeboard: Noticeboard) -> Self {
        let pool = Pool::new(MySqlConnect::new(keys), budget.connections, budget.of_tenant);
        Self { pool, routing, noticeboard, wait: budget.wait }
    }

    /// Counts a request against the tenant's rate, or refuses it: 429, with the time after which there is room again.
    pub fn admit(&self, route: &Route) -> Result<(), ApiError> {
        self.pool.gate(route).admit().map_err(|wait| {
            metrics::counter!(names::TENANT_REFUSALS, "reason" => "rate").increment(1);
            let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
            ApiError::from(Code::RateLimited).retry_after(seconds)
        })
    }

    /// Waits for the request's turn at the tenant. Keep the answer for the whole request.
    pub async fn enter(&self, route: &Arc<Route>) -> Result<TenantDatabase<'_>, ApiError> {
        let deadline = Instant::now() + self.wait;
        match self.pool.gate(route).enter(deadline).await {
            Ok(turn) => {
                self.noticeboard.put_up(route);
                Ok(TenantDatabase { databases: self, route: Arc::clone(route), deadline, _turn: turn })
            }
            Err(NoTurn::QueueFull) => Err(refused("queue_full")),
            Err(NoTurn::TooLate) => Err(refused("turn")),
        }
    }

    /// From now on no connection of the tenant below `generation` is used.
    pub fn retire(&self, tenant: &Arc<TenantId>, generation: u64) {
        self.pool.retire(tenant, generation);
    }

    /// Open connections, and how many of them are idle.
    pub fn counts(&self) -> (usize, usize) {
        self.pool.counts()
    }

    /// The same of each tenant that has any, the largest first, at most `most`; and how many wait for one.
    pub fn shares(&self, most: usize) -> (Vec<(Arc<TenantId>, usize, usize)>, usize) {
        self.pool.shares(most)
    }

    /// Closes connections that have been idle for `limit`, until the process is asked to stop.
    pub async fn sweep(self, limit: Duration, shutdown: Shutdown) {
        let every = (limit / 4).clamp(Duration::from_millis(250), Duration::from_secs(5));
        loop {
            tokio::select! { () = tokio::time::sleep(every) => {}, () = shutdown.requested() => return }
            self.pool.sweep(limit);
        }
    }
}

/// One tenant's database, for one request.
pub struct TenantDatabase<'d> {
    databases: &'d TenantDatabases,
    route: Arc<Route>,
    deadline: Instant,
    _turn: Turn,
}

impl TenantDatabase<'_> {
    /// All rows of a query that changes nothing. `sql` is constant, so it is prepared once per connection.
    pub async fn rows(&mut self, sql: &'static str, arguments: MySqlArguments) -> Result<Vec<MySqlRow>, ApiError> {
        self.done(&Question { sql, plain: None, arguments }).await
    }

    /// The same by a statement that names an index, and by a `plain` one with the same places where there is no such index: in
    /// a database that somebody changed, a list is slow and not missing.
    pub async fn rows_by_index(
        &mut self,
        sql: &'static str,
        plain: &'static str,
        arguments: MySqlArguments,
    ) -> Result<Vec<MySqlRow>, ApiError> {
        self.done(&Question { sql, plain: Some(plain), arguments }).await
    }

    /// Does the work on one connection; once more on a new one if that was lost.
    pub async fn done<W: Work>(&mut self, work: &W) -> Result<W::Done, ApiError> {
        let first = self.attempt(false, work).await;
        // Whatever comes after the first question waits by a deadline of its own.
        self.deadline = Instant::now() + self.databases.wait;
        match first {
            Err(Failure::Lost(error)) => {
                tracing::info!(cause = %chain(&error), "a connection was lost or refused; asking again");
                // Perhaps on purpose: the tenant was suspended, or its user or server replaced.
                let routing = &self.databases.routing;
                routing.freshness.renew().await;
                self.route = routing.now(&self.route).ok_or(Code::TenantNotFound)?;
                if let Some(refusal) = self.route.service.refusal() {
                    return Err(refusal);
                }
                self.deadline = Instant::now() + self.databases.wait;
                self.attempt(true, work).await.map_err(Failure::into_answer)
            }
            answer => answer.map_err(Failure::into_answer),
        }
    }

    async fn attempt<W: Work>(&mut self, fresh: bool, work: &W) -> Result<W::Done, Failure> {
        let mut lease = match self.databases.pool.acquire(&self.route, fresh, self.deadline).await {
            Ok(lease) => lease,
            // Refused to a user that has been replaced or locked since this request began.
            Err(NoConnection::Open(OpenError::Refused(error))) if !fresh => return Err(Failure::Lost(error)),
            Err(error) => return Err(Failure::NoConnection(error)),
        };
        match timeout(W::LIMIT, work.run(&mut lease.ask().sql)).await {
            Ok(Ok(done)) => {
                lease.finished();
                Ok(done)
            }
            Ok(Err(error)) if is_lost(&error) => {
                lease.lost();
                Err(Failure::Lost(error))
            }
            Ok(Err(error)) => {
                // An error of the server is a whole answer; but what went before it may have left a transaction.
                if W::ALONE && database::number(&error).is_some() {
                    lease.finished();
                }
                Err(Failure::Statement(error))
            }
            Err(_) => Err(Failure::Timeout),
        }
    }
}

/// Statements on one connection, which goes back to the pool only if all of them succeeded. May be done twice: after a lost
/// connection nobody knows what of it was done, so the second time must find out.
pub trait Work: Sync {
    /// What comes of it.
    type Done: Send;

    /// Longest time of all of it.
    const LIMIT: Duration = STATEMENT_TIMEOUT;

    /// Whether it is one statement and no more, so that a connection is as good as before when the server refuses it.
    const ALONE: bool = false;

    /// Does it.
    fn run(&self, connection: &mut MySqlConnection) -> impl Future<Output = Result<Self::Done, sqlx::Error>> + Send;
}

/// The server's number for an index that a statement names and the table does not have.
const NO_SUCH_INDEX: u16 = 1176;

struct Question {
    sql: &'static str,
    plain: Option<&'static str>,
    arguments: MySqlArguments,
}

impl Work for Question {
    type Done = Vec<MySqlRow>;

    const ALONE: bool = true;

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

/// Why there are no rows.
enum Failure {
    /// The connection broke, or its user was refused; another one may do.
    Lost(sqlx::Error),
    /// There was no connection.
    NoConnection(NoConnection),
    /// The statement failed.
    Statement(sqlx::Error),
    /// The statement took too long.
    Timeout,
}

impl Failure {
    fn into_answer(self) -> ApiError {
        match self {
            Self::NoConnection(NoConnection::TooLate) => refused("connection"),
            Self::NoConnection(error @ NoConnection::ServerDown) => unavailable("server_down", &chain(&error)),
            Self::NoConnection(error) => unavailable("open", &chain(&error)),
            Self::Lost(error) => unavailable("lost", &chain(&error)),
            Self::Timeout => unavailable("timeout", "no answer in time"),
            // Ended by the server's own limit on a statement's time (MySQL, MariaDB).
            Self::Statement(error) if matches!(database::number(&error), Some(3024 | 1969)) => {
                unavailable("timeout", &chain(&error))
            }
            Self::Statement(error) if database::is_contention(&error) => unavailable("contention", &chain(&error)),
            Self::Statement(error) => ApiError::internal(&error),
        }
    }
}

/// The connection is gone: closed, killed, or its server stopped. MySQL tells a killed one that its query was interrupted.
fn is_lost(error: &sqlx::Error) -> bool {
    database::is_unreachable(error) || database::number(error) == Some(1317)
}

/// Too much is going on; nothing is broken.
fn refused(reason: &'static str) -> ApiError {
    metrics::counter!(names::TENANT_REFUSALS, "reason" => reason).increment(1);
    tracing::debug!(reason, "a request was refused");
    Code::TenantUnavailable.into()
}

/// Something is broken.
fn unavailable(reason: &'static str, cause: &str) -> ApiError {
    metrics::counter!(names::TENANT_REFUSALS, "reason" => reason).increment(1);
    tracing::warn!(reason, cause, "a tenant's database did not answer");
    Code::TenantUnavailable.into()
}
