//! [`Pool`]: the connections to all tenants' databases, under one budget.
//!
//! **Guarantees.**
//! * Open connections (idle, in use, being opened or being closed) never exceed the budget, and those of one tenant
//!   never exceed its share. The arithmetic is in the [ledger](super::ledger).
//! * No request waits past its deadline, and a request that gives up costs the others nothing: slots and connections
//!   come back when their holder is dropped ([`slot`]).
//! * A connection is used again only after its last answer was read to the end ([`PooledConnection::finished`]).
//!   Otherwise the pool ends its session, so no request ever reads the answer to another one's statement. The slot
//!   stays occupied until the server has ended the session, so clients that come and go do not pile up work there.
//! * [`Pool::retire`] closes all connections of a tenant that are older than a generation: the idle ones at once, those
//!   in use when they come back. The follower calls it when a tenant is suspended, deleted, moved or gets a new user.
//!
//! The lock is held for a few map operations only; connections are opened and closed outside of it.

mod connect;
mod reserve;
mod slot;

pub use connect::{Connect, NoConnection, OpenError};
pub use slot::PooledConnection;

use super::ledger::{Ledger, PATIENCE, SlotRequest, Taken};
use super::servers::Servers;
use crate::gate::Gate;
use crate::routing::Route;
use kernel::domain::TenantId;
use kernel::process::retry::Waits;
use kernel::process::telemetry::names;
use slot::Slot;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// Longest time to open a connection. A server that accepts and never answers counts as failed after it.
const OPEN_TIMEOUT: Duration = Duration::from_secs(1);

/// Longest time for a polite close.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

/// Attempts to open a connection for one request.
const ATTEMPTS: u32 = 3;

/// Shortest and longest wait before the next attempt when the tenant's user has reached its limit.
const USER_FULL_WAITS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(400));

/// The connections to all tenants' databases. Clones share them.
pub struct Pool<C: Connect> {
    shared: Arc<Shared<C>>,
}

struct Shared<C: Connect> {
    connector: C,
    share: usize,
    ledger: Mutex<Ledger<C::Connection, Grant<C>>>,
    servers: Servers,
}

/// What the ledger granted to a request: a connection, or a slot and the idle connection to close before it is used.
enum Grant<C: Connect> {
    Connection(PooledConnection<C>),
    Slot(Slot<C>, Option<C::Connection>),
}

impl<C: Connect> Clone for Pool<C> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<C: Connect> Pool<C> {
    /// A pool of at most `budget` connections, of which one tenant gets at most `share`.
    pub fn new(connector: C, budget: usize, share: usize) -> Self {
        let (ledger, servers) = (Mutex::new(Ledger::new(budget)), Servers::default());
        Self { shared: Arc::new(Shared { connector, share, ledger, servers }) }
    }

    /// The gate of a tenant, with the limits of its plan.
    pub fn gate(&self, route: &Route) -> Arc<Gate> {
        self.shared.lock().gate(&route.tenant_id, route.limits)
    }

    /// A connection to the database of `route`; with `fresh`, one that is newly opened.
    pub async fn acquire(
        &self,
        route: &Route,
        fresh: bool,
        deadline: Instant,
    ) -> Result<PooledConnection<C>, NoConnection> {
        let shared = &self.shared;
        let share = shared.share.min(route.max_connections as usize);
        let mut waits = Waits::new(USER_FULL_WAITS.0, USER_FULL_WAITS.1);
        let mut attempts = 0;
        loop {
            let idle_only = shared.servers.is_failing(&route.database);
            let tenant = Arc::clone(&route.tenant_id);
            let request = SlotRequest { tenant, generation: route.generation, share, fresh, idle_only };
            let grant = if idle_only { shared.take(&request) } else { Some(shared.wait(request, deadline).await?) };
            let (slot, replaces) = match grant {
                Some(Grant::Connection(connection)) => return Ok(connection),
                Some(Grant::Slot(slot, replaces)) => (slot, replaces),
                None => {
                    shared.servers.wait_for(&route.database, deadline).await.map_err(|_| NoConnection::ServerDown)?;
                    continue;
                }
            };
            shared.make_room();
            if let Some(connection) = replaces {
                shared.close(connection).await;
            }
            let Some(opening) = shared.servers.begin(&route.database, deadline).await else {
                if Instant::now() >= deadline {
                    return Err(NoConnection::TooLate);
                }
                // The server has failed in the meantime: the next round waits for it without holding the slot.
                continue;
            };
            let limit = deadline.min(Instant::now() + OPEN_TIMEOUT);
            let opened = timeout_at(limit, shared.connector.connect(route)).await;
            attempts += 1;
            match opened {
                Ok(Ok(connection)) => {
                    opening.answered();
                    return Ok(PooledConnection::new(slot, connection));
                }
                Ok(Err(OpenError::Unreachable(error))) => {
                    opening.failed();
                    if attempts >= ATTEMPTS {
                        return Err(OpenError::Unreachable(error).into());
                    }
                }
                Ok(Err(error @ OpenError::UserFull(_))) => {
                    opening.answered();
                    let wait = waits.next_wait();
                    if attempts >= ATTEMPTS || Instant::now() + wait >= deadline {
                        return Err(error.into());
                    }
                    drop(slot);
                    sleep(wait).await;
                }
                Ok(Err(error)) => {
                    opening.answered();
                    return Err(error.into());
                }
                Err(_) if limit < deadline => opening.failed(),
                // The request began too late to tell whether the server works, so the server does not count as failed.
                Err(_) => return Err(NoConnection::TooLate),
            }
        }
    }

