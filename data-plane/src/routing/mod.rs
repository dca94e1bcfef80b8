//! Which tenant a request is for, from memory alone.
//!
//! **Guarantees.**
//! * A request never asks the system database for a route. The whole table is here, so an unknown host is one hash miss:
//!   that is the negative cache, and nothing an attacker sends makes it grow.
//! * While the system database can be reached, no request is answered with a table older than 2 s: also not the
//!   first one after the process was stopped for a minute ([`Freshness`]).
//! * Cut off from it, the node goes on with what it knows and says so in its health and metrics.
//!
//! One task writes ([`Follower`]), so there is no order of updates to get wrong; requests take a read lock for a few
//! hash look-ups and never wait under it.

mod freshness;
pub mod load;
mod plan;
mod resolve;
mod route;
mod table;
mod traced;

pub use freshness::Freshness;
pub use plan::{Limits, Plan, Plans, Rate};
pub use resolve::Asked;
pub use route::{Place, Route, Service};
pub use table::{Changes, Table};
pub use traced::Traced;

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

/// The table and how old it is.
#[derive(Default)]
pub struct Routing {
    table: RwLock<Table>,
    /// How old the table is, and the way to ask for a newer one.
    pub freshness: Freshness,
    /// Traces of events that are on their way into the table.
    pub traced: Traced,
}

impl Routing {
    /// The table, to look into: no waiting while it is held.
    pub fn table(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The route as it is now.
    pub fn now(&self, of: &Route) -> Option<Arc<Route>> {
        self.table().tenant(of.tenant_id.as_str())
    }

    /// Changes the table. The follower alone calls this.
    pub fn change<T>(&self, change: impl FnOnce(&mut Table) -> T) -> T {
        change(&mut self.table.write().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
pub use route::tests::route as route_for_tests;
