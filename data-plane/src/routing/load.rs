//! The queries by which the follower reads routes.

use super::{Availability, DatabaseAddress, Limits, Route};
use kernel::domain::{DomainName, Position, Tenant, TenantId};
use sqlx::mysql::{MySqlArguments, MySqlRow};
use sqlx::query::Query;
use sqlx::{MySql, MySqlConnection, Row};
use std::collections::HashMap;
use std::sync::Arc;

/// The two numbers of tenants that one query reads. Only two sizes, so that there are only two prepared statements.
pub const CHUNK: usize = 500;
const SMALL_CHUNK: usize = 8;

const ROUTES: &str = "SELECT s.tenant_id, s.position, s.snapshot, d.db_host, d.db_port, d.db_name, d.db_username,
        d.db_password_encrypted, d.max_connections, s.plan_type
     FROM saas_tenant_snapshots s
     LEFT JOIN saas_tenant_databases d ON d.tenant_id = s.tenant_id";

const DOMAINS: &str = "SELECT tenant_id, domain FROM saas_tenant_domains";

/// The routes of all tenants.
pub async fn all_tenants(connection: &mut MySqlConnection) -> Result<Vec<Route>, sqlx::Error> {
    let rows = sqlx::query(ROUTES).fetch_all(&mut *connection).await?;
    // Domains are read after the tenants, so they are at least as new as the route's position.
    let domains = sqlx::query(DOMAINS).fetch_all(connection).await?;
    routes(&rows, &domains)
}

/// The rows of these tenants, at most [`CHUNK`], as far as they exist.
pub async fn rows(connection: &mut MySqlConnection, ids: &[TenantId]) -> Result<Vec<MySqlRow>, sqlx::Error> {
    let query = format!("{ROUTES} WHERE s.tenant_id IN {}", placeholders(ids));
    bind_ids(&query, ids).fetch_all(connection).await
}

/// The domains of these tenants, at most [`CHUNK`]. They are read after the tenants' rows, so that they are at least as
/// new as the route's position.
pub async fn domains(connection: &mut MySqlConnection, ids: &[TenantId]) -> Result<Vec<MySqlRow>, sqlx::Error> {
    let query = format!("{DOMAINS} WHERE tenant_id IN {}", placeholders(ids));
    bind_ids(&query, ids).fetch_all(connection).await
}

fn size(ids: &[TenantId]) -> usize {
    if ids.len() <= SMALL_CHUNK { SMALL_CHUNK } else { CHUNK }
}

fn placeholders(ids: &[TenantId]) -> String {
    format!("({}?)", "?, ".repeat(size(ids) - 1))
}

/// Binds the ids. The last one is repeated to fill all placeholders.
fn bind_ids<'q>(query: &'q str, ids: &'q [TenantId]) -> Query<'q, MySql, MySqlArguments> {
    let last = ids.last().map_or("", TenantId::as_str);
    let filled = ids.iter().map(TenantId::as_str).chain(std::iter::repeat(last)).take(size(ids));
    filled.fold(sqlx::query(query), Query::bind)
}

/// The routes in the rows of tenants and of their domains.
pub fn routes(rows: &[MySqlRow], domains: &[MySqlRow]) -> Result<Vec<Route>, sqlx::Error> {
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
