//! A node reports how far it has followed the events, in its own row of `saas_nodes`.
//!
//! Whoever retires something that nodes may still use (a tenant's former database user) waits until every node that reports is
//! past the event that replaced it. **Guarantee.** A reported position is that of a routing table in use, and connections of an older
//! generation were retired before it was reported. A node that cannot report is not waited for after a while; its requests still
//! find the new route by themselves, so silence costs time and not answers.

use crate::connections::TenantDatabases;
use crate::routing::Routing;
use kernel::error::chain;
use kernel::process::health::{Health, Part};
use kernel::process::shutdown::Shutdown;
use serde_json::json;
use sqlx::MySqlPool;
use std::sync::Arc;
use std::time::Duration;

/// How often a node gives a sign of life. Others wait ten times as long for one.
const EVERY: Duration = Duration::from_secs(1);
/// Reports of changes are at least so far apart: each is a commit in the system database.
const APART: Duration = Duration::from_millis(200);
/// Tenants whose connections are told of, at most.
const POOLS: usize = 50;
/// Longest wait for one answer of the system database.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Who reports.
pub struct Reporter {
    /// Of this process alone.
    pub node_id: String,
    /// For people.
    pub node_name: String,
    /// To the system database.
    pub pool: MySqlPool,
    /// What is reported on.
    pub routing: Arc<Routing>,
    /// Connections to tenants.
    pub databases: TenantDatabases,
    /// Most of them.
    pub budget: usize,
    /// Connections that look up sessions and members.
    pub lookups: MySqlPool,
}

impl Reporter {
    /// Reports a change at once, further ones [`APART`] from each other, and every second, until the process is asked to stop; then takes the row away.
    pub async fn keep(self, health: Health, shutdown: Shutdown) {
        let mut turns = self.routing.freshness.turns();
        self.bounded(self.sweep()).await.ok();
        let mut reported = None;
        let mut tick = tokio::time::interval(EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let due = tokio::select! {
                _ = tick.tick() => true,
                _ = turns.changed() => false,
                () = shutdown.requested() => break,
            };
            let next = tokio::time::Instant::now() + APART;
            let position = self.routing.table().position;
            if !due && reported == Some(position) {
                continue;
            }
            match self.bounded(self.tell(position.0, &self.report(&health))).await {
                Ok(()) => {
                    reported = Some(position);
                    health.tell("node_report", Part::Healthy);
                }
                Err(cause) => {
                    tracing::debug!(cause, "the position was not reported");
                    health.tell("node_report", Part::Degraded("the position cannot be reported".into()));
                }
            }
            tokio::select! { () = tokio::time::sleep_until(next) => {}, () = shutdown.requested() => break }
        }
        self.bounded(self.take_away()).await.ok();
    }

    /// Its pools and parts, for the health of the whole.
    fn report(&self, health: &Health) -> String {
        let ((open, idle), (shares, waiting)) = (self.databases.counts(), self.databases.shares(POOLS));
        let pools: Vec<_> = shares
            .into_iter()
            .map(|(tenant, open, idle)| {
                json!({"tenant_id": &*tenant, "size": open, "checked_in": idle, "checked_out": open - idle})
            })
            .collect();
        let (size, unused) = (self.lookups.size() as usize, self.lookups.num_idle());
        json!({
            "tenant_connections": {"limit": self.budget, "open": open, "in_use": open - idle, "idle": idle, "waiting": waiting},
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

    async fn tell(&self, position: u64, report: &str) -> Result<(), sqlx::Error> {
        sqlx::query(
            "INSERT INTO saas_nodes (node_id, node_name, position, seen_at, report) VALUES (?, ?, ?, UTC_TIMESTAMP(6), ?)
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

    async fn take_away(&self) -> Result<(), sqlx::Error> {
        sqlx::query("DELETE FROM saas_nodes WHERE node_id = ?").bind(&self.node_id).execute(&self.pool).await.map(drop)
    }

    /// Rows of processes that were killed.
    async fn sweep(&self) -> Result<(), sqlx::Error> {
        sqlx::query("DELETE FROM saas_nodes WHERE seen_at < UTC_TIMESTAMP(6) - INTERVAL 1 HOUR")
            .execute(&self.pool)
            .await
            .map(drop)
    }

    async fn bounded(&self, asking: impl Future<Output = Result<(), sqlx::Error>>) -> Result<(), String> {
        match tokio::time::timeout(TIMEOUT, asking).await {
            Ok(answer) => answer.map_err(|error| chain(&error)),
            Err(_) => Err("no answer in time".into()),
        }
    }
}
