//! Looks at the tenants' databases: one round over all of a server's, again and again and whenever somebody wants to know.
//!
//! **Guarantees.** A database is healthy if the tenant's own user could log in just now, with the kept password, and read an
//! order and a study record: what a node needs, and nothing else. Each look ends in time, so one that hangs holds up nobody;
//! a server that is away is noticed by itself, and its tenants are told of together instead of one after the other.
//! Of several processes one does a round.

mod check;
mod round;

use crate::server::Server;
use kernel::crypto::KeyRing;
use kernel::process::retry::Waits;
use kernel::process::shutdown::Shutdown;
use kernel::store::Store;
use sqlx::MySqlPool;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// Without a doorbell, look for a wish this often.
const POLL: Duration = Duration::from_millis(500);
/// A round that shows no result for so long is not being done any more.
const LEASE_SECONDS: u32 = 30;

/// Looks at the tenant databases of one server.
pub struct Checker {
    /// The system database.
    pub store: Store,
    /// Opens tenants' passwords.
    pub keys: KeyRing,
    /// The tenants' server.
    pub server: Arc<Server>,
    /// Looks at once, at most.
    pub connections: usize,
    /// Time between two rounds that nobody wished for.
    pub every: Duration,
    /// Rung when somebody wants to know.
    pub asked: Arc<Notify>,
}

impl Checker {
    /// Looks until the process is asked to stop.
    pub async fn run(self, shutdown: Shutdown) {
        let mut waits = Waits::new(POLL, Duration::from_secs(10));
        while !shutdown.is_requested() {
            let wait = match self.claim(self.store.pool()).await {
                Ok(true) => {
                    let done = tokio::select! { done = self.round() => done, () = shutdown.requested() => return };
                    match done {
                        Ok(()) => POLL,
                        Err(error) => {
                            tracing::warn!(cause = %error, "a look at the tenant databases was broken off");
                            waits.next_wait()
                        }
                    }
                }
                Ok(false) => {
                    waits.reset();
                    POLL
                }
                Err(_) => waits.next_wait(),
            };
            tokio::select! {
                () = self.asked.notified() => {}
                () = tokio::time::sleep(wait) => {}
                () = shutdown.requested() => {}
            }
        }
    }

    /// Whether a round is due, and this process does it.
    async fn claim(&self, pool: &MySqlPool) -> Result<bool, sqlx::Error> {
        let claimed = sqlx::query(&format!(
            "UPDATE saas_health_rounds SET began_at = UTC_TIMESTAMP(6),
                    lease_until = UTC_TIMESTAMP(6) + INTERVAL {LEASE_SECONDS} SECOND
             WHERE server_id = ? AND (lease_until IS NULL OR lease_until <= UTC_TIMESTAMP(6))
               AND (began_at IS NULL OR began_at < wanted_at OR began_at <= UTC_TIMESTAMP(6) - INTERVAL ? MICROSECOND)"
        ))
        .bind(&self.server.id)
        .bind(self.every.as_micros() as u64)
        .execute(pool)
        .await?
        .rows_affected();
        if claimed == 0 {
            // The first time there is no row.
            sqlx::query(
                "INSERT INTO saas_health_rounds (server_id, wanted_at)
                 SELECT ?, UTC_TIMESTAMP(6) FROM (SELECT 1) one
                 WHERE NOT EXISTS (SELECT 1 FROM saas_health_rounds r WHERE r.server_id = ?)",
            )
            .bind(&self.server.id)
            .bind(&self.server.id)
            .execute(pool)
            .await
            .ok();
        }
        Ok(claimed == 1)
    }
}
