//! `GET /api/config`: the public configuration of a tenant, from its table `tenant_config`.
//!
//! Only the groups `tenant.` and `features.` are public. The handler never reads anything else that an installation may
//! store there, such as the keys of a payment provider.

use crate::admission::Caller;
use crate::app::App;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use kernel::domain::{SettingType, TenantId};
use kernel::http::ApiError;
use serde::Serialize;
use serde_json::{Map, Value};
use sqlx::Row;
use sqlx::mysql::MySqlArguments;
use utoipa::ToSchema;

/// The public configuration of a tenant.
#[derive(Serialize, ToSchema)]
struct PublicConfig<'a> {
    tenant_id: &'a TenantId,
    /// The values by key, each of its declared type; null if the stored text is not of that type.
    #[schema(value_type = Object)]
    config: Map<String, Value>,
}

/// The public configuration of the tenant, for its pages.
#[utoipa::path(get, path = "/api/config", tag = "tenant", responses(
    (status = 200, description = "The public configuration", body = PublicConfig)))]
pub async fn show(caller: Caller, State(app): State<App>) -> Result<Response, ApiError> {
    let mut database = app.databases.enter(&caller.route).await?;
    let sql = "SELECT config_key, config_value, config_type FROM tenant_config
               WHERE config_key LIKE 'tenant.%' OR config_key LIKE 'features.%' ORDER BY config_key LIMIT 1000";
    let rows = database.rows(sql, MySqlArguments::default()).await?;
    let entries = rows.iter().map(|row| {
        let (key, text): (String, Option<String>) = (row.try_get(0)?, row.try_get(1)?);
        let kind: Option<String> = row.try_get(2)?;
        Ok((key, text.map_or(Value::Null, |text| SettingType::of_column(kind.as_deref()).read(&text))))
    });
    let config = entries.collect::<Result<Map<_, _>, sqlx::Error>>().map_err(|error| ApiError::internal(&error))?;
    Ok(Json(PublicConfig { tenant_id: &caller.route.tenant_id, config }).into_response())
}
