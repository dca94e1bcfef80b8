//! The node's gauges in `/metrics`: its position and the age of its routing table, tenants and connections.
//!
//! Counters are not here; each is counted where it happens.

use crate::connections::TenantDatabases;
use crate::routing::Routing;
use kernel::process::shutdown::Shutdown;
use kernel::process::telemetry::names;
use std::sync::Arc;
use std::time::Duration;

/// Updates the gauges every second, until the process is asked to stop. This is a task of its own, because the age of
/// the table must keep growing when the follower is stuck.
pub async fn run(routing: Arc<Routing>, databases: TenantDatabases, budget: usize, shutdown: Shutdown) {
    loop {
        let (position, tenants, served) = {
            let table = routing.table();
            (table.position.0, table.len(), table.served())
        };
        let (open, idle) = databases.counts();
        metrics::gauge!(names::NODE_POSITION).set(position as f64);
        metrics::gauge!(names::NODE_FRESHNESS).set(routing.freshness.age().as_secs_f64());
        metrics::gauge!(names::NODE_STALE).set(f64::from(u8::from(routing.freshness.is_away())));
        metrics::gauge!(names::NODE_TENANTS, "served" => "true").set(served as f64);
        metrics::gauge!(names::NODE_TENANTS, "served" => "false").set((tenants - served) as f64);
        metrics::gauge!(names::TENANT_CONNECTIONS_OPEN).set(open as f64);
        metrics::gauge!(names::TENANT_CONNECTIONS_IN_USE).set((open - idle) as f64);
        metrics::gauge!(names::TENANT_CONNECTIONS_BUDGET).set(budget as f64);
        tokio::select! { () = tokio::time::sleep(Duration::from_secs(1)) => {}, () = shutdown.requested() => return }
    }
}
