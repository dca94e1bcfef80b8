//! How everything is.

use super::auth::authenticate;
use crate::health::{PATIENCE, Question, critical, report};
use crate::serve::App;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, Method};
use kernel::http::{ApiError, ApiQuery, Code};
use serde_json::Value;
use utoipa::ToSchema;

/// The answer, as far as every one has it.
#[derive(ToSchema)]
#[schema(as = SystemHealth)]
#[expect(dead_code, reason = "it only describes the answer, which its parts put together")]
pub struct Report {
    /// `healthy`, `degraded`, `critical`.
    #[schema(pattern = "^(healthy|degraded|critical)$")]
    overall_status: String,
    /// What somebody should look at.
    reasons: Vec<String>,
    /// The system database, with `status`.
    system_database: Value,
    /// A page of the tenants' databases, each with `status`: healthy, unhealthy, unknown.
    tenant_databases: Vec<Value>,
    /// Pools of this process (`system_pool`), of tenants (`tenant_pools`) and of each node (`nodes`).
    connection_pools: Value,
    /// How far the relay is.
    relay: Option<Value>,
    /// Queues of the broker.
    broker: Option<Value>,
    /// Jobs by state.
    jobs: Option<Value>,
    /// Who leads the schedules, and which of them failed.
    scheduler: Option<Value>,
    /// Where the next page of `tenant_databases` begins.
    next_cursor: Option<String>,
}

/// How everything is: the system database, tenants' databases, pools of connections, relay, broker, jobs, schedules.
///
/// Also answers when the system database is away: then nobody can be authenticated, and everybody learns that, and no more.
#[utoipa::path(get, path = "/admin/health", tag = "health", params(Question), responses(
    (status = 200, description = "`overall_status` is healthy, degraded (see `reasons`) or critical", body = Report),
    (status = 422, description = "invalid_limit, invalid_cursor, invalid_status")))]
pub async fn show(
    State(app): State<App>,
    ApiQuery(question): ApiQuery<Question>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    let page = question.understand()?;
    match tokio::time::timeout(PATIENCE, authenticate(&app, &headers, &Method::GET)).await {
        Ok(Ok(_)) => report(&app, &page).await.map(Json),
        Ok(Err(error)) if !matches!(error.code(), Code::Unavailable | Code::Internal) => Err(error),
        Ok(Err(_)) | Err(_) => Ok(Json(critical(&app))),
    }
}
