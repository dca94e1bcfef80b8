//! The handles of one process that commands, schedules and handlers share.

use crate::ownership::Ownership;
use kernel::crypto::KeyRing;
use kernel::process::shutdown::Shutdown;
use kernel::store::Store;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// What everything in this process uses.
#[derive(Clone)]
pub struct App {
    pub store: Store,
    /// Seals the answers that are stored for an `Idempotency-Key`, and secret settings of tenants.
    pub keys: KeyRing,
    /// How long a failing job is retried before it is undone.
    pub patience: Duration,
    /// How long the data of a deleted tenant stays.
    pub retention_days: u32,
    /// Decides who may have a domain.
    pub ownership: Arc<Ownership>,
    /// Wakes the workers when a request waits for their answer.
    pub workers: Arc<Notify>,
    pub shutdown: Shutdown,
}
