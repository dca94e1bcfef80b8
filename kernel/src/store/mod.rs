//! The event store: the system database is the one truth.
//!
//! **Guarantees.** The events of a command, the rows folded from them, the job that it starts and the answer to its
//! `Idempotency-Key` are one transaction, so after a crash either all of them exist or none. Positions are 1..N in
//! commit order, because the row `saas_heads('events')` is locked from the moment a position is taken until the commit.
//! So a reader that has seen position p never finds a new event below p.
//!
//! Commands on one tenant wait for each other: a unit locks the tenant's row before it decides
//! ([`UnitOfWork::tenant`]), so no command is refused because another one was faster.
//!
//! **Design note.** Everything that can be refused is refused before the lock of the head is taken, so it is held for a
//! few milliseconds, and for some hundred if a thousand members change at once. What an append must check under the
//! lock (whether a domain is free) it can simply read, because no other transaction appends.

mod announce;
mod append;
mod chain;
mod compare;
mod fold;
mod idempotency;
pub mod installation;
mod nodes;
mod plans;
mod projections;
mod read;
mod rebuild;
mod reseal;
pub mod servers;
mod tables;
mod turns;
mod verify;

pub use announce::{Announcement, STORED_ANNOUNCEMENTS, announce};
pub use append::{CommandError, UnitOfWork};
pub use compare::Difference;
pub use fold::{At, FoldError};
pub use idempotency::{Claim, Idempotency, StoredAnswer, is_answered};
pub use nodes::Nodes;
pub use plans::Plan;
pub use read::{EventRow, Heads, TenantFilter};
pub use rebuild::{RebuildError, Rebuilt, rebuild};
pub use reseal::{BACKUPS, ResealError, Resealed, Uses, key_uses, reseal};
pub use turns::Turn;
pub use verify::{Verified, Wrong, verify_log};

use crate::domain::TenantId;
use sqlx::MySqlPool;
use std::sync::Arc;
use tokio::sync::Notify;

/// A handle on the event store. Clones share the pool and the bell.
#[derive(Clone)]
pub struct Store {
    pool: MySqlPool,
    appended: Arc<Notify>,
    turns: turns::Turns,
}

impl Store {
    /// The store in the system database that `pool` connects to.
    pub fn new(pool: MySqlPool) -> Self {
        let turns = turns::Turns::new(pool.options().get_max_connections());
        Self { pool, appended: Arc::new(Notify::new()), turns }
    }

    /// The pool of connections to the system database.
    pub fn pool(&self) -> &MySqlPool {
        &self.pool
    }

    /// Waits until a unit on this tenant may begin, so that the units that wait for a tenant leave connections to
    /// others. Every process whose units are asked for from outside waits for a turn first.
    pub async fn turn(&self, tenant: Option<&TenantId>) -> Result<Turn, sqlx::Error> {
        self.turns.wait(tenant).await
    }

    /// Begins a unit of work: one transaction.
    pub async fn begin(&self) -> Result<UnitOfWork, sqlx::Error> {
        Ok(UnitOfWork::new(self.pool.begin().await?, Arc::clone(&self.appended)))
    }

    /// The bell that rings after every commit of this process that appended events. It is only a hint, so its listeners
    /// also poll.
    pub fn appended(&self) -> Arc<Notify> {
        Arc::clone(&self.appended)
    }
}
