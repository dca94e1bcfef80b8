//! What is done by the clock: last and next runs, and asking for one now.

use super::Caller;
use crate::schedule::{RequestRun, find, report};
use crate::serve::App;
use crate::write::{Answer, answer};
use axum::Json;
use axum::extract::{Path, State};
use kernel::http::{ApiError, Code};
use serde_json::Value;

/// `GET /admin/schedules`.
pub async fn list(State(app): State<App>, _: Caller) -> Result<Json<Value>, ApiError> {
    report(app.store.pool(), &app.plan).await.map(Json).map_err(|error| ApiError::database(&error))
}

/// `POST /admin/schedules/{name}/run`.
pub async fn run(State(app): State<App>, Path(name): Path<String>, caller: Caller) -> Result<Answer, ApiError> {
    let schedule = find(&name).ok_or(Code::ScheduleNotFound)?.name;
    answer(&app, &caller, &RequestRun { schedule }).await
}
