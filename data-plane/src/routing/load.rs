//! The queries by which the follower reads the system database for the routing table.
//!
//! The follower has a connection of its own. A connection of the shared pool that is in use when the network goes
//! silent comes back minutes later, when TCP gives up. The follower drops its connection after [`QUERY_TIMEOUT`] and
//! opens another one.

use super::{Availability, DatabaseAddress, Limits, Plan, Plans, Rate, Route};
use kernel::domain::{DomainName, Position, Tenant, TenantId};
use kernel::store::Heads;
use kernel::store::installation::{self, Switches};
use sqlx::mysql::{MySqlArguments, MySqlRow};
use sqlx::query::Query;
use sqlx::{MySql, MySqlConnection, Row};
use std::collections::{BTreeSet, HashMap};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

/// Longest wait for one answer of the system database.
pub const QUERY_TIMEOUT: Duration = Duration::from_millis(1500);

/// Longest wait for a query that reads every tenant.
pub const FULL_LOAD_TIMEOUT: Duration = Duration::from_secs(20);

/// The events of one page of changes.
const EVENTS: u64 = 5_000;

/// With more events than this, reading all tenants is cheaper.
const MOST_EVENTS: u64 = 100_000;

/// The two numbers of tenants that one query reads. Only two sizes, so that there are only two prepared statements.
const CHUNK: usize = 500;
const SMALL_CHUNK: usize = 8;

/// Why the system database gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It did not answer in time.
    #[error("the system database did not answer in time")]
    Timeout,
    /// The query failed.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Runs a query for at most [`QUERY_TIMEOUT`].
