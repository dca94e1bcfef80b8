//! What the workers' newest looks at the tenant databases say.

use super::Part;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::NaiveDateTime;
use kernel::http::{ApiError, parse_limit};
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::MySqlPool;
use utoipa::IntoParams;

/// A look that is older says nothing of the present.
const STALE_SECONDS: u32 = 180;

/// Query of `GET /admin/health`.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Question {
    /// Most tenants of the page; 100 unless told otherwise.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// Only tenants whose database is so.
    #[param(pattern = "^(healthy|unhealthy|unknown)$")]
    status: Option<String>,
}

/// Which tenants to show.
#[derive(Debug)]
pub struct Page {
    limit: u32,
    after: u64,
    status: Option<&'static str>,
}

impl Question {
    /// 422 with the name of what is wrong.
    pub fn understand(&self) -> Result<Page, ApiError> {
        let status = self.status.as_deref().map(|text| {
            let known = ["healthy", "unhealthy", "unknown"].into_iter().find(|known| *known == text);
            known.ok_or_else(|| ApiError::invalid("status", "status", "healthy, unhealthy or unknown"))
        });
        let after = self.cursor.as_deref().map(|text| {
            let decoded = URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            let position = decoded.and_then(|text| text.strip_prefix('h')?.parse().ok());
            position.ok_or_else(|| ApiError::invalid("cursor", "cursor", "not a next_cursor of this list"))
        });
        Ok(Page {
            limit: parse_limit(self.limit.as_deref(), 100, 1000)?,
            after: after.transpose()?.unwrap_or(0),
            status: status.transpose()?,
        })
    }
}

/// Tenants that are to be served, with the status of the newest look.
fn from_looks() -> String {
    format!(
        "FROM (SELECT s.created_position AS position, s.tenant_id, t.tenant_name, t.database_name, s.server_id, h.reason,
                   h.response_us, h.total_orders, h.total_study_records, h.checked_at,
                   CASE WHEN h.checked_at IS NULL OR h.checked_at < UTC_TIMESTAMP(6) - INTERVAL {STALE_SECONDS} SECOND
                        THEN 'unknown' ELSE h.status END AS status
               FROM saas_tenant_snapshots s JOIN saas_tenants t ON t.tenant_id = s.tenant_id
               LEFT JOIN saas_tenant_health h ON h.tenant_id = s.tenant_id WHERE s.status IN (1, 2)) looks"
    )
}

pub async fn summary(pool: &MySqlPool) -> Result<Part, sqlx::Error> {
    let count = format!("SELECT CONVERT(status USING utf8mb4), COUNT(*) {} GROUP BY status", from_looks());
    let rows: Vec<(String, i64)> = sqlx::query_as(&count).fetch_all(pool).await?;
    let of = |status: &str| rows.iter().find(|(name, _)| name == status).map_or(0, |(_, count)| *count);
    let (healthy, unhealthy, unknown) = (of("healthy"), of("unhealthy"), of("unknown"));
    let mut reasons = Vec::new();
    if unhealthy > 0 {
        reasons.push(format!("{unhealthy} tenant databases are not healthy"));
    }
    if unknown > 0 {
        reasons.push(format!("{unknown} tenant databases were not looked at lately"));
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
pub async fn page(pool: &MySqlPool, page: &Page) -> Result<(Value, Option<String>), sqlx::Error> {
    let select = format!(
        "SELECT position, tenant_id, tenant_name, database_name, server_id, reason, response_us, total_orders,
                total_study_records, checked_at, CONVERT(status USING utf8mb4)
         {} WHERE position > ? AND (? IS NULL OR status = ?) ORDER BY position LIMIT ?",
        from_looks()
    );
    let mut rows: Vec<Row> = sqlx::query_as(&select)
        .bind(page.after)
        .bind(page.status)
        .bind(page.status)
        .bind(page.limit + 1)
        .fetch_all(pool)
        .await?;
    let more = rows.len() > page.limit as usize;
    rows.truncate(page.limit as usize);
    let next = rows.last().filter(|_| more).map(|row| URL_SAFE_NO_PAD.encode(format!("h{}", row.0)));
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
