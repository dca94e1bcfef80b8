//! Routing: finds the tenant of a request in memory. This is the floor of the crate; it imports no other part of it.
//!
//! **Guarantees.**
//! * A request never asks the system database for a route. The whole table is in memory, so an unknown host costs one
//!   hash look-up, and nothing that an attacker sends makes the table grow.
//! * While the system database answers, no request is answered from knowledge older than 2 s, not even the first one
//!   after the process was stopped for a minute ([`Freshness`]). If it answers too slowly for that, requests are
//!   refused.
//! * If the system database is away, the node continues with what it knows, and reports so in its health and metrics.
//!
//! Only the follower ([`crate::follower`]) changes the table, so updates cannot overtake each other. A request holds a
//! read lock for a few hash look-ups and never waits under it.
//!
//! A route has a *generation*. It rises with every change after which open connections must not be used any more: the
//! tenant was suspended, deleted, moved, or got a new database user.

mod event_spans;
mod freshness;
pub mod load;
mod news;
mod patience;
mod plan;
mod resolve;
mod route;
mod table;

pub use event_spans::EventSpans;
pub use freshness::{Freshness, MAX_AGE, Timestamp};
pub use news::{Changed, Cursors, Event, News, news};
pub use patience::{LONGEST, LoadError, Patience, long_answer};
pub use plan::{Limits, Plan, Plans, Rate};
pub use resolve::TenantHint;
pub use route::{Availability, DatabaseAddress, Route};
pub use table::{Changes, Table};

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

/// The routing table and its age.
#[derive(Default)]
pub struct Routing {
    table: RwLock<Table>,
    /// How old the node's knowledge is, and how to request newer.
    pub freshness: Freshness,
    /// Trace spans of events that the table does not include yet.
    pub spans: EventSpans,
}

impl Routing {
    /// Locks the table for reading. Callers must not wait while they hold the lock.
    pub fn table(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest route of the same tenant.
    pub fn now(&self, of: &Route) -> Option<Arc<Route>> {
        self.table().tenant(of.tenant_id.as_str())
    }

    /// Changes the table. Only the follower calls this.
    pub fn change<T>(&self, change: impl FnOnce(&mut Table) -> T) -> T {
        change(&mut self.table.write().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
pub use route::tests::route as route_for_tests;
