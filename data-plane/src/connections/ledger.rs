//! [`Ledger`]: which tenant holds which slots of the node's connection budget. Pure arithmetic: it never waits and does
//! no I/O.
//!
//! A *slot* is the right to have one connection open. **Guarantees.** The slots given out (for connections in use,
//! idle, being opened or being closed) are never more than the budget, and those of a tenant never more than its share.
//! Each slot is given back exactly once, by its holder.
//!
//! **When the budget is used up**, a tenant without a connection takes the slot of the connection that has been idle
//! longest, whichever tenant that belongs to. A tenant that already has connections must be more patient: if it took a
//! slot for every one of several requests at once, the tenant that lost its connection would soon open it again, and a
//! node that is busy opening connections answers more slowly, so that all connections seem to have rested for long.
//! Such a tenant therefore first waits for a connection of its own for [`PATIENCE`], and then takes only a connection
//! that has rested for [`REST`], or one of a tenant that has more connections than itself.
//!
//! **Reserve.** When few slots are free, the pool closes connections that have rested ahead of need
//! ([`Ledger::close_ahead`]), so that a request that opens a connection need not close another one first. One slot in
//! [`RESERVE`] is kept free that way.
//!
//! **Waiting.** A request that gets nothing waits in the order of asking. When a connection or slot comes back, the
//! first waiter who can use it gets it: a connection of its own tenant as it is, or the slot of another tenant's idle
//! connection. A waiter whose tenant has its full share does not block those behind it.

use crate::gate::Gate;
use crate::routing::Limits;
use kernel::domain::TenantId;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// A connection that was in use within this time will probably be used again soon. Opening one costs the server more
/// than a short wait costs a request.
pub const REST: Duration = Duration::from_millis(250);

/// How long a tenant that has connections waits for one of them before it takes one of another tenant. A usual answer
/// takes a fraction of this time.
pub const PATIENCE: Duration = Duration::from_millis(50);

/// One in this many slots of the budget is kept free.
const RESERVE: usize = 20;

/// A request for a connection or a slot.
#[derive(Clone)]
pub struct SlotRequest {
    pub tenant: Arc<TenantId>,
    /// Generation of the tenant's route; connections of another generation do not serve.
    pub generation: u64,
    /// The most slots that the tenant may hold.
    pub share: usize,
    /// Whether the request needs a newly opened connection.
    pub fresh: bool,
    /// Whether only an idle connection serves, because none can be opened now.
    pub idle_only: bool,
}

/// What a request got.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken<T> {
    /// An idle connection, together with its slot.
    Connection(T),
    /// A slot in which to open a connection, once the idle connection that occupied it is closed.
    Slot {
        /// The connection that occupied the slot, if any.
        replaces: Option<T>,
    },
}

struct Account {
    open: usize,
    /// The share that the newest request named.
    share: usize,
    generation: u64,
    /// Keys into [`Ledger::idle`], oldest first.
    idle: Vec<u64>,
    gate: Option<Arc<Gate>>,
}

struct Idle<T> {
    tenant: Arc<TenantId>,
    generation: u64,
    since: Instant,
    connection: T,
}

struct Waiter<G> {
    request: SlotRequest,
    since: Instant,
    grant: oneshot::Sender<G>,
}

/// The account of all slots. `T` is a connection, and `G` is what a waiter is handed.
pub struct Ledger<T, G> {
    budget: usize,
    open: usize,
    /// How many of the open slots belong to connections that are being closed ahead of need.
    closing: usize,
    /// A counter that orders both idle connections and waiters.
    ticks: u64,
    /// One for each tenant that was asked for since the process began, so never more than there are tenants.
    accounts: HashMap<Arc<TenantId>, Account>,
    idle: BTreeMap<u64, Idle<T>>,
    waiters: BTreeMap<u64, Waiter<G>>,
}

