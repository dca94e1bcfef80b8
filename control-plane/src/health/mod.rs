//! The health of the whole system, as `GET /admin/health` reports it.
//!
//! **Rules.** `critical`: the system database does not answer, so nothing can be changed. `degraded`: anything else
//! that an operator should check, each with a sentence in `reasons`. `healthy`: no reason. What cannot be known is not
//! called healthy. All requests within [`FRESH`] share one answer, except for its page of tenants. The workers check
//! the tenants' databases in rounds, every `HEALTH_EVERY` seconds. The answer shows what the newest round found and how
//! old it is; it waits for no round, and its price does not grow with the number of tenants.
//!
//! The endpoint also answers while the system database is away. No caller can be authenticated then, so the answer says
//! no more than that.

mod broker;
mod census;
mod nodes;
mod rounds;
mod system;
mod tenants;
mod work;

pub use broker::Broker;
pub use census::Census;
pub use nodes::{FORGOTTEN_MINUTES, GONE_SECONDS};
pub use tenants::Tenants;

use crate::app::App;
use chrono::Utc;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// How long requests share an answer.
const FRESH: Duration = Duration::from_secs(2);
/// Longest wait for the system database.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// The health of the system, and the newest answer. Clones share the answer.
#[derive(Clone)]
pub struct SystemHealth {
    app: App,
    broker: Broker,
    census: Census,
    newest: Arc<Mutex<Option<(Instant, Value)>>>,
}

impl SystemHealth {
    pub fn new(app: App, broker: Broker, census: Census) -> Self {
        Self { app, broker, census, newest: Arc::default() }
    }

    /// The answer while the system database is away.
    pub fn critical(&self) -> Value {
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
            "connection_pools": {"system_pool": system::pool(&self.app), "tenant_pools": [], "nodes": []},
        })
    }

    /// The answer, with the tenants that the caller wants to see.
    pub async fn report(&self, tenants: &Tenants) -> Value {
        let Some(mut answer) = self.newest().await else { return self.critical() };
        match tokio::time::timeout(PATIENCE, tenants::page(self.app.store.pool(), tenants)).await {
            Ok(Ok((tenants, next))) => {
                answer["tenant_databases"] = tenants;
                answer["next_cursor"] = json!(next);
                answer
            }
            Ok(Err(_)) | Err(_) => self.critical(),
        }
    }

    /// The shared part of the answer; `None` if the system database does not give it in time.
    async fn newest(&self) -> Option<Value> {
        let mut newest = self.newest.lock().await;
        match &*newest {
            Some((at, answer)) if at.elapsed() < FRESH => Some(answer.clone()),
            _ => {
                let assembled = tokio::time::timeout(PATIENCE, self.assemble()).await;
                let answer = match assembled {
                    Ok(Ok(answer)) => Some(answer),
                    Ok(Err(error)) => {
                        tracing::warn!(cause = %error, "the health of the system cannot be read");
                        None
                    }
                    Err(_) => None,
                };
                *newest = answer.clone().map(|answer| (Instant::now(), answer));
                answer
            }
        }
    }

    async fn assemble(&self) -> Result<Value, sqlx::Error> {
        let app = &self.app;
        let pool = app.store.pool();
        let system_database = system::check(app, &self.census).await?;
        let rounds = rounds::newest(pool).await?;
        let nodes = nodes::check(app).await?;
        let relay = work::relay(pool).await?;
        let jobs = work::jobs(pool).await?;
        let scheduler = work::scheduler(pool).await?;
        let broker = self.broker.report();
        let mut reasons = Vec::new();
        let mut answer = json!({
            "checked_at": Utc::now(),
            "system_database": system_database,
            "tenant_databases": [],
        });
        for (name, part) in [
            ("tenant_summary", rounds.tenants),
            ("database_servers", rounds.servers),
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
}

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
