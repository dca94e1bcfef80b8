//! What is done by the clock: last and next runs, and asking for one now.

use super::Caller;
use crate::schedule::{Report, RequestRun, Run, find, report};
use crate::serve::App;
use crate::write::{Answer, answer};
use axum::Json;
use axum::extract::State;
use kernel::http::{ApiError, ApiPath, Code};

/// What is done by the clock, with last and next runs.
#[utoipa::path(get, path = "/admin/schedules", tag = "schedules", responses(
    (status = 200, description = "The schedules", body = Report)))]
pub async fn list(State(app): State<App>, _: Caller) -> Result<Json<Report>, ApiError> {
    report(app.store.pool(), &app.plan).await.map(Json).map_err(|error| ApiError::database(&error))
}

/// Ask for a run now.
#[utoipa::path(post, path = "/admin/schedules/{name}/run", tag = "schedules", params(("name" = String, Path, description = "As the list has it")), responses(
    (status = 202, description = "The run", body = Run),
    (status = 404, description = "schedule_not_found")))]
pub async fn run(State(app): State<App>, ApiPath(name): ApiPath<String>, caller: Caller) -> Result<Answer, ApiError> {
    let schedule = find(&name).ok_or(Code::ScheduleNotFound)?.name;
    answer(&app, &caller, &RequestRun { schedule }).await
}
