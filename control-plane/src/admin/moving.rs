//! Another server for a tenant's database.

use super::operations::Started;
use super::tenants::path_tenant_id;
use super::{Caller, operations};
use crate::serve::App;
use crate::write::{Answer, Refusal, Write, answer};
use axum::extract::State;
use kernel::domain::{Command, TenantId};
use kernel::http::{ApiError, ApiPath};
use kernel::jobs::JobKind;
use kernel::store::{UnitOfWork, servers};
use serde::Deserialize;
use std::time::Duration;
use utoipa::ToSchema;

/// Body of `POST .../database/move`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = DatabaseMove)]
pub struct Wish {
    /// A registered database server.
    #[schema(min_length = 1, max_length = 32, example = "eu2")]
    server: String,
}

/// Bring a tenant's database to another server.
///
/// While its rows are copied the tenant is refused with 503 `tenant_maintenance`. A move that fails leaves it where it was.
#[utoipa::path(post, path = "/admin/tenants/{tenant_id}/database/move", tag = "tenants", request_body = Wish, params(("tenant_id" = TenantId, Path)), responses(
    (status = 202, description = "Accepted", body = Started, headers(("Location" = String, description = "The operation"))),
    (status = 404, description = "tenant_not_found"),
    (status = 409, description = "invalid_state, operation_in_progress, conflict"),
    (status = 422, description = "invalid_tenant_id, invalid_server")))]
pub async fn move_database(
    State(app): State<App>,
    ApiPath(id): ApiPath<String>,
    caller: Caller,
) -> Result<Answer, ApiError> {
    let Wish { server } = caller.json()?;
    answer(&app, &caller, &Move { tenant_id: path_tenant_id(&id)?, server, patience: app.patience }).await
}

struct Move {
    tenant_id: TenantId,
    server: String,
    patience: Duration,
}

impl Write for Move {
    async fn run(&self, unit: &mut UnitOfWork, actor: &str) -> Result<Answer, Refusal> {
        let former = unit.tenant(&self.tenant_id).await?.map(|tenant| tenant.database.server);
        let servers = servers::ids(unit.connection()).await?;
        if former.is_some() && !servers.contains(&self.server) {
            let detail = format!("a registered database server: {}", servers.join(", "));
            return Err(ApiError::invalid("server", "server", detail).into());
        }
        let command = Command::MoveDatabase { server: self.server.clone() };
        let tenant = unit.execute(&self.tenant_id, actor, command).await?;
        operations::none_in_progress(unit, &self.tenant_id).await?;
        // The workers of the server that it leaves do it.
        operations::start(unit, &tenant, JobKind::Move, self.patience).await
    }
}
