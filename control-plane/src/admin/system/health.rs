//! `GET /admin/health`: the health of the whole system.

use crate::admin::AdminState;
use crate::admin::auth::{Refused, authenticate};
use crate::cursor::Page;
use crate::health::{PATIENCE, Tenants};
use axum::Json;
use axum::extract::{Request, State};
use kernel::http::{ApiError, ApiQuery};
use serde::Deserialize;
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

/// Query of `GET /admin/health`.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Question {
    /// Most tenants of the page; 100 by default.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// Only tenants whose database has this status.
    #[param(pattern = "^(healthy|unhealthy|unknown)$")]
    status: Option<String>,
}

impl Question {
    fn parse(&self) -> Result<Tenants, ApiError> {
        let page = Page::parse('h', self.limit.as_deref(), self.cursor.as_deref(), (100, 1000))?;
        let status = self.status.as_deref().map(|text| {
            let known = ["healthy", "unhealthy", "unknown"].into_iter().find(|known| *known == text);
            known.ok_or_else(|| ApiError::invalid("status", "status", "healthy, unhealthy or unknown"))
        });
        Ok(Tenants { page, status: status.transpose()? })
    }
}

/// The members that every answer has.
#[derive(ToSchema)]
#[schema(as = SystemHealth)]
#[expect(dead_code, reason = "it only describes the answer, which its parts put together")]
pub struct Report {
    /// `healthy`, `degraded`, `critical`.
    #[schema(pattern = "^(healthy|degraded|critical)$")]
    overall_status: String,
    /// What an operator should check, a sentence each.
    reasons: Vec<String>,
    /// The system database, with `status`.
    system_database: Value,
    /// A page of the tenants' databases, each with `status`: healthy, unhealthy, unknown.
    tenant_databases: Vec<Value>,
    /// Pools of this process (`system_pool`), of tenants (`tenant_pools`) and of each node (`nodes`).
    connection_pools: Value,
    /// How far the relay has published the events.
    relay: Option<Value>,
    /// The queues of the broker.
    broker: Option<Value>,
    /// Jobs by state.
    jobs: Option<Value>,
    /// Whether a process leads the schedules, and which of them failed.
    scheduler: Option<Value>,
    /// Where the next page of `tenant_databases` begins.
    next_cursor: Option<String>,
}

/// The health of the whole system: the system database, tenants' databases, pools of connections, relay, broker, jobs,
/// schedules.
///
/// It also answers while the system database is away. No caller can be authenticated then, so every caller gets the
/// same answer, which says no more than that.
#[utoipa::path(
    get, path = "/admin/health", tag = "health",
    params(Question),
    responses(
        (
            status = 200,
            description = "`overall_status` is healthy, degraded (see `reasons`) or critical",
            body = Report,
        ),
        (status = 422, description = "invalid_limit, invalid_cursor, invalid_status"),
    ),
)]
pub async fn show(
    State(state): State<AdminState>,
    ApiQuery(question): ApiQuery<Question>,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let tenants = question.parse()?;
    let (parts, _) = request.into_parts();
    match tokio::time::timeout(PATIENCE, authenticate(&state, &parts)).await {
        Ok(Ok((_, _turn))) => Ok(Json(state.health.report(&tenants).await)),
        // A control plane that has too much to do says nothing about the system.
        Ok(Err(Refused::Caller(error))) => Err(error),
        Ok(Err(Refused::Database(_))) | Err(_) => Ok(Json(state.health.critical())),
    }
}
