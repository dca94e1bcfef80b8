//! The system database: whether it answers, how fast, and how much there is in it.

use super::Census;
use crate::app::App;
use chrono::Utc;
use serde_json::{Value, json};
use std::time::Instant;

pub async fn check(app: &App, census: &Census) -> Result<Value, sqlx::Error> {
    let began = Instant::now();
    sqlx::query("SELECT 1").execute(app.store.pool()).await?;
    let response = began.elapsed();
    // By the index on `state`, a few thousand entries at most.
    let active: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM saas_tenant_snapshots WHERE state = 'active'")
        .fetch_one(app.store.pool())
        .await?;
    let counted = census.newest();
    Ok(json!({
        "status": "healthy",
        "active_tenants": active,
        "total_users": counted.map(|counts| counts.users),
        "active_tenant_users": counted.map(|counts| counts.members),
        "users_counted_at": counted.map(|counts| counts.at),
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
