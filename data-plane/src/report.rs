//! [`Reporter`]: the node reports in its row of `saas_nodes` how far it has followed the event log.
//!
//! Before a worker removes something that nodes may still use (a tenant's former database user, for example), it waits
//! until every reporting node has passed the event that replaced it. **Guarantee.** A reported position is that of a
//! routing table in use, and connections of older generations were retired before it was reported. After a while the
//! worker no longer waits for a node that cannot report. Requests of such a node still find the new route by
//! themselves, so a missing report costs time and no answers.

use crate::connections::TenantDatabases;
use crate::routing::Routing;
use kernel::error::chain;
use kernel::process::health::{Health, Part};
use kernel::process::shutdown::Shutdown;
use serde_json::json;
use sqlx::MySqlPool;
use std::sync::Arc;
use std::time::Duration;

/// How often a node reports at least. A worker considers it dead after ten times as long.
const INTERVAL: Duration = Duration::from_secs(1);
/// Shortest time between two reports, because each is a commit in the system database.
const MIN_GAP: Duration = Duration::from_millis(200);
/// The most tenants whose connections a report lists.
const MAX_POOLS: usize = 50;
/// Longest wait for one answer of the system database.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The task that reports.
pub struct Reporter {
    /// Unique to this process.
    pub node_id: String,
    /// The name that operators see.
    pub node_name: String,
    /// Connections to the system database, for the reports.
    pub pool: MySqlPool,
    /// The routing table whose position is reported.
    pub routing: Arc<Routing>,
    /// The connections to tenants' databases.
    pub databases: TenantDatabases,
    /// The most connections to tenants' databases.
    pub budget: usize,
    /// Connections to the system database that look up sessions and members.
    pub lookups: MySqlPool,
}

impl Reporter {
    /// Reports at once when the position changes (with [`MIN_GAP`] between reports), and every second, until the
    /// process is asked to stop. Then it removes the row.
    pub async fn run(self, health: Health, shutdown: Shutdown) {
        let mut refreshes = self.routing.freshness.refreshes();
        self.bounded(self.remove_dead_nodes()).await.ok();
        let mut reported = None;
        let mut tick = tokio::time::interval(INTERVAL);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let due = tokio::select! {
                _ = tick.tick() => true,
                _ = refreshes.changed() => false,
                () = shutdown.requested() => break,
            };
            let next = tokio::time::Instant::now() + MIN_GAP;
            let position = self.routing.table().position;
            if !due && reported == Some(position) {
                continue;
            }
            match self.bounded(self.write(position.0, &self.report(&health))).await {
                Ok(()) => {
                    reported = Some(position);
                    health.report("node_report", Part::Healthy);
                }
                Err(cause) => {
                    tracing::debug!(cause, "the node could not report its position to the system database");
                    health.report("node_report", Part::Degraded("the position cannot be reported".into()));
                }
            }
            tokio::select! { () = tokio::time::sleep_until(next) => {}, () = shutdown.requested() => break }
        }
        self.bounded(self.remove()).await.ok();
    }

    /// The node's pools and health, for the health page of the control plane.
    fn report(&self, health: &Health) -> String {
        let ((open, idle), (shares, waiting)) = (self.databases.counts(), self.databases.shares(MAX_POOLS));
        let pools: Vec<_> = shares
            .into_iter()
            .map(|(tenant, open, idle)| {
                json!({"tenant_id": &*tenant, "size": open, "checked_in": idle, "checked_out": open - idle})
            })
            .collect();
        let (size, unused) = (self.lookups.size() as usize, self.lookups.num_idle());
        json!({
            "tenant_connections": {
                "limit": self.budget, "open": open, "in_use": open - idle, "idle": idle, "waiting": waiting,
            },
            "tenant_pools": pools,
            "system_pool": {
                "size": size,
                "checked_in": unused,
                "checked_out": size.saturating_sub(unused),
                "limit": self.lookups.options().get_max_connections(),
            },
            "parts": health.parts(),
        })
        .to_string()
    }

    async fn write(&self, position: u64, report: &str) -> Result<(), sqlx::Error> {
        sqlx::query(
            "INSERT INTO saas_nodes (node_id, node_name, position, seen_at, report)
             VALUES (?, ?, ?, UTC_TIMESTAMP(6), ?)
             ON DUPLICATE KEY UPDATE position = VALUES(position), seen_at = VALUES(seen_at), report = VALUES(report)",
        )
        .bind(&self.node_id)
        .bind(&self.node_name)
        .bind(position)
        .bind(report)
        .execute(&self.pool)
        .await
        .map(drop)
    }

    async fn remove(&self) -> Result<(), sqlx::Error> {
        sqlx::query("DELETE FROM saas_nodes WHERE node_id = ?").bind(&self.node_id).execute(&self.pool).await.map(drop)
    }

    /// Removes the rows of processes that were killed.
    async fn remove_dead_nodes(&self) -> Result<(), sqlx::Error> {
        sqlx::query("DELETE FROM saas_nodes WHERE seen_at < UTC_TIMESTAMP(6) - INTERVAL 1 HOUR")
            .execute(&self.pool)
            .await
            .map(drop)
    }

    async fn bounded(&self, asking: impl Future<Output = Result<(), sqlx::Error>>) -> Result<(), String> {
        match tokio::time::timeout(TIMEOUT, asking).await {
            Ok(answer) => answer.map_err(|error| chain(&error)),
            Err(_) => Err("the system database did not answer in time".into()),
        }
    }
}
