//! [`Pool`]: connections of all tenants under one budget.
//!
//! **Guarantees.** Open connections (idle, in use, being opened, being closed) never exceed the budget, nor a tenant's its
//! share. Nobody waits past the deadline, and whoever gives up loses nothing for the others: slots and connections come
//! back when their holder is dropped, wherever that happens. A connection goes back only after its last answer was read to
//! the end ([`Lease::finished`]); otherwise its session is ended, so no request ever reads the answer to another one's
//! question; and its slot is kept until the server has ended it, so clients that come and go do not pile up work there.
//!
//! The locks are held for a few map operations; connections are opened and closed outside of them.

mod reserve;

use super::ledger::{Ask, Ledger, PATIENCE, Taken};
use super::servers::Servers;
use crate::gate::Gate;
use crate::routing::Route;
use kernel::domain::TenantId;
use kernel::process::retry::Waits;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// Longest wait for a new connection; a server that accepts and never answers fails after it.
const OPEN_TIMEOUT: Duration = Duration::from_secs(1);

/// Longest wait for a goodbye.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

/// Tries to open a connection for one request.
const TRIES: u32 = 3;

/// How connections are made.
pub trait Connect: Send + Sync + 'static {
    /// One connection. Dropping it closes it.
    type Connection: Send + 'static;

    /// Opens a connection as the tenant's own user.
    fn connect(&self, route: &Route) -> impl Future<Output = Result<Self::Connection, OpenError>> + Send;

    /// Closes a connection politely.
    fn close(&self, connection: Self::Connection) -> impl Future<Output = ()> + Send;

    /// Closes a connection in the middle of a question, and returns when the server is not at it any more either.
    fn end(&self, connection: Self::Connection) -> impl Future<Output = ()> + Send;
}