pub async fn bounded<T>(future: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, LoadError> {
    within(QUERY_TIMEOUT, future).await
}

async fn within<T>(limit: Duration, future: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, LoadError> {
    Ok(tokio::time::timeout(limit, future).await.map_err(|_| LoadError::Timeout)??)
}

/// The newest position of events, and how often sessions and users have changed.
pub async fn heads(connection: &mut MySqlConnection) -> Result<Heads, LoadError> {
    let query = sqlx::query_as("SELECT name, position FROM saas_heads");
    let rows: Vec<(String, u64)> = bounded(query.fetch_all(connection)).await?;
    let of = |name| rows.iter().find(|(row, _)| row == name).map_or(0, |(_, position)| *position);
    Ok(Heads { events: Position(of("events")), sessions: of("sessions"), users: of("users") })
}

/// The tenants that have events in `(after, until]`, read in pages, so that a node that is far behind needs no longer
/// statement than another. `None`: more than `most` tenants, or more events than are worth reading; then all tenants
/// are to be read.
pub async fn changed_tenants(
    connection: &mut MySqlConnection,
    after: Position,
    until: Position,
    most: usize,
) -> Result<Option<Vec<TenantId>>, LoadError> {
    if until.0.saturating_sub(after.0) > MOST_EVENTS {
        return Ok(None);
    }
    let query = "SELECT DISTINCT tenant_id FROM saas_events WHERE position > ? AND position <= ?";
    let (mut changed, mut after) = (BTreeSet::new(), after.0);
    while after < until.0 {
        let end = until.0.min(after + EVENTS);
        let rows = bounded(sqlx::query(query).bind(after).bind(end).fetch_all(&mut *connection)).await?;
        changed.extend(rows.iter().filter_map(|row| row.try_get::<&str, _>(0).ok()?.parse::<TenantId>().ok()));
        if changed.len() > most {
            return Ok(None);
        }
        after = end;
    }
    Ok(Some(changed.into_iter().collect()))
}

/// The switches of the installation.
pub async fn switches(connection: &mut MySqlConnection) -> Result<Switches, LoadError> {
    bounded(installation::switches(connection)).await
}

/// All plans.
pub async fn plans(connection: &mut MySqlConnection) -> Result<Plans, LoadError> {
    type Row = (String, u32, u32, Option<u32>, Option<u32>, Option<u32>);
    let query = "SELECT plan_type, request_concurrency, request_queue, request_rate, request_burst, max_connections
                 FROM saas_plans";
    let rows: Vec<Row> = bounded(sqlx::query_as(query).fetch_all(connection)).await?;
    let plan = |(name, concurrency, queue, rate, burst, max_connections): Row| {
        let rate = rate
            .and_then(NonZeroU32::new)
            .map(|per_second| Rate { per_second, burst: burst.and_then(NonZeroU32::new).unwrap_or(per_second) });
        (name, Plan { limits: Limits { concurrency: concurrency.max(1), queue, rate }, max_connections })
    };
    Ok(rows.into_iter().map(plan).collect())
}

const ROUTES: &str = "SELECT s.tenant_id, s.position, s.snapshot, d.db_host, d.db_port, d.db_name, d.db_username,
        d.db_password_encrypted, d.max_connections, s.plan_type
     FROM saas_tenant_snapshots s
     LEFT JOIN saas_tenant_databases d ON d.tenant_id = s.tenant_id";

const DOMAINS: &str = "SELECT tenant_id, domain FROM saas_tenant_domains";

/// The routes of all tenants.
pub async fn all_tenants(connection: &mut MySqlConnection) -> Result<Vec<Route>, LoadError> {
    let rows = within(FULL_LOAD_TIMEOUT, sqlx::query(ROUTES).fetch_all(&mut *connection)).await?;
    // Domains are read after the tenants, so they are at least as new as the route's position.
    let domains = within(FULL_LOAD_TIMEOUT, sqlx::query(DOMAINS).fetch_all(connection)).await?;
    Ok(routes(&rows, &domains)?)
}

/// The routes of these tenants, as far as they exist.
pub async fn tenants(connection: &mut MySqlConnection, ids: &[TenantId]) -> Result<Vec<Route>, LoadError> {
    let mut loaded = Vec::with_capacity(ids.len());
    for chunk in ids.chunks(CHUNK) {
        let size = if chunk.len() <= SMALL_CHUNK { SMALL_CHUNK } else { CHUNK };
        let placeholders = format!("({}?)", "?, ".repeat(size - 1));
        let (of_tenants, of_domains) = (
            format!("{ROUTES} WHERE s.tenant_id IN {placeholders}"),
            format!("{DOMAINS} WHERE tenant_id IN {placeholders}"),
        );
        let rows = bounded(bind_ids(&of_tenants, chunk, size).fetch_all(&mut *connection)).await?;
        let domains = bounded(bind_ids(&of_domains, chunk, size).fetch_all(&mut *connection)).await?;
        loaded.extend(routes(&rows, &domains)?);
    }
    Ok(loaded)
}

/// Binds the ids. The last one is repeated to fill all placeholders.
fn bind_ids<'q>(query: &'q str, ids: &'q [TenantId], placeholders: usize) -> Query<'q, MySql, MySqlArguments> {
    let last = ids.last().map_or("", TenantId::as_str);
    let filled = ids.iter().map(TenantId::as_str).chain(std::iter::repeat(last)).take(placeholders);
    filled.fold(sqlx::query(query), Query::bind)
}

fn routes(rows: &[MySqlRow], domains: &[MySqlRow]) -> Result<Vec<Route>, sqlx::Error> {
    let mut by_tenant: HashMap<String, Vec<DomainName>> = HashMap::new();
    for row in domains {
        let (tenant_id, domain): (String, &str) = (row.try_get(0)?, row.try_get(1)?);
        match domain.parse() {
            Ok(domain) => by_tenant.entry(tenant_id).or_default().push(domain),
            Err(_) => {
                tracing::error!(tenant_id, "the node skips a domain in the system database that is not in normal form")
            }
        }
    }
    let mut routes = Vec::with_capacity(rows.len());
    for row in rows {
        let id: &str = row.try_get(0)?;
        let domains = by_tenant.remove(id).unwrap_or_default();
        match id.parse::<TenantId>() {
            Ok(tenant_id) => routes.push(route(row, tenant_id, domains)?),
            Err(_) => tracing::error!("the node skips a tenant in the system database whose id is not valid"),
        }
    }
    Ok(routes)
}

fn route(row: &MySqlRow, tenant_id: TenantId, domains: Vec<DomainName>) -> Result<Route, sqlx::Error> {
    // A snapshot that only a newer version of this program can read must not affect the other tenants.
    let tenant: Option<Tenant> = serde_json::from_str(row.try_get(2)?)
        .inspect_err(
            |error| tracing::error!(%tenant_id, %error, "the node refuses a tenant: its snapshot is unreadable"),
        )
        .ok();
    let database = DatabaseAddress {
        host: row.try_get::<Option<_>, _>(3)?.unwrap_or_default(),
        port: row.try_get::<Option<i32>, _>(4)?.and_then(|port| u16::try_from(port).ok()).unwrap_or_default(),
        name: row.try_get::<Option<_>, _>(5)?.unwrap_or_default(),
        username: row.try_get::<Option<_>, _>(6)?.unwrap_or_default(),
        sealed_password: row.try_get::<Option<_>, _>(7)?.unwrap_or_default(),
    };
    let max_connections: Option<i32> = row.try_get(8)?;
    let own_connections = max_connections.and_then(|most| u32::try_from(most).ok()).unwrap_or_default().max(1);
    Ok(Route {
        tenant_id: Arc::new(tenant_id),
        availability: tenant.as_ref().map_or(Availability::Unavailable, Availability::of),
        tenant_domain: tenant.as_ref().and_then(|tenant| tenant.tenant_domain.clone()),
        tenant_name: tenant.map(|tenant| tenant.tenant_name).unwrap_or_default(),
        domains,
        position: Position(row.try_get(1)?),
        database,
        plan_type: row.try_get(9)?,
        own_connections,
        max_connections: own_connections,
        limits: Limits::default(),
        generation: 0,
    })
}

/// How long ago the event at `position` was appended, by the clock of the database.
pub async fn lag(connection: &mut MySqlConnection, position: Position) -> Result<Option<Duration>, LoadError> {
    let asking = sqlx::query_as(
        "SELECT TIMESTAMPDIFF(MICROSECOND, occurred_at, UTC_TIMESTAMP(6)) FROM saas_events WHERE position = ?",
    )
    .bind(position.0)
    .fetch_optional(connection);
    let micros: Option<(i64,)> = bounded(asking).await?;
    Ok(micros.map(|(micros,)| Duration::from_micros(micros.max(0).unsigned_abs())))
}
