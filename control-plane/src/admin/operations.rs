//! Operations: what became of slow work.

use super::Caller;
use crate::serve::App;
use axum::Json;
use axum::extract::{Path, State};
use kernel::http::{ApiError, Code};
use kernel::jobs::{self, Operation};

/// `GET /admin/operations/{operation_id}`.
pub async fn get(State(app): State<App>, Path(id): Path<String>, _: Caller) -> Result<Json<Operation>, ApiError> {
    let id = id.parse().map_err(|_| ApiError::invalid("operation_id", "operation_id", "a UUID"))?;
    let find = async { jobs::find(&mut *app.store.pool().acquire().await?, id).await };
    find.await.map_err(|error| ApiError::database(&error))?.map(Json).ok_or(Code::OperationNotFound.into())
}
