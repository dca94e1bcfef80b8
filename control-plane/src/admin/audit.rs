//! Drift: what the newest audit found, and asking for another.

use super::Caller;
use crate::audit::kept;
use crate::audit::report::{Finding, Report, newest};
use crate::audit::request::RequestAudit;
use crate::serve::App;
use crate::write::{Answer, answer};
use axum::Json;
use axum::extract::State;
use kernel::http::ApiError;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Body of `POST /admin/audit`, which may be left out.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AuditWish)]
pub struct Wish {
    /// Repair what is safe: rights, limits, locks and users; never a database.
    #[serde(default)]
    repair: Option<bool>,
}

/// What is known of drift.
#[derive(Serialize, ToSchema)]
#[schema(as = KnownDrift)]
pub struct Known {
    /// The newest audit; null before the first.
    audit: Option<Report>,
    /// What the system database alone shows at this moment.
    now: Vec<Finding>,
    /// Differences of both that are left.
    differences_left: u64,
}

/// Compare the database servers with the events. It is done once its `status` is not `running`.
#[utoipa::path(post, path = "/admin/audit", tag = "audit", request_body = Option<Wish>, responses(
    (status = 202, description = "The audit: a new one, or the one in work", body = Report)))]
pub async fn request(State(app): State<App>, caller: Caller) -> Result<Answer, ApiError> {
    let Wish { repair } = caller.json_or_default()?;
    answer(&app, &caller, &RequestAudit { repair: repair.unwrap_or_default() }).await
}

/// What the newest audit found, and what the system database shows now.
#[utoipa::path(get, path = "/admin/audit", tag = "audit", responses(
    (status = 200, description = "Drift", body = Known)))]
pub async fn get(State(app): State<App>, _: Caller) -> Result<Json<Known>, ApiError> {
    let look = async {
        let mut connection = app.store.pool().acquire().await?;
        let audit = newest(&mut connection).await?;
        let now = kept::look(&mut connection).await?;
        Ok((audit, now))
    };
    let (audit, now) = look.await.map_err(|error| ApiError::database(&error))?;
    let differences_left = audit.as_ref().map_or(0, Report::left) + now.len();
    Ok(Json(Known { audit, now, differences_left: differences_left as u64 }))
}
