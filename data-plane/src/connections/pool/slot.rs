//! [`PooledConnection`]: a connection in use, and the [`Slot`] of the budget that it occupies.
//!
//! Both come back when they are dropped, wherever that happens, so an abandoned request never loses a slot.

use super::{Connect, Shared};
use kernel::domain::TenantId;
use std::sync::Arc;

/// A slot of the budget. Dropping it gives it back to the ledger.
pub(super) struct Slot<C: Connect> {
    /// Taken when the slot returns to the ledger together with its connection.
    shared: Option<Arc<Shared<C>>>,
    tenant: Arc<TenantId>,
    generation: u64,
}

impl<C: Connect> Slot<C> {
    /// The guard for a slot that the ledger has given out.
    pub(super) fn new(shared: &Arc<Shared<C>>, tenant: &Arc<TenantId>, generation: u64) -> Self {
        Self { shared: Some(Arc::clone(shared)), tenant: Arc::clone(tenant), generation }
    }

    /// Puts the connection back for the next request, or closes it if its generation is no longer current.
    fn put_back(mut self, connection: C::Connection) {
        let Some(shared) = self.shared.take() else { return };
        let put_back = shared.lock().put_back(&self.tenant, self.generation, connection);
        match put_back {
            Ok(()) => shared.hand_on(),
            Err(connection) => {
                self.shared = Some(shared);
                self.retire(connection);
            }
        }
    }

    /// Closes the connection in the background, and gives the slot back after that.
    pub(super) fn retire(self, connection: C::Connection) {
        let Some(shared) = self.shared.clone() else { return };
        tokio::spawn(async move {
            shared.close(connection).await;
            drop(self);
        });
    }

    /// Aborts the connection's statement in the background, and gives the slot back after that.
    fn abort(self, connection: C::Connection) {
        let Some(shared) = self.shared.clone() else { return };
        tokio::spawn(async move {
            shared.connector.abort(connection).await;
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

/// A connection in use. If it is dropped in the middle of a statement, the pool aborts the statement.
pub struct PooledConnection<C: Connect> {
    slot: Option<Slot<C>>,
    connection: Option<C::Connection>,
    state: State,
}

#[derive(Clone, Copy)]
enum State {
    /// The next statement may begin.
    Ready,
    /// The last answer has not been read to its end.
    InStatement,
    /// The connection is lost.
    Broken,
}

impl<C: Connect> PooledConnection<C> {
    pub(super) fn new(slot: Slot<C>, connection: C::Connection) -> Self {
        Self { slot: Some(slot), connection: Some(connection), state: State::Ready }
    }

    /// The connection, to send statements. Call [`PooledConnection::finished`] once the last answer was read to its
    /// end, or [`PooledConnection::lost`] when the connection broke.
    pub fn begin(&mut self) -> &mut C::Connection {
        self.state = State::InStatement;
        self.connection.as_mut().expect("the connection is taken in drop only")
    }

    /// The last answer was read to its end, so the connection may be used again.
    pub fn finished(&mut self) {
        self.state = State::Ready;
    }

    /// The connection broke, so the server has no statement to abort.
    pub fn lost(&mut self) {
        self.state = State::Broken;
    }
}

impl<C: Connect> Drop for PooledConnection<C> {
    fn drop(&mut self) {
        let (Some(slot), Some(connection)) = (self.slot.take(), self.connection.take()) else { return };
        match self.state {
            State::Ready => slot.put_back(connection),
            State::InStatement => slot.abort(connection),
            State::Broken => {
                // The connection must be gone before its slot is given out again.
                drop(connection);
                drop(slot);
            }
        }
    }
}
