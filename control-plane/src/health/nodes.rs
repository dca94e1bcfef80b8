//! The data nodes and the pools of connections, as the nodes report them.

use super::{Part, system};
use crate::app::App;
use chrono::NaiveDateTime;
use serde_json::{Value, json};

/// Seconds after which a node that does not report is gone; it reports every second.
pub const GONE_SECONDS: u32 = 10;
/// Minutes after which a node that is gone is not reported any more.
pub const FORGOTTEN_MINUTES: u32 = 10;
/// A live node that is so many seconds behind the events is stuck.
const BEHIND_SECONDS: i64 = 5;

type Row = (String, u64, NaiveDateTime, Option<String>, bool, Option<i64>);

pub async fn check(app: &App) -> Result<Part, sqlx::Error> {
    // A restarted node has another id and, if it was given one, the same name.
    let rows: Vec<Row> = sqlx::query_as(&format!(
        "SELECT n.node_name, n.position, n.seen_at, n.report,
                (n.seen_at < UTC_TIMESTAMP(6) - INTERVAL {GONE_SECONDS} SECOND) <> 0,
                (SELECT TIMESTAMPDIFF(SECOND, e.occurred_at, UTC_TIMESTAMP(6)) FROM saas_events e
                 WHERE e.position = n.position + 1)
         FROM saas_nodes n WHERE n.seen_at > UTC_TIMESTAMP(6) - INTERVAL {FORGOTTEN_MINUTES} MINUTE
           AND NOT EXISTS (SELECT 1 FROM saas_nodes newer
                           WHERE newer.node_name = n.node_name AND newer.seen_at > n.seen_at
                           AND n.seen_at < UTC_TIMESTAMP(6) - INTERVAL {GONE_SECONDS} SECOND)
         ORDER BY n.node_name, n.node_id LIMIT 1000"
    ))
    .fetch_all(app.store.pool())
    .await?;
    let mut reasons = Vec::new();
    if rows.iter().all(|row| row.4) {
        reasons.push("no data node serves tenants".to_owned());
    }
    let (mut nodes, mut tenant_pools) = (Vec::new(), Vec::new());
    for (name, position, seen, report, gone, behind) in rows {
        let report: Value = report.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        let mut found = Vec::new();
        if gone {
            found.push(format!("data node {name} gives no sign of life"));
        } else {
            if behind.is_some_and(|seconds| seconds > BEHIND_SECONDS) {
                found.push(format!("data node {name} does not follow the events"));
            }
            for (part, how) in report["parts"].as_object().into_iter().flatten() {
                if how["status"] != "healthy" {
                    found.push(format!("data node {name} does without its {part}"));
                }
            }
            let pools = report["tenant_pools"].as_array().cloned().unwrap_or_default();
            tenant_pools.extend(pools.into_iter().map(|mut pool| {
                pool["node"] = name.as_str().into();
                pool
            }));
        }
        let status = match (gone, found.is_empty()) {
            (true, _) => "gone",
            (false, true) => "healthy",
            (false, false) => "degraded",
        };
        nodes.push(json!({
            "node_name": name,
            "status": status,
            "position": position,
            "seen_at": seen.and_utc(),
            "tenant_connections": report["tenant_connections"],
            "system_pool": report["system_pool"],
            "parts": report["parts"],
        }));
        reasons.extend(found);
    }
    let value = json!({"system_pool": system::pool(app), "tenant_pools": tenant_pools, "nodes": nodes});
    Ok(Part::new(value, reasons))
}
