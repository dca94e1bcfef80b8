//! Drift: what the newest audit found, and the request for another.

use crate::admin::Caller;
use crate::admin::answer::{Answer, answer};
use crate::app::App;
use crate::audit::report::{Finding, Report, newest};
use crate::audit::{RequestAudit, system_database};
use axum::Json;
use axum::extract::State;
use kernel::http::ApiError;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Body of `POST /admin/audit`, which may be left out.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AuditWish)]
pub struct NewAudit {
    /// Repair what is safe: rights, limits, locks and users, never a database.
    #[serde(default)]
    repair: Option<bool>,
}

/// The known differences.
#[derive(Serialize, ToSchema)]
#[schema(as = KnownDrift)]
pub struct Known {
    /// The newest audit; null before the first.
    audit: Option<Report>,
    /// What the system database alone shows now.
    now: Vec<Finding>,
    /// How many differences of both are left.
    differences_left: u64,
}

/// Compare the database servers with the events. The audit has ended once its `status` is not `running`.
#[utoipa::path(
    post, path = "/admin/audit", tag = "audit",
    request_body = Option<NewAudit>,
    responses( (status = 202, description = "The audit: a new one, or the one in work", body = Report)),
)]
pub async fn request(State(app): State<App>, caller: Caller) -> Result<Answer, ApiError> {
    let NewAudit { repair } = caller.json_or_default()?;
    let request = RequestAudit { repair: repair.unwrap_or_default() };
    answer(&app, &caller, &request, |report| Answer::accepted(report).at("/admin/audit".into())).await
}

/// What the newest audit found, and what the system database alone shows now.
#[utoipa::path(
    get, path = "/admin/audit", tag = "audit",
    responses( (status = 200, description = "Drift", body = Known)),
)]
pub async fn get(State(app): State<App>, _: Caller) -> Result<Json<Known>, ApiError> {
    let mut connection = app.store.pool().acquire().await?;
    let audit = newest(&mut connection).await?;
    let now = system_database::findings(&mut connection).await?;
    let differences_left = audit.as_ref().map_or(0, Report::left) + now.len();
    Ok(Json(Known { audit, now, differences_left: differences_left as u64 }))
}
