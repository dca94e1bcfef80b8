//! The system database: whether it answers, how fast, and how much there is in it.

use crate::app::App;
use chrono::Utc;
use serde_json::{Value, json};
use std::time::Instant;

pub async fn check(app: &App) -> Result<Value, sqlx::Error> {
    let began = Instant::now();
    sqlx::query("SELECT 1").execute(app.store.pool()).await?;
    let response = began.elapsed();
    let (tenants, users, members): (i64, i64, i64) = sqlx::query_as(
        "SELECT (SELECT COUNT(*) FROM saas_tenants WHERE status = 1 AND deleted = 0), (SELECT COUNT(*) FROM user_info),
                (SELECT COUNT(*) FROM saas_tenant_users WHERE status = 1 AND deleted = 0)",
    )
    .fetch_one(app.store.pool())
    .await?;
    Ok(json!({
        "status": "healthy",
        "active_tenants": tenants,
        "total_users": users,
        "active_tenant_users": members,
        "response_time_ms": response.as_micros() as f64 / 1000.0,
        "checked_at": Utc::now(),
    }))
}

/// This process's own pool.
pub fn pool(app: &App) -> Value {
    let pool = app.store.pool();
    let (size, idle) = (pool.size() as usize, pool.num_idle());
    json!({
        "size": size,
        "checked_in": idle,
        "checked_out": size.saturating_sub(idle),
        "limit": pool.options().get_max_connections(),
    })
}
