//! Schedules: their last and next runs, and the request for a run now.

use crate::admin::answer::{Answer, answer};
use crate::admin::{AdminState, Caller};
use crate::app::App;
use crate::schedule::{Report, RequestRun, Run, find, report};
use axum::Json;
use axum::extract::State;
use kernel::http::{ApiError, ApiPath, Code};

/// All schedules, with their last and next runs.
#[utoipa::path(
    get, path = "/admin/schedules", tag = "schedules",
    responses( (status = 200, description = "The schedules", body = Report)),
)]
pub async fn list(State(state): State<AdminState>, _: Caller) -> Result<Json<Report>, ApiError> {
    Ok(Json(report(state.app.store.pool(), &state.schedules).await?))
}

/// Request a run of a schedule now.
#[utoipa::path(
    post, path = "/admin/schedules/{name}/run", tag = "schedules",
    params(("name" = String, Path, description = "As the list has it")),
    responses( (status = 202, description = "The run", body = Run), (status = 404, description = "schedule_not_found")),
)]
pub async fn run(State(app): State<App>, ApiPath(name): ApiPath<String>, caller: Caller) -> Result<Answer, ApiError> {
    let schedule = find(&name).ok_or(Code::ScheduleNotFound)?.name;
    answer(&app, &caller, &RequestRun { schedule }, Answer::accepted).await
}
