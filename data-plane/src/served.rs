//! [`ServedTenants`]: the tenants whose databases this node has just used, for the rounds of checks. A round need not
//! log in to a database that answers a node.
//!
//! A request notes its tenant in memory, and one task writes all of them together, at most every [`INTERVAL`]: one
//! statement for [`CHUNK`] tenants. All nodes share one row for each tenant, and a row that another node has just
//! written stays as it is. **Guarantee.** A row says that the database answered at that time, with the route that was
//! right up to that position of the event log. Of a tenant that has another route by the time of the report, or is not
//! served any more, the node reports nothing. A report that is lost costs a login.

use crate::routing::{Availability, Route, Routing};
use kernel::domain::{Position, TenantId};
use kernel::error::chain;
use kernel::process::shutdown::Shutdown;
use sqlx::{MySql, MySqlPool, QueryBuilder};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Shortest time between two reports. The rounds believe a row for a minute.
const INTERVAL: Duration = Duration::from_secs(30);

/// How often the task asks whether there is something to report.
const POLL: Duration = Duration::from_secs(1);

/// The most tenants in one statement.
const CHUNK: usize = 500;

/// Longest wait for one answer of the system database.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The tenants that were served since the last report. Clones share them.
#[derive(Clone, Default)]
pub struct ServedTenants(Arc<Mutex<Noted>>);

/// Never more than there are tenants.
type Noted = HashMap<Arc<TenantId>, (u64, Instant)>;

/// A tenant, and when its database last answered.
type Served = (Arc<TenantId>, Instant);

impl ServedTenants {
    /// Notes that the tenant's database has just answered, on a connection that was opened for this route.
    pub fn note(&self, route: &Route) {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = (route.generation, Instant::now());
        match noted.get_mut(&route.tenant_id) {
            Some(known) => *known = now,
            None => drop(noted.insert(Arc::clone(&route.tenant_id), now)),
        }
    }

    /// Those whose route still has the generation that it had, in the order of their ids, so that two nodes that write
    /// the same rows lock them in the same order.
    fn take(&self, generation: impl Fn(&TenantId) -> Option<u64>) -> Vec<Served> {
        let noted = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let same = noted.into_iter().filter(|(tenant, (noted, _))| generation(tenant) == Some(*noted));
        let mut all: Vec<_> = same.map(|(tenant, (_, at))| (tenant, at)).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }

    /// What is right to report at the position of the routing table.
    fn to_report(&self, routing: &Routing) -> (Vec<Served>, Position) {
        let table = routing.table();
        let generation = |tenant: &TenantId| {
            let route = table.tenant(tenant.as_str()).filter(|route| route.availability == Availability::Served)?;
            Some(route.generation)
        };
        (self.take(generation), table.position)
    }

    /// Reports until the process is asked to stop.
    pub async fn run(self, pool: MySqlPool, routing: Arc<Routing>, shutdown: Shutdown) {
        loop {
            let (noted, position) = self.to_report(&routing);
            let wait = if noted.is_empty() { POLL } else { INTERVAL };
            for chunk in noted.chunks(CHUNK) {
                let cause = match tokio::time::timeout(TIMEOUT, write(&pool, chunk, position)).await {
                    Ok(Ok(())) => continue,
                    Ok(Err(error)) => chain(&error),
                    Err(_) => "the system database did not answer in time".into(),
                };
                tracing::debug!(cause, tenants = noted.len(), "the tenants that were served could not be reported");
                break;
            }
            tokio::select! { () = tokio::time::sleep(wait) => {}, () = shutdown.requested() => return }
        }
    }
}

async fn write(pool: &MySqlPool, served: &[Served], position: Position) -> Result<(), sqlx::Error> {
    let mut insert = QueryBuilder::<MySql>::new("INSERT INTO saas_served_tenants (tenant_id, position, served_at) ");
    insert.push_values(served, |mut row, (tenant, at)| {
        row.push_bind(tenant.as_str())
            .push_bind(position.0)
            .push("UTC_TIMESTAMP(6) - INTERVAL ")
            .push_bind_unseparated(u64::try_from(at.elapsed().as_micros()).unwrap_or(u64::MAX))
            .push_unseparated(" MICROSECOND");
    });
    // The server assigns from left to right, so the position comes last.
    insert.push(
        " ON DUPLICATE KEY UPDATE
            served_at = CASE WHEN VALUES(position) > position THEN VALUES(served_at)
                             WHEN VALUES(position) = position AND VALUES(served_at) > served_at + INTERVAL 15 SECOND
                             THEN VALUES(served_at) ELSE served_at END,
            position = GREATEST(position, VALUES(position))",
    );
    // Without a prepared statement, because each number of rows would be one of its own.
    insert.build().persistent(false).execute(pool).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::route_for_tests as route;

    #[test]
    fn a_tenant_is_reported_once_as_it_was_last_served() {
        let served = ServedTenants::default();
        let routes = ["shop", "acme", "gone", "moved"].map(route);
        routes.iter().chain(&routes).for_each(|route| served.note(route));
        let now = |tenant: &TenantId| match tenant.as_str() {
            "gone" => None,
            "moved" => Some(routes[3].generation + 1),
            _ => Some(routes[0].generation),
        };
        let reported: Vec<_> = served.take(now).into_iter().map(|(id, _)| id.to_string()).collect();
        assert_eq!(reported, ["acme", "shop"]);
        assert!(served.take(now).is_empty(), "what was reported is not reported again");
    }
}