    /// From now on the pool uses no connection of the tenant below `generation`. It closes the idle ones in the
    /// background, and those in use when they come back.
    pub fn retire(&self, tenant: &Arc<TenantId>, generation: u64) {
        let retired = self.shared.lock().retire(tenant, generation);
        for (generation, connection) in retired {
            Slot::new(&self.shared, tenant, generation).retire(connection);
        }
    }

    /// Closes connections that have been idle for `limit`.
    pub fn sweep(&self, limit: Duration) {
        let Some(limit) = Instant::now().checked_sub(limit) else { return };
        let expired = self.shared.lock().expired(limit);
        for (tenant, generation, connection) in expired {
            Slot::new(&self.shared, &tenant, generation).retire(connection);
        }
    }

    /// The number of open connections, and how many of them are idle.
    pub fn counts(&self) -> (usize, usize) {
        self.shared.lock().counts()
    }

    /// The same for each tenant that has any, the largest first, at most `most`; and the number of waiting requests.
    pub fn shares(&self, most: usize) -> (Vec<(Arc<TenantId>, usize, usize)>, usize) {
        self.shared.lock().shares(most)
    }
}

impl<C: Connect> Shared<C> {
    fn lock(&self) -> MutexGuard<'_, Ledger<C::Connection, Grant<C>>> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(self: &Arc<Self>, request: &SlotRequest) -> Option<Grant<C>> {
        let taken = self.lock().take(request, Duration::ZERO)?;
        Some(self.grant(request, taken))
    }

    async fn wait(self: &Arc<Self>, request: SlotRequest, deadline: Instant) -> Result<Grant<C>, NoConnection> {
        let (ticket, mut granted) = {
            let mut ledger = self.lock();
            if let Some(taken) = ledger.take(&request, Duration::ZERO) {
                drop(ledger);
                return Ok(self.grant(&request, taken));
            }
            ledger.enqueue(request.clone())
        };
        metrics::counter!(names::WAITS, "for" => "connection").increment(1);
        let _queued = Queued { shared: self, ticket };
        loop {
            let poll = deadline.min(Instant::now() + PATIENCE);
            // A grant that arrives as the deadline passes is dropped with its receiver, and so goes to the next waiter.
            match timeout_at(poll, &mut granted).await {
                Ok(grant) => return grant.map_err(|_| NoConnection::TooLate),
                Err(_) if poll == deadline => return Err(NoConnection::TooLate),
                // Nothing came back. By now another tenant's connection may have rested long enough to be taken.
                Err(_) => {
                    let taken = self.lock().take_waiting(ticket, &request);
                    if let Some(taken) = taken {
                        return Ok(self.grant(&request, taken));
                    }
                }
            }
        }
    }

    fn grant(self: &Arc<Self>, request: &SlotRequest, taken: Taken<C::Connection>) -> Grant<C> {
        let slot = Slot::new(self, &request.tenant, request.generation);
        match taken {
            Taken::Connection(connection) => Grant::Connection(PooledConnection::new(slot, connection)),
            Taken::Slot { replaces } => Grant::Slot(slot, replaces),
        }
    }

    /// Serves the first waiter that can use what has come back.
    fn hand_on(self: &Arc<Self>) {
        let next = self.lock().serve_next();
        if let Some((waiter, request, taken)) = next {
            // If the waiter has just given up, its grant is dropped here, outside the lock, and handed on again.
            drop(waiter.send(self.grant(&request, taken)));
        }
    }

    async fn close(&self, connection: C::Connection) {
        let _ = timeout(CLOSE_TIMEOUT, self.connector.close(connection)).await;
    }
}

/// A place in the queue. Dropping it leaves the queue.
struct Queued<'p, C: Connect> {
    shared: &'p Shared<C>,
    ticket: u64,
}

impl<C: Connect> Drop for Queued<'_, C> {
    fn drop(&mut self) {
        self.shared.lock().dequeue(self.ticket);
    }
}

#[cfg(test)]
mod fake;

#[cfg(test)]
mod lifetime_tests;

#[cfg(test)]
mod sharing_tests;
