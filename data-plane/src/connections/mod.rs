//! Connections to the tenants' databases: a request takes its permit, then a connection, and runs its statements.
//!
//! **Where the connection budget is held.** A node opens at most `DATA_PLANE_CONNECTIONS` connections over all tenants.
//! [`ledger`] counts them: it gives out slots and never more of them than the budget, and [`pool`] opens and closes the
//! connections.
//!
//! **What closes a tenant's connections.** When a tenant is suspended, deleted, moved, or gets a new database user, the
//! follower replaces its route and calls [`TenantDatabases::retire`]. The pool then closes the idle connections at
//! once, and those in use when their request ends. Connections that stay idle are closed by [`TenantDatabases::sweep`].
//!
//! **Guarantees.**
//! * A tenant has at most its plan's number of requests at work and waiting, and the rest are refused at once
//!   ([`crate::gate`]). Requests beyond its rate are refused before anything else ([`TenantDatabases::check_rate`]).
//! * The node leaves a failing server alone for a while ([`servers`]).
//! * Every statement ends at the server: by its time limit there, or because the node kills it after its client gave up
//!   ([`mysql`]).
//! * A read (or [`Work`] that may be repeated) that meets a lost connection or a refused login runs once more on a new
//!   connection, by the newest route ([`database`]). If the tenant is not served any more, the client gets that answer.
//! * Clients always get 503 `tenant_unavailable`, and never the database's own words.

mod database;
mod ledger;
mod mysql;
mod pool;
mod servers;

pub use database::{TenantDatabase, Work};

use crate::gate::NoPermit;
use crate::noticeboard::Noticeboard;
use crate::routing::{Route, Routing};
use crate::served::ServedTenants;
use database::refused;
use kernel::crypto::KeyRing;
use kernel::domain::TenantId;
use kernel::http::{ApiError, Code};
use kernel::process::shutdown::Shutdown;
use kernel::process::telemetry::names;
use mysql::MySqlConnect;
use pool::Pool;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The databases of all tenants. Clones share everything.
#[derive(Clone)]
pub struct TenantDatabases {
    pool: Pool<MySqlConnect>,
    routing: Arc<Routing>,
    noticeboard: Noticeboard,
    served: ServedTenants,
    wait: Duration,
}

/// How many connections a node may open, and how long a request waits for one.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Connections over all tenants.
    pub connections: usize,
    /// Connections of one tenant.
    pub of_tenant: usize,
    /// Longest wait of a request, for its permit and its connection together.
    pub wait: Duration,
}

impl TenantDatabases {
    /// Opens no connection yet.
    pub fn new(keys: KeyRing, budget: Budget, routing: Arc<Routing>, noticeboard: Noticeboard) -> Self {
        let pool = Pool::new(MySqlConnect::new(keys), budget.connections, budget.of_tenant);
        Self { pool, routing, noticeboard, served: ServedTenants::default(), wait: budget.wait }
    }

    /// The tenants whose databases have answered.
    pub fn served(&self) -> ServedTenants {
        self.served.clone()
    }

    /// Counts a request against the tenant's rate, or refuses it: 429, with the time after which there is room again.
    pub fn check_rate(&self, route: &Route) -> Result<(), ApiError> {
        self.pool.gate(route).check_rate().map_err(|wait| {
            metrics::counter!(names::TENANT_REFUSALS, "reason" => "rate").increment(1);
            let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
            ApiError::from(Code::RateLimited).retry_after(seconds)
        })
    }

    /// Waits for the request's permit at the tenant. The permit ends when the answer is dropped.
    pub async fn enter(&self, route: &Arc<Route>) -> Result<TenantDatabase<'_>, ApiError> {
        let deadline = Instant::now() + self.wait;
        match self.pool.gate(route).enter(deadline).await {
            Ok(permit) => {
                self.noticeboard.publish(route);
                Ok(TenantDatabase::new(self, Arc::clone(route), deadline, permit))
            }
            Err(NoPermit::QueueFull) => Err(refused("queue_full")),
            Err(NoPermit::TooLate) => Err(refused("turn")),
        }
    }

    /// From now on no connection of the tenant below `generation` is used; the pool closes those that are open.
    pub fn retire(&self, tenant: &Arc<TenantId>, generation: u64) {
        self.pool.retire(tenant, generation);
    }

    /// The number of open connections, and how many of them are idle.
    pub fn counts(&self) -> (usize, usize) {
        self.pool.counts()
    }

    /// The same for each tenant that has any, the largest first, at most `most`; and the number of waiting requests.
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
