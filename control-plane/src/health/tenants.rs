//! A page of what the newest checks of the tenant databases found.

use super::rounds::STALE;
use crate::cursor::Page;
use chrono::NaiveDateTime;
use serde_json::{Value, json};
use sqlx::MySqlPool;

/// Which tenants a caller wants to see.
#[derive(Debug)]
pub struct Tenants {
    pub page: Page,
    /// Only tenants whose database has this status.
    pub status: Option<&'static str>,
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

/// A page in the order of the tenants' creation, and where the next one begins. How many orders and study records a
/// tenant has is what the newest statistics say: no check counts them.
pub async fn page(
    pool: &MySqlPool,
    Tenants { page, status }: &Tenants,
) -> Result<(Value, Option<String>), sqlx::Error> {
    let of_check = format!("CASE WHEN h.checked_at IS NULL OR {STALE} THEN 'unknown' ELSE h.status END");
    let counted = |column: &str| {
        format!(
            "(SELECT d.{column} FROM saas_tenant_daily_statistics d WHERE d.tenant_id = s.tenant_id
              ORDER BY d.stat_date DESC LIMIT 1)"
        )
    };
    let select = format!(
        "SELECT s.created_position, s.tenant_id, t.tenant_name, t.database_name, s.server_id, h.reason, h.response_us,
                {}, {}, h.checked_at, CONVERT({of_check} USING utf8mb4)
         FROM saas_tenant_snapshots s JOIN saas_tenants t ON t.tenant_id = s.tenant_id
         LEFT JOIN saas_tenant_health h ON h.tenant_id = s.tenant_id
         LEFT JOIN saas_health_rounds r ON r.server_id = s.server_id
         WHERE s.status IN (1, 2) AND s.created_position > ? AND (? IS NULL OR {of_check} = ?)
         ORDER BY s.created_position LIMIT ?",
        counted("total_orders"),
        counted("total_study_records")
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
