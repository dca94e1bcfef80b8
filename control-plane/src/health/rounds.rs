//! What the newest round of checks of each database server found, and how old it is. Nothing here reads rows of
//! tenants: the provisioner that did the round has counted.

use super::Part;
use chrono::NaiveDateTime;
use serde_json::json;
use sqlx::MySqlPool;

/// Whether a round `r` is too old to say anything of the present: two were missed, or one lasts very long. A program
/// that does not store its period has one of a minute.
pub const STALE: &str = "(r.ended_at IS NULL OR r.ended_at
    < UTC_TIMESTAMP(6) - INTERVAL (3 * COALESCE(r.period_seconds, 60) + 10) SECOND)";

/// The newest rounds, by server and added up.
pub struct Rounds {
    pub servers: Part,
    pub tenants: Part,
}

type Row = (String, Option<String>, Option<NaiveDateTime>, Option<i64>, bool, i64, i64);

/// Reads the newest rounds of the servers with tenants that are to be served.
pub async fn newest(pool: &MySqlPool) -> Result<Rounds, sqlx::Error> {
    let rows: Vec<Row> = sqlx::query_as(&format!(
        "SELECT s.server_id, r.reason, r.ended_at, TIMESTAMPDIFF(SECOND, r.ended_at, UTC_TIMESTAMP(6)), {STALE},
                CAST(COALESCE(r.healthy, 0) AS SIGNED), CAST(COALESCE(r.unhealthy, 0) AS SIGNED)
         FROM saas_database_servers s LEFT JOIN saas_health_rounds r ON r.server_id = s.server_id
         WHERE EXISTS (SELECT 1 FROM saas_tenant_snapshots t WHERE t.server_id = s.server_id AND t.status IN (1, 2))
         ORDER BY s.server_id"
    ))
    .fetch_all(pool)
    .await?;
    let (mut reasons, mut servers) = (Vec::new(), Vec::new());
    let (mut healthy, mut unhealthy, mut unknown, mut oldest) = (0, 0, 0, None);
    for (server, reason, ended, age, is_stale, well, ill) in rows {
        let status = match (&reason, is_stale) {
            (_, true) => {
                reasons.push(format!("no provisioner checks the tenant databases of server {server}"));
                unknown += well + ill;
                "unknown"
            }
            (Some(reason), false) => {
                reasons.push(reason.clone());
                "unhealthy"
            }
            (None, false) => "healthy",
        };
        if !is_stale {
            (healthy, unhealthy) = (healthy + well, unhealthy + ill);
        }
        oldest = oldest.max(age);
        servers.push(json!({
            "server_id": server,
            "status": status,
            "error": reason.filter(|_| !is_stale),
            "checked_at": ended.map(|time| time.and_utc()),
            "age_seconds": age,
        }));
    }
    let mut by_server = Part::new(json!({}), reasons);
    by_server.value = json!(servers);
    let total = healthy + unhealthy + unknown;
    let summary = json!({
        "total": total, "healthy": healthy, "unhealthy": unhealthy, "unknown": unknown, "age_seconds": oldest,
    });
    let ill = (unhealthy > 0).then(|| format!("{unhealthy} tenant databases are not healthy"));
    Ok(Rounds { servers: by_server, tenants: Part::new(summary, ill.into_iter().collect()) })
}
