//! [`Ledger`]: who has which slot of the node's budget. Arithmetic only: no waiting, no I/O.
//!
//! A *slot* is the right to have one connection open. **Guarantee:** the slots given out (to connections in use, idle, or
//! being opened or closed) are never more than the budget, and those of a tenant never more than its share; a slot is
//! given back exactly once, by the one who has it.
//!
//! While the budget is used up, a tenant with no connection takes the slot of the one that has been idle longest, whoever's it
//! is. A tenant that has one, asked several times at once, would take it from the next that is asked, who would open it again;
//! and a node that opens connections instead of answering gets slower, so that everything seems to have rested for long. So
//! such a tenant waits for its own first, [`PATIENCE`] long, and then takes only what has rested for [`REST`] or belongs to
//! a tenant that has more than it.
//!
//! When few slots are free, connections that have rested are closed ahead of need ([`Ledger::ahead`]), so that whoever opens
//! one need not close another first. One slot in [`RESERVE`] is kept free that way.
//!
//! Whoever gets nothing waits in the order of asking. When something comes back, the first in that order who can use it
//! gets it: a connection of its own tenant as it is, or the slot of another tenant's idle connection. Somebody whose
//! tenant has its full share does not hold up those behind.

use crate::gate::Gate;
use crate::routing::Limits;
use kernel::domain::TenantId;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// A connection that was in use so recently will be again: opening one costs the server more than a short wait costs a request.
pub const REST: Duration = Duration::from_millis(250);

/// How long a tenant that has connections waits for one of them before it looks at those of others: some dozen usual answers.
pub const PATIENCE: Duration = Duration::from_millis(50);

/// Of so many slots of the budget, one is kept free.
const RESERVE: usize = 20;

/// What somebody wants.
#[derive(Clone)]
pub struct Ask {
    /// For whom.
    pub tenant: Arc<TenantId>,
    /// Of which generation of the tenant's route.
    pub generation: u64,
    /// Most slots of the tenant.
    pub share: usize,
    /// A connection that was idle will not do.
    pub fresh: bool,
    /// Only a connection that was idle will do.
    pub idle_only: bool,
}

/// What somebody got.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken<T> {
    /// A connection that was idle, with its slot.
    Connection(T),
    /// A slot to open a connection in, after closing the idle connection that had it.
    Slot {
        /// The connection that had the slot.
        replaces: Option<T>,
    },
}

struct Account {
    open: usize,
    /// As the newest question had it.
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
    ask: Ask,
    since: Instant,
    grant: oneshot::Sender<G>,
}

/// See the module. `T` is a connection, `G` what a waiter is handed.
pub struct Ledger<T, G> {
    budget: usize,
    open: usize,
    /// Of these, slots of connections that are closed ahead of need.
    closing: usize,
    /// Orders both idle connections and waiters.
    ticks: u64,
    /// Never more than there are tenants in the routing table over the life of the process.
    accounts: HashMap<Arc<TenantId>, Account>,
    idle: BTreeMap<u64, Idle<T>>,
    waiters: BTreeMap<u64, Waiter<G>>,
}