impl<T, G> Ledger<T, G> {
    pub fn new(budget: usize) -> Self {
        let (accounts, idle, waiters) = (HashMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { budget, open: 0, closing: 0, ticks: 0, accounts, idle, waiters }
    }

    /// The number of slots given out, and how many of them hold idle connections.
    pub fn counts(&self) -> (usize, usize) {
        (self.open, self.idle.len())
    }

    /// The same for each tenant that has any, the largest first, at most `most`; and the number of waiters.
    pub fn shares(&self, most: usize) -> (Vec<(Arc<TenantId>, usize, usize)>, usize) {
        let of = |(tenant, account): (&Arc<TenantId>, &Account)| (Arc::clone(tenant), account.open, account.idle.len());
        let mut shares: Vec<_> = self.accounts.iter().filter(|(_, account)| account.open > 0).map(of).collect();
        shares.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        shares.truncate(most);
        (shares, self.waiters.len())
    }

    /// The gate of a tenant. It is replaced when the tenant's limits have changed.
    pub fn gate(&mut self, tenant: &Arc<TenantId>, limits: Limits) -> Arc<Gate> {
        match &mut self.account(tenant).gate {
            Some(gate) if gate.limits() == limits => Arc::clone(gate),
            other => Arc::clone(other.insert(Arc::new(Gate::new("turn", limits)))),
        }
    }

    /// Takes a connection or a slot if there is one, for a request that has waited for `waited`.
    pub fn take(&mut self, request: &SlotRequest, waited: Duration) -> Option<Taken<T>> {
        let account = self.account(&request.tenant);
        account.generation = account.generation.max(request.generation);
        account.share = request.share;
        let room = account.open < request.share;
        // The newest one is used, so that the others grow old and are closed.
        if let Some(tick) = account.idle.last().copied() {
            let usable =
                !request.fresh && self.idle.get(&tick).is_some_and(|idle| idle.generation == request.generation);
            if !usable && request.idle_only {
                return None;
            }
            self.account(&request.tenant).idle.pop();
            let connection =
                self.idle.remove(&tick).expect("the ledger holds every idle connection of an account").connection;
            return Some(if usable {
                Taken::Connection(connection)
            } else {
                Taken::Slot { replaces: Some(connection) }
            });
        }
        if request.idle_only || !room {
            return None;
        }
        let has = account.open;
        let replaces = if self.open < self.budget { None } else { Some(self.evict(has, waited)?) };
        self.open += 1;
        self.account(&request.tenant).open += 1;
        Some(Taken::Slot { replaces })
    }

    /// Takes the connection that has been idle longest, with its slot, for a tenant that has `has` connections.
    fn evict(&mut self, has: usize, waited: Duration) -> Option<T> {
        let oldest = self.idle.first_key_value()?.1;
        let of_owner = self.accounts.get(&oldest.tenant).map_or(0, |account| account.open);
        let in_use = of_owner <= has + 1 && oldest.since.elapsed() < REST;
        if has > 0 && (waited < PATIENCE || in_use) {
            return None;
        }
        let (tick, idle) = self.idle.pop_first()?;
        let account = self.account(&idle.tenant);
        account.idle.retain(|of_account| *of_account != tick);
        account.open -= 1;
        self.open -= 1;
        Some(idle.connection)
    }

    /// Enters the queue. The ticket is for [`Ledger::dequeue`].
    pub fn enqueue(&mut self, request: SlotRequest) -> (u64, oneshot::Receiver<G>) {
        let (grant, granted) = oneshot::channel();
        self.ticks += 1;
        self.waiters.insert(self.ticks, Waiter { request, since: Instant::now(), grant });
        (self.ticks, granted)
    }

    /// Takes a connection or a slot for a waiter, unless the waiter is being served already.
    pub fn take_waiting(&mut self, ticket: u64, request: &SlotRequest) -> Option<Taken<T>> {
        let waited = self.waiters.get(&ticket)?.since.elapsed();
        let taken = self.take(request, waited)?;
        self.dequeue(ticket);
        Some(taken)
    }

    /// Leaves the queue.
    pub fn dequeue(&mut self, ticket: u64) {
        self.waiters.remove(&ticket);
    }

    /// The first waiter who can be served, and what it gets.
    pub fn serve_next(&mut self) -> Option<(oneshot::Sender<G>, SlotRequest, Taken<T>)> {
        let mut next = 0;
        while let Some((&ticket, waiter)) = self.waiters.range(next..).next() {
            next = ticket + 1;
            if waiter.grant.is_closed() {
                self.waiters.remove(&ticket);
                continue;
            }
            let (request, waited) = (waiter.request.clone(), waiter.since.elapsed());
            if let Some(taken) = self.take(&request, waited) {
                let waiter = self.waiters.remove(&ticket)?;
                return Some((waiter.grant, request, taken));
            }
        }
        None
    }

    /// Gives a slot back whose connection is closed.
    pub fn free(&mut self, tenant: &Arc<TenantId>) {
        self.open -= 1;
        self.account(tenant).open -= 1;
    }

    /// Stores an idle connection for the next request. Returns it if the pool has to close it, because its generation
    /// is no longer current or the tenant's share has become smaller.
    pub fn put_back(&mut self, tenant: &Arc<TenantId>, generation: u64, connection: T) -> Result<(), T> {
        self.ticks += 1;
        let tick = self.ticks;
        let account = self.account(tenant);
        if generation != account.generation || account.open > account.share {
            return Err(connection);
        }
        account.idle.push(tick);
        let tenant = Arc::clone(tenant);
        self.idle.insert(tick, Idle { tenant, generation, since: Instant::now(), connection });
        Ok(())
    }

    /// From now on no connection of a tenant below `generation` is used. Returns the idle ones, which keep their slots
    /// until they are closed.
    pub fn retire(&mut self, tenant: &Arc<TenantId>, generation: u64) -> Vec<(u64, T)> {
        let account = self.account(tenant);
        account.generation = account.generation.max(generation);
        let current = account.generation;
        let ticks = std::mem::take(&mut account.idle);
        let mut retired = Vec::new();
        for tick in ticks {
            let idle = self.idle.remove(&tick).expect("the ledger holds every idle connection of an account");
            if idle.generation < current {
                retired.push((idle.generation, idle.connection));
            } else {
                self.account(tenant).idle.push(tick);
                self.idle.insert(tick, idle);
            }
        }
        retired
    }

    /// Removes the connections that have been idle since before `limit`. They keep their slots until they are closed.
    pub fn expired(&mut self, limit: Instant) -> Vec<(Arc<TenantId>, u64, T)> {
        let mut expired = Vec::new();
        while let Some(oldest) = self.idle.first_entry().filter(|oldest| oldest.get().since <= limit) {
            let (tick, idle) = oldest.remove_entry();
            self.account(&idle.tenant).idle.retain(|of_account| *of_account != tick);
            expired.push((idle.tenant, idle.generation, idle.connection));
        }
        expired
    }

    /// Removes a connection to close ahead of need: the one that has been idle longest. It keeps its slot; the pool
    /// calls [`Ledger::closed_ahead`] when it frees the slot. `None`: enough slots are free or about to be, or no
    /// connection has rested.
    pub fn close_ahead(&mut self) -> Option<(Arc<TenantId>, u64, T)> {
        if self.budget - self.open + self.closing >= self.budget / RESERVE {
            return None;
        }
        let oldest = self.idle.first_entry().filter(|oldest| oldest.get().since.elapsed() >= REST)?;
        let (tick, idle) = oldest.remove_entry();
        self.account(&idle.tenant).idle.retain(|of_account| *of_account != tick);
        self.closing += 1;
        Some((idle.tenant, idle.generation, idle.connection))
    }

    /// A connection from [`Ledger::close_ahead`] is closed.
    pub fn closed_ahead(&mut self) {
        self.closing -= 1;
    }

    fn account(&mut self, tenant: &Arc<TenantId>) -> &mut Account {
        if !self.accounts.contains_key(tenant) {
            let account = Account { open: 0, share: usize::MAX, generation: 0, idle: Vec::new(), gate: None };
            self.accounts.insert(Arc::clone(tenant), account);
        }
        self.accounts.get_mut(tenant).expect("the account was inserted above")
    }
}
