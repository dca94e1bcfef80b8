//! Every route of the process, in one list, and the OpenAPI document that is made from it.

use crate::access_log::{AccessLog, record};
use crate::api;
use crate::app::App;
use crate::legacy_api;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use kernel::http::openapi::{self, Api};
use kernel::http::{ApiError, Code, MAX_BODY, edge};
use kernel::process::health::{self, Health};
use serde_json::{Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The router of the process: the tenants' API, health and metrics, and the pages of the OpenAPI document.
pub fn router(app: App, log: Option<AccessLog>, health: &Health) -> Router {
    let routes: Router<App> = api().into();
    let mut routes = routes
        .fallback(|| async { ApiError::from(Code::NotFound) })
        .method_not_allowed_fallback(|| async { ApiError::from(Code::MethodNotAllowed) })
        .layer(DefaultBodyLimit::max(MAX_BODY));
    if let Some(log) = log {
        routes = routes.layer(from_fn_with_state(log, record));
    }
    routes.with_state(app).merge(health.routes()).merge(openapi::pages(document())).layer(from_fn(edge))
}

/// The list of the routes of the tenants' API. A new route is added here.
fn api() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(api::orders::list, api::orders::create))
        .routes(routes!(api::config::show))
        .routes(routes!(api::users::me))
        .routes(routes!(api::users::show))
        .routes(routes!(api::users::orders::orders))
        .routes(routes!(api::users::shifus::shifus))
        .routes(routes!(api::users::activities::activities))
        .routes(routes!(api::users::coupons::coupons))
        .merge(legacy_api::routes())
}

/// The OpenAPI document of the process.
pub fn document() -> Value {
    const API: Api = Api {
        title: "Tenant API",
        about: "What a tenant's users ask. The tenant is that of the header `X-Tenant-ID`, of the host, or of its \
                subdomain; the token's user must belong to it. Money is a decimal string; times are RFC 3339 in UTC.",
        security: || {
            json!({
                "bearer": {"type": "http", "scheme": "bearer"},
                "token": {"type": "apiKey", "in": "header", "name": "Token"},
                "cookie": {"type": "apiKey", "in": "cookie", "name": "token"},
            })
        },
        headers: |_| {
            vec![json!({
                "name": "X-Tenant-ID", "in": "header", "required": false,
                "description": "Names the tenant; without it the host does.",
                "schema": {"$ref": "#/components/schemas/TenantId"},
            })]
        },
        codes: |_| {
            &[
                Code::InvalidHost,
                Code::TenantRequired,
                Code::Unauthenticated,
                Code::UserNotInTenant,
                Code::TenantSuspended,
                Code::TenantNotFound,
                Code::RateLimited,
                Code::TenantUnavailable,
                Code::TenantMaintenance,
                Code::Unavailable,
            ]
        },
    };
    let mut routes = api().into_openapi();
    routes.merge(health::api().into_openapi());
    API.document(routes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_openapi_document_matches_the_routes() {
        let committed = include_str!("../../deploy/openapi/data-plane.json");
        assert_eq!(openapi::unfit(&document(), committed, "data-plane"), [""; 0]);
    }
}