impl<T, G> Ledger<T, G> {
    /// A ledger of `budget` slots.
    pub fn new(budget: usize) -> Self {
        let (accounts, idle, waiters) = (HashMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { budget, open: 0, closing: 0, ticks: 0, accounts, idle, waiters }
    }

    /// Slots given out, and how many of them have idle connections.
    pub fn counts(&self) -> (usize, usize) {
        (self.open, self.idle.len())
    }

    /// The same of each tenant that has any, the largest first, at most `most`; and how many wait.
    pub fn shares(&self, most: usize) -> (Vec<(Arc<TenantId>, usize, usize)>, usize) {
        let of = |(tenant, account): (&Arc<TenantId>, &Account)| (Arc::clone(tenant), account.open, account.idle.len());
        let mut shares: Vec<_> = self.accounts.iter().filter(|(_, account)| account.open > 0).map(of).collect();
        shares.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        shares.truncate(most);
        (shares, self.waiters.len())
    }

    /// The gate of a tenant, made anew when its limits changed.
    pub fn gate(&mut self, tenant: &Arc<TenantId>, limits: Limits) -> Arc<Gate> {
        match &mut self.account(tenant).gate {
            Some(gate) if gate.limits() == limits => Arc::clone(gate),
            other => Arc::clone(other.insert(Arc::new(Gate::new("turn", limits)))),
        }
    }

    /// Takes what is there, for somebody who has waited so long.
    pub fn take(&mut self, ask: &Ask, waited: Duration) -> Option<Taken<T>> {
        let account = self.account(&ask.tenant);
        account.generation = account.generation.max(ask.generation);
        account.share = ask.share;
        let room = account.open < ask.share;
        // The newest one: the others grow old and are closed.
        if let Some(tick) = account.idle.last().copied() {
            let usable = !ask.fresh && self.idle.get(&tick).is_some_and(|idle| idle.generation == ask.generation);
            if !usable && ask.idle_only {
                return None;
            }
            self.account(&ask.tenant).idle.pop();
            let connection =
                self.idle.remove(&tick).expect("an account's idle connections are in the ledger").connection;
            return Some(if usable {
                Taken::Connection(connection)
            } else {
                Taken::Slot { replaces: Some(connection) }
            });
        }
        if ask.idle_only || !room {
            return None;
        }
        let has = account.open;
        let replaces = if self.open < self.budget { None } else { Some(self.evict(has, waited)?) };
        self.open += 1;
        self.account(&ask.tenant).open += 1;
        Some(Taken::Slot { replaces })
    }

    /// Takes the slot of the connection that has been idle longest, for a tenant that `has` so many.
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

    /// Waits in line. The ticket is for [`Ledger::leave`].
    pub fn wait(&mut self, ask: Ask) -> (u64, oneshot::Receiver<G>) {
        let (grant, granted) = oneshot::channel();
        self.ticks += 1;
        self.waiters.insert(self.ticks, Waiter { ask, since: Instant::now(), grant });
        (self.ticks, granted)
    }

    /// Takes what is there for somebody who waits, unless they are being served already.
    pub fn take_in_line(&mut self, ticket: u64, ask: &Ask) -> Option<Taken<T>> {
        let waited = self.waiters.get(&ticket)?.since.elapsed();
        let taken = self.take(ask, waited)?;
        self.leave(ticket);
        Some(taken)
    }

    /// Waits no more.
    pub fn leave(&mut self, ticket: u64) {
        self.waiters.remove(&ticket);
    }

    /// The first in line who can be served, and with what.
    pub fn serve_next(&mut self) -> Option<(oneshot::Sender<G>, Ask, Taken<T>)> {
        let mut next = 0;
        while let Some((&ticket, waiter)) = self.waiters.range(next..).next() {
            next = ticket + 1;
            if waiter.grant.is_closed() {
                self.waiters.remove(&ticket);
                continue;
            }
            let (ask, waited) = (waiter.ask.clone(), waiter.since.elapsed());
            if let Some(taken) = self.take(&ask, waited) {
                let waiter = self.waiters.remove(&ticket)?;
                return Some((waiter.grant, ask, taken));
            }
        }
        None
    }

    /// Gives a slot back; its connection is closed.
    pub fn free(&mut self, tenant: &Arc<TenantId>) {
        self.open -= 1;
        self.account(tenant).open -= 1;
    }

    /// Keeps a connection for the next one. Gives it back if it is to be closed: it belongs to an older generation, or the
    /// tenant's share has become smaller.
    pub fn park(&mut self, tenant: &Arc<TenantId>, generation: u64, connection: T) -> Result<(), T> {
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

    /// From now on connections of a tenant below `generation` are not used; returns the idle ones, which keep their
    /// slots until they are closed.
    pub fn retire(&mut self, tenant: &Arc<TenantId>, generation: u64) -> Vec<(u64, T)> {
        let account = self.account(tenant);
        account.generation = account.generation.max(generation);
        let current = account.generation;
        let ticks = std::mem::take(&mut account.idle);
        let mut retired = Vec::new();
        for tick in ticks {
            let idle = self.idle.remove(&tick).expect("an account's idle connections are in the ledger");
            if idle.generation < current {
                retired.push((idle.generation, idle.connection));
            } else {
                self.account(tenant).idle.push(tick);
                self.idle.insert(tick, idle);
            }
        }
        retired
    }

    /// Connections that have been idle since before `limit`; they keep their slots until they are closed.
    pub fn expired(&mut self, limit: Instant) -> Vec<(Arc<TenantId>, u64, T)> {
        let mut expired = Vec::new();
        while let Some(oldest) = self.idle.first_entry().filter(|oldest| oldest.get().since <= limit) {
            let (tick, idle) = oldest.remove_entry();
            self.account(&idle.tenant).idle.retain(|of_account| *of_account != tick);
            expired.push((idle.tenant, idle.generation, idle.connection));
        }
        expired
    }

    /// A connection to close ahead of need: the one that has been idle longest. It keeps its slot; say [`Ledger::closed`] as it
    /// is freed. `None`: enough slots are free or about to be, or no connection has rested.
    pub fn ahead(&mut self) -> Option<(Arc<TenantId>, u64, T)> {
        if self.budget - self.open + self.closing >= self.budget / RESERVE {
            return None;
        }
        let oldest = self.idle.first_entry().filter(|oldest| oldest.get().since.elapsed() >= REST)?;
        let (tick, idle) = oldest.remove_entry();
        self.account(&idle.tenant).idle.retain(|of_account| *of_account != tick);
        self.closing += 1;
        Some((idle.tenant, idle.generation, idle.connection))
    }

    /// One that was closed ahead of need is closed.
    pub fn closed(&mut self) {
        self.closing -= 1;
    }

    fn account(&mut self, tenant: &Arc<TenantId>) -> &mut Account {
        if !self.accounts.contains_key(tenant) {
            let account = Account { open: 0, share: usize::MAX, generation: 0, idle: Vec::new(), gate: None };
            self.accounts.insert(Arc::clone(tenant), account);
        }
        self.accounts.get_mut(tenant).expect("it was inserted")
    }
}
