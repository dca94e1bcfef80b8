//! Requests a check of all tenant databases when the newest is not new enough, and waits a few seconds for it.

use super::Part;
use crate::app::App;
use chrono::NaiveDateTime;
use serde_json::json;
use std::time::Duration;
use tokio::time::Instant;

/// A round that began so long ago is new enough.
pub const FRESH_SECONDS: u32 = 5;
/// Longest wait for a new one. Servers that hang are noticed after two seconds.
pub const WAIT: Duration = Duration::from_secs(5);

type Row = (String, Option<String>, Option<NaiveDateTime>, Option<NaiveDateTime>, bool);

/// Servers with tenants that are to be served: why one could not be reached, the begin and end of the newest round that
/// was done, and whether it is new enough and includes every tenant.
const ROUNDS: &str = "SELECT t.server_id, r.reason, r.done_began_at, r.ended_at,
        (r.done_began_at IS NOT NULL AND r.done_began_at >= ? AND NOT EXISTS (SELECT 1 FROM saas_tenant_snapshots s
            WHERE s.server_id = t.server_id AND s.status IN (1, 2)
              AND NOT EXISTS (SELECT 1 FROM saas_tenant_health h WHERE h.tenant_id = s.tenant_id))) <> 0
    FROM (SELECT DISTINCT server_id FROM saas_tenant_snapshots WHERE status IN (1, 2)) t
    LEFT JOIN saas_health_rounds r ON r.server_id = t.server_id ORDER BY t.server_id";

pub async fn renew(app: &App) -> Result<Part, sqlx::Error> {
    let pool = app.store.pool();
    let (now, enough): (NaiveDateTime, NaiveDateTime) =
        sqlx::query_as(&format!("SELECT UTC_TIMESTAMP(6), UTC_TIMESTAMP(6) - INTERVAL {FRESH_SECONDS} SECOND"))
            .fetch_one(pool)
            .await?;
    let mut rows: Vec<Row> = sqlx::query_as(ROUNDS).bind(enough).fetch_all(pool).await?;
    let requested: Vec<String> = rows.iter().filter(|row| !row.4).map(|row| row.0.clone()).collect();
    for server in &requested {
        sqlx::query(
            "INSERT INTO saas_health_rounds (server_id, wanted_at) VALUES (?, ?)
             ON DUPLICATE KEY UPDATE wanted_at = GREATEST(wanted_at, VALUES(wanted_at))",
        )
        .bind(server)
        .bind(now)
        .execute(pool)
        .await?;
    }
    if !requested.is_empty() {
        app.workers.notify_one();
        let deadline = Instant::now() + WAIT - Duration::from_millis(500);
        let mut pause = Duration::from_millis(10);
        while Instant::now() < deadline && rows.iter().any(|row| !row.4) {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(100));
            // A round that began before the request counts as well, if it is new enough.
            rows = sqlx::query_as(ROUNDS).bind(enough).fetch_all(pool).await?;
        }
    }
    let mut reasons = Vec::new();
    let mut servers = Vec::new();
    for (server, reason, _, ended, is_new) in rows {
        let status = match (&reason, is_new) {
            (_, false) => {
                reasons.push(format!("no provisioner checks the tenant databases of server {server}"));
                "unknown"
            }
            (Some(reason), true) => {
                reasons.push(reason.clone());
                "unhealthy"
            }
            (None, true) => "healthy",
        };
        let checked = ended.map(|time| time.and_utc());
        servers.push(
            json!({"server_id": server, "status": status, "error": reason.filter(|_| is_new), "checked_at": checked}),
        );
    }
    let mut part = Part::new(json!({}), reasons);
    part.value = json!(servers);
    Ok(part)
}
