//! Operations: slow work that was asked for, and what became of it.

use super::Caller;
use crate::serve::App;
use crate::write::{Answer, Refusal};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use kernel::domain::{Tenant, TenantId};
use kernel::http::{ApiError, ApiPath, Code};
use kernel::jobs::{self, JobKind, NewJob, Operation};
use kernel::store::UnitOfWork;
use serde::Serialize;
use serde_json::json;
use std::time::Duration;
use utoipa::ToSchema;

/// An operation: slow work that was asked for, and what became of it.
#[utoipa::path(get, path = "/admin/operations/{operation_id}", tag = "operations", params(("operation_id" = String, Path, format = "uuid")), responses(
    (status = 200, description = "The operation", body = Operation),
    (status = 404, description = "operation_not_found"),
    (status = 422, description = "invalid_operation_id")))]
pub async fn get(State(app): State<App>, ApiPath(id): ApiPath<String>, _: Caller) -> Result<Json<Operation>, ApiError> {
    let id = id.parse().map_err(|_| ApiError::invalid("operation_id", "operation_id", "a UUID"))?;
    let find = async { jobs::find(&mut *app.store.pool().acquire().await?, id).await };
    find.await.map_err(|error| ApiError::database(&error))?.map(Json).ok_or(Code::OperationNotFound.into())
}

/// An operation that has begun, and its tenant.
#[derive(Serialize, ToSchema)]
pub struct Started<'a> {
    #[serde(flatten)]
    operation: Option<Operation>,
    tenant: &'a Tenant,
}

/// Enqueues a job for the workers of the tenant's server; the answer is 202 with the operation and its tenant.
pub async fn start(
    unit: &mut UnitOfWork,
    tenant: &Tenant,
    kind: JobKind,
    patience: Duration,
) -> Result<Answer, Refusal> {
    start_job(unit, tenant, NewJob::for_tenant(kind, &tenant.tenant_id, &tenant.database.server, patience)).await
}

/// Enqueues a job of the tenant, with the same answer.
pub async fn start_job(unit: &mut UnitOfWork, tenant: &Tenant, job: NewJob) -> Result<Answer, Refusal> {
    let operation_id = jobs::enqueue(unit.connection(), &[job]).await?[0];
    let body = json!(Started { operation: jobs::find(unit.connection(), operation_id).await?, tenant });
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

/// Whether the tenant's database was to come out of a backup, not out of the migrations.
pub async fn was_to_be_restored(unit: &mut UnitOfWork, tenant_id: &TenantId) -> Result<bool, sqlx::Error> {
    let made: Option<(String,)> = sqlx::query_as(
        "SELECT kind FROM saas_operations WHERE tenant_id = ? AND kind IN (?, ?) ORDER BY created_at DESC LIMIT 1",
    )
    .bind(tenant_id.as_str())
    .bind(JobKind::Provision.as_str())
    .bind(JobKind::RestoreNew.as_str())
    .fetch_optional(unit.connection())
    .await?;
    Ok(made.is_some_and(|(kind,)| kind == JobKind::RestoreNew.as_str()))
}
