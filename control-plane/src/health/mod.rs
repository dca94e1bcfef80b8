//! The health of the whole system, as `GET /admin/health` tells it.
//!
//! **Rules.** `critical`: the system database does not answer, and nothing can be changed. `degraded`: anything else that
//! somebody should look at, each with a sentence in `reasons`. `healthy`: nothing of that. What cannot be known is not
//! called healthy. Everything but the page of tenants is put together once for all who ask within [`KEPT`]; the tenants'
//! databases are looked at by the workers, in a round that is asked for when the newest one is older than
//! [`rounds::FRESH_SECONDS`].
//!
//! The endpoint also answers while the system database is away. Nobody can be authenticated then, so the answer says no
//! more than that.

mod broker;
mod nodes;
mod rounds;
mod system;
mod tenants;
mod work;

pub use broker::Broker;
pub use nodes::{FORGOTTEN_MINUTES, GONE_SECONDS};
pub use tenants::{Page, Question};

use crate::serve::App;
use chrono::Utc;
use kernel::http::ApiError;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// So long an answer is good for others as well.
const KEPT: Duration = Duration::from_secs(2);
/// Longest wait for the system database.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// The newest answer.
#[derive(Default)]
pub struct Kept(tokio::sync::Mutex<Option<(Instant, Value)>>);

/// A part of the system, with what is wrong with it.
struct Part {
    value: Value,
    reasons: Vec<String>,
}

impl Part {
    /// Its members, and `status`: `healthy` if there is no reason against it.
    fn new(mut value: Value, reasons: Vec<String>) -> Self {
        value["status"] = if reasons.is_empty() { "healthy" } else { "degraded" }.into();
        Self { value, reasons }
    }
}

/// The answer while the system database is away.
pub fn critical(app: &App) -> Value {
    let now = Utc::now();
    json!({
        "overall_status": "critical",
        "reasons": ["the system database does not answer"],
        "checked_at": now,
        "system_database": {
            "status": "unhealthy",
            "error": "the system database does not answer",
            "checked_at": now,
        },
        "tenant_databases": [],
        "connection_pools": {"system_pool": system::pool(app), "tenant_pools": [], "nodes": []},
    })
}

/// The answer, with a page of tenants.
pub async fn report(app: &App, page: &Page) -> Result<Value, ApiError> {
    let mut kept = app.health.0.lock().await;
    let answer = match &*kept {
        Some((at, answer)) if at.elapsed() < KEPT => answer.clone(),
        _ => {
            let Ok(Ok(answer)) = tokio::time::timeout(PATIENCE + rounds::WAIT, assemble(app)).await else {
                *kept = None;
                return Ok(critical(app));
            };
            *kept = Some((Instant::now(), answer.clone()));
            answer
        }
    };
    drop(kept);
    let mut answer = answer;
    match tokio::time::timeout(PATIENCE, tenants::page(app.store.pool(), page)).await {
        Ok(Ok((tenants, next))) => {
            answer["tenant_databases"] = tenants;
            answer["next_cursor"] = json!(next);
            Ok(answer)
        }
        Ok(Err(_)) | Err(_) => Ok(critical(app)),
    }
}

async fn assemble(app: &App) -> Result<Value, sqlx::Error> {
    let pool = app.store.pool();
    let system_database = system::check(app).await?;
    let rounds = rounds::renew(app).await?;
    let tenants = tenants::summary(pool).await?;
    let nodes = nodes::check(app).await?;
    let relay = work::relay(pool).await?;
    let jobs = work::jobs(pool).await?;
    let scheduler = work::scheduler(pool).await?;
    let broker = app.broker.report();
    let mut reasons = Vec::new();
    let mut answer = json!({
        "checked_at": Utc::now(),
        "system_database": system_database,
        "tenant_databases": [],
    });
    for (name, part) in [
        ("tenant_summary", tenants),
        ("database_servers", rounds),
        ("connection_pools", nodes),
        ("relay", relay),
        ("broker", broker),
        ("jobs", jobs),
        ("scheduler", scheduler),
    ] {
        answer[name] = part.value;
        reasons.extend(part.reasons);
    }
    answer["overall_status"] = if reasons.is_empty() { "healthy" } else { "degraded" }.into();
    answer["reasons"] = json!(reasons);
    Ok(answer)
}
