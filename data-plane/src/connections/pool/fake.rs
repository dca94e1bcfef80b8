//! A server for tests of the pool: it counts connections, and can be down or hang.

use super::{Connect, NoConnection, OpenError, Pool, PooledConnection};
use crate::routing::Route;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::{Instant, sleep};

pub const WAIT: Duration = Duration::from_secs(2);

/// How long the server works on a statement after its client has aborted it.
pub const ABORTING: Duration = Duration::from_millis(4);

#[derive(Default)]
pub struct Counts {
    pub open: AtomicUsize,
    /// The most that were ever open at once.
    pub most: AtomicUsize,
    /// All that were ever opened.
    pub made: AtomicU64,
    pub down: AtomicBool,
    pub hangs: AtomicBool,
}

#[derive(Clone, Default)]
pub struct Fake(pub Arc<Counts>);

pub struct FakeConnection {
    pub tenant: String,
    pub number: u64,
    counts: Arc<Counts>,
}

impl Drop for FakeConnection {
    fn drop(&mut self) {
        self.counts.open.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Connect for Fake {
    type Connection = FakeConnection;

    async fn connect(&self, route: &Route) -> Result<FakeConnection, OpenError> {
        // Like a real server, it counts a connection from the first packet on.
        let open = self.0.open.fetch_add(1, Ordering::SeqCst) + 1;
        self.0.most.fetch_max(open, Ordering::SeqCst);
        let number = self.0.made.fetch_add(1, Ordering::SeqCst);
        let connection = FakeConnection { tenant: route.tenant_id.to_string(), number, counts: Arc::clone(&self.0) };
        sleep(Duration::from_millis(3)).await;
        if self.0.hangs.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        if self.0.down.load(Ordering::SeqCst) {
            return Err(OpenError::Unreachable(sqlx::Error::PoolTimedOut));
        }
        Ok(connection)
    }

    async fn close(&self, connection: FakeConnection) {
        sleep(Duration::from_millis(1)).await;
        drop(connection);
    }

    async fn abort(&self, connection: FakeConnection) {
        sleep(ABORTING).await;
        drop(connection);
    }
}

pub fn pool(budget: usize, share: usize) -> (Pool<Fake>, Arc<Counts>) {
    let fake = Fake::default();
    (Pool::new(fake.clone(), budget, share), fake.0)
}

pub async fn get(pool: &Pool<Fake>, route: &Route) -> Result<PooledConnection<Fake>, NoConnection> {
    pool.acquire(route, false, Instant::now() + WAIT).await
}

pub fn number(connection: &mut PooledConnection<Fake>) -> u64 {
    let number = connection.begin().number;
    connection.finished();
    number
}

/// Waits until all spawned tasks have come to rest.
pub async fn settle() {
    sleep(Duration::from_millis(50)).await;
}
