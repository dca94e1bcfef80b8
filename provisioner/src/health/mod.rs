//! Checks the tenants' databases: rounds over all databases of a server, at intervals, and whenever a control plane of
//! an older version requests one.
//!
//! **Guarantees.** A database is healthy if the tenant's own user could just log in to it with the stored password and
//! was not refused the smallest statement. Nodes report from which databases they were just served
//! (`saas_served_tenants`). Such a database is healthy too, without a login, unless its tenant has changed since, its
//! last check failed, or it is its turn: each has one in every tenth round. So a round costs the server a login for
//! each tenant that is not in use, and for a tenth of the others. A database that answers open sessions and refuses new
//! ones is found within ten rounds, and any other that refuses within one. Each check has a deadline, so one that hangs
//! does not hold up the others. When a server does not answer, the round records that for all its tenants at once
//! instead of checking one after the other. One process at a time does the rounds of a server: it holds the lease
//! `health:SERVER`, and every write of a round renews that lease in its transaction, so a process that was paused can
//! record nothing after another has taken over.

mod check;
mod round;

use crate::server::Server;
use kernel::crypto::KeyRing;
use kernel::lease::{LeaseError, Role, RoleLease};
use kernel::process::retry::Waits;
use kernel::process::shutdown::Shutdown;
use kernel::store::Store;
use std::sync::Arc;
use std::time::Duration;

/// How often the checker asks whether a round is due: one was requested, or the process that did the rounds is gone.
const POLL: Duration = Duration::from_secs(5);
/// A round that records nothing for so long has lost its lease.
const LEASE: Duration = Duration::from_secs(30);

/// Whether a round of a server is due. `lease_until` is for programs that do not take the lease `health:SERVER`: see
/// migration 22.
const DUE: &str = "(lease_until IS NULL OR lease_until <= UTC_TIMESTAMP(6))
    AND (began_at IS NULL OR began_at < wanted_at OR began_at <= UTC_TIMESTAMP(6) - INTERVAL ? MICROSECOND)";

/// Checks the tenant databases of one server.
pub struct Checker {
    /// The system database.
    pub store: Store,
    /// Opens tenants' passwords.
    pub keys: KeyRing,
    /// The tenants' server.
    pub server: Arc<Server>,
    /// Most checks at the same time.
    pub connections: usize,
    /// Time between two rounds that were not requested.
    pub every: Duration,
}

impl Checker {
    /// Checks until the process is asked to stop.
    pub async fn run(self, shutdown: Shutdown) {
        let role = Role::of_server("health", &self.server.id, LEASE);
        let mut waits = Waits::new(Duration::from_millis(500), Duration::from_secs(10));
        while !shutdown.is_requested() {
            let wait = match self.begin(&role).await {
                Ok(Some(lease)) => {
                    let done = tokio::select! { done = self.round(lease) => done, () = shutdown.requested() => return };
                    match done {
                        Ok(()) => self.poll(),
                        Err(error) => {
                            tracing::warn!(cause = %error, "a round of checks of the tenant databases was broken off");
                            waits.next_wait()
                        }
                    }
                }
                Ok(None) => {
                    waits.reset();
                    self.poll()
                }
                Err(error) => {
                    tracing::debug!(cause = %error, "a round of checks of the tenant databases was not begun");
                    waits.next_wait()
                }
            };
            tokio::select! { () = tokio::time::sleep(wait) => {}, () = shutdown.requested() => {} }
        }
    }

    fn poll(&self) -> Duration {
        POLL.min(self.every)
    }

    /// Begins a round, if one is due and no other process is doing one.
    async fn begin(&self, role: &Role) -> Result<Option<RoleLease>, LeaseError> {
        let pool = self.store.pool();
        let due: Option<(bool,)> =
            sqlx::query_as(&format!("SELECT ({DUE}) <> 0 FROM saas_health_rounds WHERE server_id = ?"))
                .bind(self.every.as_micros() as u64)
                .bind(&self.server.id)
                .fetch_optional(pool)
                .await?;
        match due {
            Some((true,)) => {}
            Some((false,)) => return Ok(None),
            None => {
                self.request_first().await?;
            }
        }
        let Some(mut lease) = role.take(pool).await? else { return Ok(None) };
        let mut tx = pool.begin().await?;
        lease.renew(&mut *tx).await?;
        let begun = sqlx::query(&format!(
            "UPDATE saas_health_rounds SET began_at = UTC_TIMESTAMP(6),
                    lease_until = UTC_TIMESTAMP(6) + INTERVAL {} SECOND WHERE ({DUE}) AND server_id = ?",
            LEASE.as_secs()
        ))
        .bind(self.every.as_micros() as u64)
        .bind(&self.server.id)
        .execute(&mut *tx)
        .await?;
        if begun.rows_affected() == 1 {
            tx.commit().await?;
            return Ok(Some(lease));
        }
        lease.end(&mut *tx).await?;
        tx.commit().await?;
        Ok(None)
    }

    /// Makes the server's row, which requests its first round.
    async fn request_first(&self) -> Result<(), sqlx::Error> {
        sqlx::query(
            "INSERT INTO saas_health_rounds (server_id, wanted_at) VALUES (?, UTC_TIMESTAMP(6))
             ON DUPLICATE KEY UPDATE server_id = saas_health_rounds.server_id",
        )
        .bind(&self.server.id)
        .execute(self.store.pool())
        .await
        .map(drop)
    }
}
