//! What a node shows of itself in `/metrics`, beside the counters at their places.

use crate::connections::TenantDatabases;
use crate::routing::Routing;
use kernel::shutdown::Shutdown;
use std::sync::Arc;
use std::time::Duration;

/// Keeps the gauges until the process is asked to stop. A task of its own: when the follower is stuck, the age of the
/// table must go on growing.
pub async fn keep(routing: Arc<Routing>, databases: TenantDatabases, budget: usize, shutdown: Shutdown) {
    metrics::describe_gauge!("node_position", "Position of the event log that the routing table includes");
    metrics::describe_gauge!("node_freshness_seconds", "Age of the routing table");
    metrics::describe_gauge!("node_stale", "1: the system database is away, known tenants are served");
    metrics::describe_gauge!("tenant_connections_budget", "Connections to tenant databases that this node may open");
    loop {
        let (position, tenants, served) = {
            let table = routing.table();
            (table.position.0, table.len(), table.served())
        };
        let (open, idle) = databases.counts();
        metrics::gauge!("node_position").set(position as f64);
        metrics::gauge!("node_freshness_seconds").set(routing.freshness.age().as_secs_f64());
        metrics::gauge!("node_stale").set(f64::from(u8::from(routing.freshness.is_failing())));
        metrics::gauge!("node_tenants", "served" => "true").set(served as f64);
        metrics::gauge!("node_tenants", "served" => "false").set((tenants - served) as f64);
        metrics::gauge!("tenant_connections_open").set(open as f64);
        metrics::gauge!("tenant_connections_in_use").set((open - idle) as f64);
        metrics::gauge!("tenant_connections_budget").set(budget as f64);
        tokio::select! { () = tokio::time::sleep(Duration::from_secs(1)) => {}, () = shutdown.wished() => return }
    }
}