/// Why a connection could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The server is away or has no room at all.
    #[error("the tenant's database server cannot be reached")]
    Unreachable(#[source] sqlx::Error),
    /// The tenant's user has as many connections as it may.
    #[error("the tenant's database user has no connection left")]
    UserFull(#[source] sqlx::Error),
    /// The server answered and refused.
    #[error("the tenant's database refused the login")]
    Refused(#[source] sqlx::Error),
    /// The password does not open.
    #[error("the tenant's password cannot be opened")]
    Sealed(#[from] kernel::crypto::CryptoError),
}

/// Why there is no connection for a request.
#[derive(Debug, thiserror::Error)]
pub enum NoConnection {
    /// All that may be open are in use.
    #[error("no connection came free in time")]
    TooLate,
    /// The server is away.
    #[error("the tenant's database server is away")]
    ServerDown,
    /// Opening one failed.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// See the module. Clones share the connections.
pub struct Pool<C: Connect> {
    shared: Arc<Shared<C>>,
}

struct Shared<C: Connect> {
    connector: C,
    share: usize,
    ledger: Mutex<Ledger<C::Connection, Grant<C>>>,
    servers: Servers,
}

/// What somebody got: a connection, or the slot for one and the connection to close first.
enum Grant<C: Connect> {
    Lease(Lease<C>),
    Slot(Slot<C>, Option<C::Connection>),
}

impl<C: Connect> Clone for Pool<C> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<C: Connect> Pool<C> {
    /// At most `budget` connections, of which `share` for one tenant.
    pub fn new(connector: C, budget: usize, share: usize) -> Self {
        let (ledger, servers) = (Mutex::new(Ledger::new(budget)), Servers::default());
        Self { shared: Arc::new(Shared { connector, share, ledger, servers }) }
    }

    /// The gate of a tenant.
    pub fn gate(&self, route: &Route) -> Arc<Gate> {
        self.shared.lock().gate(&route.tenant_id, route.limits)
    }

    /// A connection to the database of `route`; with `fresh`, one that has not been idle.
    pub async fn acquire(&self, route: &Route, fresh: bool, deadline: Instant) -> Result<Lease<C>, NoConnection> {
        let shared = &self.shared;
        let share = shared.share.min(route.max_connections as usize);
        let mut waits = Waits::new(Duration::from_millis(50), Duration::from_millis(400));
        let mut tries = 0;
        loop {
            let idle_only = shared.servers.is_failing(&route.place);
            let tenant = Arc::clone(&route.tenant_id);
            let ask = Ask { tenant, generation: route.generation, share, fresh, idle_only };
            let grant = if idle_only { shared.take(&ask) } else { Some(shared.wait(ask, deadline).await?) };
            let (slot, replaces) = match grant {
                Some(Grant::Lease(lease)) => return Ok(lease),
                Some(Grant::Slot(slot, replaces)) => (slot, replaces),
                None => {
                    shared.servers.wait_for(&route.place, deadline).await.map_err(|_| NoConnection::ServerDown)?;
                    continue;
                }
            };
            shared.make_room();
            if let Some(connection) = replaces {
                shared.close(connection).await;
            }
            let Some(opening) = shared.servers.begin(&route.place, deadline).await else {
                if Instant::now() >= deadline {
                    return Err(NoConnection::TooLate);
                }
                // The server failed meanwhile: wait for it without holding the slot.
                continue;
            };
            let limit = deadline.min(Instant::now() + OPEN_TIMEOUT);
            let opened = timeout_at(limit, shared.connector.connect(route)).await;
            tries += 1;
            match opened {
                Ok(Ok(connection)) => {
                    opening.answered();
                    return Ok(Lease::new(slot, connection));
                }
                Ok(Err(OpenError::Unreachable(error))) => {
                    opening.failed();
                    if tries >= TRIES {
                        return Err(OpenError::Unreachable(error).into());
                    }
                }
                Ok(Err(error @ OpenError::UserFull(_))) => {
                    opening.answered();
                    let wait = waits.next_wait();
                    if tries >= TRIES || Instant::now() + wait >= deadline {
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
                // Not the server's fault: this request began too late.
                Err(_) => return Err(NoConnection::TooLate),
            }
        }
    }

    /// From now on no connection of the tenant below `generation` is used; those in use are closed when they come back.
    pub fn retire(&self, tenant: &Arc<TenantId>, generation: u64) {
        let retired = self.shared.lock().retire(tenant, generation);
        for (generation, connection) in retired {
            self.shared.slot(tenant, generation).retire(connection);
        }
    }

    /// Closes what has been idle for `limit`.
    pub fn sweep(&self, limit: Duration) {
        let Some(limit) = Instant::now().checked_sub(limit) else { return };
        let expired = self.shared.lock().expired(limit);
        for (tenant, generation, connection) in expired {
            self.shared.slot(&tenant, generation).retire(connection);
        }
    }

    /// Open connections, and how many of them are idle.
    pub fn counts(&self) -> (usize, usize) {
        self.shared.lock().counts()
    }

    /// The same of each tenant that has any, the largest first, at most `most`; and how many wait for one.
    pub fn shares(&self, most: usize) -> (Vec<(Arc<TenantId>, usize, usize)>, usize) {
        self.shared.lock().shares(most)
    }
}

impl<C: Connect> Shared<C> {
    fn lock(&self) -> MutexGuard<'_, Ledger<C::Connection, Grant<C>>> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(self: &Arc<Self>, ask: &Ask) -> Option<Grant<C>> {
        let taken = self.lock().take(ask, Duration::ZERO)?;
        Some(self.grant(ask, taken))
    }

    async fn wait(self: &Arc<Self>, ask: Ask, deadline: Instant) -> Result<Grant<C>, NoConnection> {
        let (ticket, mut granted) = {
            let mut ledger = self.lock();
            if let Some(taken) = ledger.take(&ask, Duration::ZERO) {
                drop(ledger);
                return Ok(self.grant(&ask, taken));
            }
            ledger.wait(ask.clone())
        };
        metrics::counter!(kernel::process::telemetry::names::WAITS, "for" => "connection").increment(1);
        let _place = PlaceInLine { shared: self, ticket };
        loop {
            let look = deadline.min(Instant::now() + PATIENCE);
            // A grant that arrives as the deadline passes is dropped with its receiver, and so handed on.
            match timeout_at(look, &mut granted).await {
                Ok(grant) => return grant.map_err(|_| NoConnection::TooLate),
                Err(_) if look == deadline => return Err(NoConnection::TooLate),
                // Nothing came back. By now others' may be taken, or has rested since the last look.
                Err(_) => {
                    let taken = self.lock().take_in_line(ticket, &ask);
                    if let Some(taken) = taken {
                        return Ok(self.grant(&ask, taken));
                    }
                }
            }
        }
    }

    fn grant(self: &Arc<Self>, ask: &Ask, taken: Taken<C::Connection>) -> Grant<C> {
        let slot = self.slot(&ask.tenant, ask.generation);
        match taken {
            Taken::Connection(connection) => Grant::Lease(Lease::new(slot, connection)),
            Taken::Slot { replaces } => Grant::Slot(slot, replaces),
        }
    }

    /// A guard for a slot that the ledger has given out.
    fn slot(self: &Arc<Self>, tenant: &Arc<TenantId>, generation: u64) -> Slot<C> {
        Slot { shared: Some(Arc::clone(self)), tenant: Arc::clone(tenant), generation }
    }

    /// Something came back: serves whoever is first in line for it.
    fn hand_on(self: &Arc<Self>) {
        let next = self.lock().serve_next();
        if let Some((waiter, ask, taken)) = next {
            // A waiter who has just given up drops the grant here, outside the lock; that hands it on again.
            drop(waiter.send(self.grant(&ask, taken)));
        }
    }

    async fn close(&self, connection: C::Connection) {
        let _ = timeout(CLOSE_TIMEOUT, self.connector.close(connection)).await;
    }
}

struct PlaceInLine<'p, C: Connect> {
    shared: &'p Shared<C>,
    ticket: u64,
}

impl<C: Connect> Drop for PlaceInLine<'_, C> {
    fn drop(&mut self) {
        self.shared.lock().leave(self.ticket);
    }
}

/// A slot of the budget; given back when dropped.
struct Slot<C: Connect> {
    /// Taken when the slot goes back into the ledger together with its connection.
    shared: Option<Arc<Shared<C>>>,
    tenant: Arc<TenantId>,
    generation: u64,
}

impl<C: Connect> Slot<C> {
    /// Puts the connection back for the next request, or closes it if it is of an older generation.
    fn park(mut self, connection: C::Connection) {
        let Some(shared) = self.shared.take() else { return };
        let parked = shared.lock().park(&self.tenant, self.generation, connection);
        match parked {
            Ok(()) => shared.hand_on(),
            Err(connection) => {
                self.shared = Some(shared);
                self.retire(connection);
            }
        }
    }

    /// Closes the connection, and gives the slot back after that.
    fn retire(self, connection: C::Connection) {
        let Some(shared) = self.shared.clone() else { return };
        tokio::spawn(async move {
            shared.close(connection).await;
            drop(self);
        });
    }

    /// Ends what the connection was at, and gives the slot back after that.
    fn end(self, connection: C::Connection) {
        let Some(shared) = self.shared.clone() else { return };
        tokio::spawn(async move {
            shared.connector.end(connection).await;
            drop(self);
        });
    }
}

impl<C: Connect> Drop for Slot<C> {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.take() {
            shared.lock().free(&self.tenant);
            shared.hand_on();
        }
    }
}

/// A connection in use. Dropped in the middle of a question, it is ended.
pub struct Lease<C: Connect> {
    slot: Option<Slot<C>>,
    connection: Option<C::Connection>,
    at: At,
}

/// How a connection is.
#[derive(Clone, Copy)]
enum At {
    /// Ready for a question.
    Rest,
    /// Its answer has not been read to the end.
    Question,
    /// Gone.
    End,
}

impl<C: Connect> Lease<C> {
    fn new(slot: Slot<C>, connection: C::Connection) -> Self {
        Self { slot: Some(slot), connection: Some(connection), at: At::Rest }
    }

    /// The connection, to ask something. Say [`Lease::finished`] when the answer was read to its end, [`Lease::lost`] when
    /// there is nobody any more who would answer.
    pub fn ask(&mut self) -> &mut C::Connection {
        self.at = At::Question;
        self.connection.as_mut().expect("a lease has its connection until it is dropped")
    }

    /// The answer was read to its end.
    pub fn finished(&mut self) {
        self.at = At::Rest;
    }

    /// The connection broke.
    pub fn lost(&mut self) {
        self.at = At::End;
    }
}

impl<C: Connect> Drop for Lease<C> {
    fn drop(&mut self) {
        let (Some(slot), Some(connection)) = (self.slot.take(), self.connection.take()) else { return };
        match self.at {
            At::Rest => slot.park(connection),
            At::Question => slot.end(connection),
            At::End => {
                // First the connection, then its slot.
                drop(connection);
                drop(slot);
            }
        }
    }
}

#[cfg(test)]
#[path = "pool_tests.rs"]
mod tests;
