//! `GET /admin/operations/{operation_id}`.

use crate::admin::Caller;
use crate::app::App;
use axum::Json;
use axum::extract::State;
use kernel::http::{ApiError, ApiPath, Code};
use kernel::jobs::{self, Operation};

/// An operation: slow work that was requested, with its steps and its outcome.
#[utoipa::path(
    get, path = "/admin/operations/{operation_id}", tag = "operations",
    params(("operation_id" = String, Path, format = "uuid")),
    responses(
        (status = 200, description = "The operation", body = Operation),
        (status = 404, description = "operation_not_found"),
        (status = 422, description = "invalid_operation_id"),
    ),
)]
pub async fn get(State(app): State<App>, ApiPath(id): ApiPath<String>, _: Caller) -> Result<Json<Operation>, ApiError> {
    let id = id.parse().map_err(|_| ApiError::invalid("operation_id", "operation_id", "a UUID"))?;
    let found = jobs::find(&mut *app.store.pool().acquire().await?, id).await?;
    found.map(Json).ok_or(Code::OperationNotFound.into())
}
