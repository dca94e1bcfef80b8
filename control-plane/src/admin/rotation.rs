//! Another credential for a tenant's database.

use super::operations::Started;
use super::tenants::path_tenant_id;
use super::{Caller, operations};
use crate::serve::App;
use crate::write::{Answer, Refusal, Write, answer};
use axum::extract::State;
use kernel::domain::{Command, TenantId};
use kernel::http::{ApiError, ApiPath};
use kernel::jobs::JobKind;
use kernel::store::UnitOfWork;
use std::time::Duration;

/// Replace the credential of a tenant's database, without a failed request.
#[utoipa::path(post, path = "/admin/tenants/{tenant_id}/database/rotate", tag = "tenants", params(("tenant_id" = TenantId, Path)), responses(
    (status = 202, description = "Accepted", body = Started, headers(("Location" = String, description = "The operation"))),
    (status = 404, description = "tenant_not_found"),
    (status = 409, description = "invalid_state, operation_in_progress, conflict"),
    (status = 422, description = "invalid_tenant_id")))]
pub async fn rotate(State(app): State<App>, ApiPath(id): ApiPath<String>, caller: Caller) -> Result<Answer, ApiError> {
    answer(&app, &caller, &Rotate { tenant_id: path_tenant_id(&id)?, patience: app.patience }).await
}

/// The request for another credential.
pub struct Rotate {
    /// Whose.
    pub tenant_id: TenantId,
    /// How long a failing job is tried before it is undone.
    pub patience: Duration,
}

impl Write for Rotate {
    async fn run(&self, unit: &mut UnitOfWork, actor: &str) -> Result<Answer, Refusal> {
        let tenant = unit.execute(&self.tenant_id, actor, Command::RotateDatabase).await?;
        operations::none_in_progress(unit, &self.tenant_id).await?;
        operations::start(unit, &tenant, JobKind::Rotate, self.patience).await
    }
}
