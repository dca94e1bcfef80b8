//! A tenant's database in service: another credential, another server, a newer schema.

use crate::admin::answer::{Answer, answer};
use crate::admin::{Caller, parse};
use crate::app::App;
use crate::commands::{MigrateSchema, MoveDatabase, RotateCredential, Started};
use axum::extract::State;
use kernel::domain::TenantId;
use kernel::http::{ApiError, ApiPath};
use serde::Deserialize;
use utoipa::ToSchema;

/// Replace the credential of a tenant's database, without a failed request.
#[utoipa::path(
    post, path = "/admin/tenants/{tenant_id}/database/rotate", tag = "tenants",
    params(("tenant_id" = TenantId, Path)),
    responses(
        (
            status = 202,
            description = "Accepted",
            body = Started,
            headers(("Location" = String, description = "The operation")),
        ),
        (status = 404, description = "tenant_not_found"),
        (status = 409, description = "invalid_state, operation_in_progress"),
        (status = 422, description = "invalid_tenant_id"),
    ),
)]
pub async fn rotate(State(app): State<App>, ApiPath(id): ApiPath<String>, caller: Caller) -> Result<Answer, ApiError> {
    let rotate = RotateCredential { tenant_id: parse::tenant_id(&id)?, patience: app.patience };
    answer(&app, &caller, &rotate, Answer::started).await
}

/// Body of `POST .../database/move`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = DatabaseMove)]
pub struct NewServer {
    /// The id of a registered database server.
    #[schema(min_length = 1, max_length = 32, example = "eu2")]
    server: String,
}

/// Move a tenant's database to another server.
///
/// While its rows are copied, nodes answer the tenant's requests with 503 `tenant_maintenance`. A move that fails
/// leaves the database where it was.
#[utoipa::path(
    post, path = "/admin/tenants/{tenant_id}/database/move", tag = "tenants",
    request_body = NewServer,
    params(("tenant_id" = TenantId, Path)),
    responses(
        (
            status = 202,
            description = "Accepted",
            body = Started,
            headers(("Location" = String, description = "The operation")),
        ),
        (status = 404, description = "tenant_not_found"),
        (status = 409, description = "invalid_state, operation_in_progress"),
        (status = 422, description = "invalid_tenant_id, invalid_server"),
    ),
)]
pub async fn move_database(
    State(app): State<App>,
    ApiPath(id): ApiPath<String>,
    caller: Caller,
) -> Result<Answer, ApiError> {
    let NewServer { server } = caller.json()?;
    let request = MoveDatabase { tenant_id: parse::tenant_id(&id)?, server, patience: app.patience };
    answer(&app, &caller, &request, Answer::started).await
}

/// Bring a tenant's database to the newest schema, in service, without waiting for the schedule that does the same.
#[utoipa::path(
    post, path = "/admin/tenants/{tenant_id}/database/migrate", tag = "tenants",
    params(("tenant_id" = TenantId, Path)),
    responses(
        (
            status = 202,
            description = "Accepted",
            body = Started,
            headers(("Location" = String, description = "The operation")),
        ),
        (status = 404, description = "tenant_not_found"),
        (status = 409, description = "invalid_state, operation_in_progress"),
        (status = 422, description = "invalid_tenant_id"),
    ),
)]
pub async fn migrate(State(app): State<App>, ApiPath(id): ApiPath<String>, caller: Caller) -> Result<Answer, ApiError> {
    let migrate = MigrateSchema { tenant_id: parse::tenant_id(&id)?, patience: app.patience };
    answer(&app, &caller, &migrate, Answer::started).await
}
