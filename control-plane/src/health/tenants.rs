//! What the workers' newest checks of the tenant databases found.

use super::Part;
use crate::cursor::Page;
use chrono::NaiveDateTime;
use serde_json::{Value, json};
use sqlx::MySqlPool;

/// A check that is older says nothing of the present.
const STALE_SECONDS: u32 = 180;

/// Which tenants a caller wants to see.
#[derive(Debug)]
pub struct Tenants {
    pub page: Page,
    /// Only tenants whose database has this status.
    pub status: Option<&'static str>,
}

/// Tenants that are to be served, with the status of the newest check.
fn from_checks() -> String {
    format!(
        "FROM (SELECT s.created_position AS position, s.tenant_id, t.tenant_name, t.database_name, s.server_id,
                   h.reason, h.response_us, h.total_orders, h.total_study_records, h.checked_at,
                   CASE WHEN h.checked_at IS NULL OR h.checked_at < UTC_TIMESTAMP(6) - INTERVAL {STALE_SECONDS} SECOND
                        THEN 'unknown' ELSE h.status END AS status
               FROM saas_tenant_snapshots s JOIN saas_tenants t ON t.tenant_id = s.tenant_id
               LEFT JOIN saas_tenant_health h ON h.tenant_id = s.tenant_id WHERE s.status IN (1, 2)) checks"
    )
}

pub async fn summary(pool: &MySqlPool) -> Result<Part, sqlx::Error> {
    let count = format!("SELECT CONVERT(status USING utf8mb4), COUNT(*) {} GROUP BY status", from_checks());
    let rows: Vec<(String, i64)> = sqlx::query_as(&count).fetch_all(pool).await?;
    let of = |status: &str| rows.iter().find(|(name, _)| name == status).map_or(0, |(_, count)| *count);
    let (healthy, unhealthy, unknown) = (of("healthy"), of("unhealthy"), of("unknown"));
    let mut reasons = Vec::new();
    if unhealthy > 0 {
        reasons.push(format!("{unhealthy} tenant databases are not healthy"));
    }
    if unknown > 0 {
        reasons.push(format!("{unknown} tenant databases were not checked lately"));
    }
    let total = healthy + unhealthy + unknown;
    let value = json!({"total": total, "healthy": healthy, "unhealthy": unhealthy, "unknown": unknown});
    Ok(Part::new(value, reasons))
}

type Row = (
    u64,
    String,
    String,
    String,
    String,
    Option<String>,
    Option<u32>,
    Option<u64>,
    Option<u64>,
    Option<NaiveDateTime>,
    String,
);

/// A page in the order of the tenants' creation, and where the next one begins.
pub async fn page(
    pool: &MySqlPool,
    Tenants { page, status }: &Tenants,
) -> Result<(Value, Option<String>), sqlx::Error> {
    let select = format!(
        "SELECT position, tenant_id, tenant_name, database_name, server_id, reason, response_us, total_orders,
                total_study_records, checked_at, CONVERT(status USING utf8mb4)
         {} WHERE position > ? AND (? IS NULL OR status = ?) ORDER BY position LIMIT ?",
        from_checks()
    );
    let rows: Vec<Row> =
        sqlx::query_as(&select).bind(page.after).bind(*status).bind(*status).bind(page.rows()).fetch_all(pool).await?;
    let (rows, next) = page.cut(rows, |row| row.0);
    let tenants = rows.into_iter().map(
        |(_, tenant_id, tenant_name, database_name, server, reason, response, orders, studies, checked, status)| {
            let mut tenant = json!({
                "tenant_id": tenant_id,
                "tenant_name": tenant_name,
                "database_name": database_name,
                "server_id": server,
                "status": status,
                "total_orders": orders,
                "total_study_records": studies,
                "response_time_ms": response.map(|micros| f64::from(micros) / 1000.0),
                "checked_at": checked.map(|time| time.and_utc()),
            });
            if let Some(reason) = reason.filter(|_| status == "unhealthy") {
                tenant["error"] = reason.into();
            }
            tenant
        },
    );
    Ok((tenants.collect(), next))
}
