//! Operations: the jobs that a command starts, and which of them exclude each other.

use super::Refusal;
use kernel::domain::{Tenant, TenantId};
use kernel::http::{ApiError, Code};
use kernel::jobs::{self, JobKind, NewJob, Operation};
use kernel::store::UnitOfWork;
use serde::Serialize;
use std::time::Duration;
use utoipa::ToSchema;
use uuid::Uuid;

/// An operation that has begun, and its tenant.
#[derive(Serialize, ToSchema)]
pub struct Started {
    #[serde(skip)]
    pub operation_id: Uuid,
    #[serde(flatten)]
    operation: Option<Operation>,
    tenant: Tenant,
}

/// Enqueues a job for the workers of the tenant's database server, and reads its operation.
pub async fn start(
    unit: &mut UnitOfWork,
    tenant: Tenant,
    kind: JobKind,
    patience: Duration,
) -> Result<Started, Refusal> {
    let job = job(&tenant, kind, patience);
    start_job(unit, tenant, job).await
}

/// A job for the workers of the tenant's database server.
pub fn job(tenant: &Tenant, kind: JobKind, patience: Duration) -> NewJob {
    NewJob::for_tenant(kind, &tenant.tenant_id, &tenant.database.server, patience)
}

/// Enqueues a job of the tenant, and reads its operation.
pub async fn start_job(unit: &mut UnitOfWork, tenant: Tenant, job: NewJob) -> Result<Started, Refusal> {
    let operation_id = jobs::enqueue(unit.connection(), &[job]).await?[0];
    let operation = jobs::find(unit.connection(), operation_id).await?;
    Ok(Started { operation_id, operation, tenant })
}

/// `operation_in_progress` while an operation of the tenant has not ended. The answer stays true until the unit ends
/// only after [`UnitOfWork::tenant`] or a command has locked the tenant.
pub async fn none_in_progress(unit: &mut UnitOfWork, tenant_id: &TenantId) -> Result<(), Refusal> {
    match jobs::active_operation(unit.connection(), tenant_id).await? {
        None => Ok(()),
        Some(id) => Err(in_progress(&id.to_string())),
    }
}

/// The refusal that names the operation in progress.
pub fn in_progress(operation_id: &str) -> Refusal {
    ApiError::from(Code::OperationInProgress).with("operation_id", operation_id).into()
}
