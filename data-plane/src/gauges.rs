//! What a node shows of itself in `/metrics`, beside the counters at their places.

use crate::connections::TenantDatabases;
use crate::routing::Routing;
use kernel::process::shutdown::Shutdown;
use kernel::process::telemetry::names;
use std::sync::Arc;
use std::time::Duration;

/// Keeps the gauges until the process is asked to stop. A task of its own: when the follower is stuck, the age of the
/// table must go on growing.
pub async fn keep(routing: Arc<Routing>, databases: TenantDatabases, budget: usize, shutdown: Shutdown) {
    loop {
        let (position, tenants, served) = {
            let table = routing.table();
            (table.position.0, table.len(), table.served())
        };
        let (open, idle) = databases.counts();
        metrics::gauge!(names::NODE_POSITION).set(position as f64);
        metrics::gauge!(names::NODE_FRESHNESS).set(routing.freshness.age().as_secs_f64());
        metrics::gauge!(names::NODE_STALE).set(f64::from(u8::from(routing.freshness.is_failing())));
        metrics::gauge!(names::NODE_TENANTS, "served" => "true").set(served as f64);
        metrics::gauge!(names::NODE_TENANTS, "served" => "false").set((tenants - served) as f64);
        metrics::gauge!(names::TENANT_CONNECTIONS_OPEN).set(open as f64);
        metrics::gauge!(names::TENANT_CONNECTIONS_IN_USE).set((open - idle) as f64);
        metrics::gauge!(names::TENANT_CONNECTIONS_BUDGET).set(budget as f64);
        tokio::select! { () = tokio::time::sleep(Duration::from_secs(1)) => {}, () = shutdown.requested() => return }
    }
}
