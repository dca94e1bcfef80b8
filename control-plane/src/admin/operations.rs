//! Operations: slow work that was asked for, and what became of it.

use super::Caller;
use crate::serve::App;
use crate::write::{Answer, Refusal};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use kernel::domain::{Tenant, TenantId};
use kernel::http::{ApiError, Code};
use kernel::jobs::{self, NewJob, Operation};
use kernel::store::UnitOfWork;
use serde_json::json;

/// `GET /admin/operations/{operation_id}`.
pub async fn get(State(app): State<App>, Path(id): Path<String>, _: Caller) -> Result<Json<Operation>, ApiError> {
    let id = id.parse().map_err(|_| ApiError::invalid("operation_id", "operation_id", "a UUID"))?;
    let find = async { jobs::find(&mut *app.store.pool().acquire().await?, id).await };
    find.await.map_err(|error| ApiError::database(&error))?.map(Json).ok_or(Code::OperationNotFound.into())
}

/// Enqueues `job`; the answer is 202 with the operation and its tenant.
pub async fn start(unit: &mut UnitOfWork, tenant: &Tenant, job: &NewJob) -> Result<Answer, Refusal> {
    let operation_id = jobs::enqueue(unit.connection(), job).await?;
    let mut body = json!(jobs::find(unit.connection(), operation_id).await?);
    body["tenant"] = json!(tenant);
    let location = Some(format!("/admin/operations/{operation_id}"));
    Ok(Answer { status: StatusCode::ACCEPTED, location, body })
}

/// Lets one request for the tenant through at a time, where its command appends nothing that would do so.
pub async fn hold(unit: &mut UnitOfWork, tenant_id: &TenantId) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT version FROM saas_tenant_snapshots WHERE tenant_id = ? FOR UPDATE")
        .bind(tenant_id.as_str())
        .execute(unit.connection())
        .await
        .map(drop)
}

/// 409 while an operation of the tenant is in progress. Ask after an append or after [`hold`].
pub async fn none_in_progress(unit: &mut UnitOfWork, tenant_id: &TenantId) -> Result<(), Refusal> {
    match jobs::active_operation(unit.connection(), tenant_id).await? {
        None => Ok(()),
        Some(id) => Err(ApiError::from(Code::OperationInProgress).with("operation_id", id.to_string()).into()),
    }
}
