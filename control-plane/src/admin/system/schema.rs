//! How far the tenants' databases are in being brought to the newest schema.

use crate::admin::Caller;
use crate::app::App;
use crate::schema::{self, Report};
use axum::Json;
use axum::extract::State;
use kernel::http::ApiError;

/// The progress of schema migrations: how many tenants have the newest schema, and which could not be brought to it.
#[utoipa::path(
    get, path = "/admin/schema", tag = "operations",
    responses( (status = 200, description = "How far they are", body = Report)),
)]
pub async fn show(State(app): State<App>, _: Caller) -> Result<Json<Report>, ApiError> {
    Ok(Json(schema::report(&mut *app.store.pool().acquire().await?).await?))
}
