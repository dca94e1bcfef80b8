//! The schema of the tenants' databases: how far they are, and bringing one to the newest.

use super::Caller;
use super::operations::{self, Started};
use super::tenants::path_tenant_id;
use crate::schema::{self, Report};
use crate::serve::App;
use crate::write::{Answer, Refusal, Write, answer};
use axum::Json;
use axum::extract::State;
use kernel::database::migrate::tenant_schema;
use kernel::domain::{Command, TenantId};
use kernel::http::{ApiError, ApiPath, Code};
use kernel::jobs::{JobKind, NewJob};
use kernel::store::UnitOfWork;
use std::time::Duration;

/// How far the tenants' databases are: which have the newest schema, and which could not be brought to it.
#[utoipa::path(get, path = "/admin/schema", tag = "operations", responses(
    (status = 200, description = "How far they are", body = Report)))]
pub async fn show(State(app): State<App>, _: Caller) -> Result<Json<Report>, ApiError> {
    let look = async { schema::report(&mut *app.store.pool().acquire().await?).await };
    look.await.map(Json).map_err(|error| ApiError::database(&error))
}

/// Bring a tenant's database to the newest schema, in service. The schedule does so by itself; this does not wait for it.
#[utoipa::path(post, path = "/admin/tenants/{tenant_id}/database/migrate", tag = "tenants", params(("tenant_id" = TenantId, Path)), responses(
    (status = 202, description = "Accepted", body = Started, headers(("Location" = String, description = "The operation"))),
    (status = 404, description = "tenant_not_found"),
    (status = 409, description = "invalid_state, operation_in_progress, conflict"),
    (status = 422, description = "invalid_tenant_id")))]
pub async fn migrate(State(app): State<App>, ApiPath(id): ApiPath<String>, caller: Caller) -> Result<Answer, ApiError> {
    answer(&app, &caller, &Migrate { tenant_id: path_tenant_id(&id)?, patience: app.patience }).await
}

struct Migrate {
    tenant_id: TenantId,
    patience: Duration,
}

impl Write for Migrate {
    async fn run(&self, unit: &mut UnitOfWork, actor: &str) -> Result<Answer, Refusal> {
        operations::hold(unit, &self.tenant_id).await?;
        let tenant = unit.execute(&self.tenant_id, actor, Command::MigrateSchema).await?;
        let open: Option<(String,)> = sqlx::query_as(
            "SELECT operation_id FROM saas_operations WHERE tenant_id = ? AND kind = ? AND status IN ('pending', 'running') LIMIT 1",
        )
        .bind(self.tenant_id.as_str())
        .bind(JobKind::Migrate.as_str())
        .fetch_optional(unit.connection())
        .await?;
        if let Some((operation_id,)) = open {
            return Err(ApiError::from(Code::OperationInProgress).with("operation_id", operation_id).into());
        }
        let server = &tenant.database.server;
        let job = NewJob::for_tenant(JobKind::Migrate, &self.tenant_id, server, self.patience);
        operations::start_job(unit, &tenant, job.needs_schema(tenant_schema())).await
    }
}
