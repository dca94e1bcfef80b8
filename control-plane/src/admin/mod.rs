//! The admin API: every route, in one list.

mod audit;
mod auth;
mod console;
mod deletion;
mod directory;
mod domains;
mod events;
mod lifecycle;
mod limits;
mod members;
mod memberships;
mod moving;
mod operations;
mod page;
mod plans;
mod rotation;
mod schedules;
mod schema;
mod sessions;
pub mod signup;
mod statistics;
mod status;
mod system_config;
mod tenant_config;
mod tenants;
mod users;

pub use auth::Caller;
pub use deletion::Purge;
pub use domains::{Expired as ExpiredDomain, Proven as ProvenDomain};
pub use rotation::Rotate;
pub use tenants::path_tenant_id;

use crate::serve::App;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use kernel::http::openapi::{self, Api};
use kernel::http::{ApiError, Code, MAX_BODY, edge};
use kernel::process::health::{self, Health};
use serde_json::{Value, json};
use std::time::Duration;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Longest time a request may take, in seconds; streams begin within it and go on.
const DEADLINE: Duration = Duration::from_secs(10);

/// All routes of the process.
pub fn router(app: App, health: &Health) -> Router {
    let routes: Router<App> = api().into();
    routes
        .fallback(|| async { ApiError::from(Code::NotFound) })
        .method_not_allowed_fallback(|| async { ApiError::from(Code::MethodNotAllowed) })
        .layer(from_fn_with_state(app.clone(), take_turn))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(app)
        .merge(health.routes())
        .merge(openapi::pages(document()))
        .layer(from_fn(edge))
}

/// The list of the routes, and what each says of itself.
fn api() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(console::page))
        .routes(routes!(tenants::create, tenants::list))
        .routes(routes!(tenants::get, lifecycle::change, deletion::delete))
        .routes(routes!(deletion::restore))
        .routes(routes!(deletion::purge))
        .routes(routes!(events::of_tenant))
        .routes(routes!(lifecycle::suspend))
        .routes(routes!(lifecycle::resume))
        .routes(routes!(lifecycle::maintenance))
        .routes(routes!(lifecycle::retry))
        .routes(routes!(rotation::rotate))
        .routes(routes!(moving::move_database))
        .routes(routes!(schema::migrate))
        .routes(routes!(limits::show))
        .routes(routes!(domains::register, domains::list))
        .routes(routes!(domains::remove))
        .routes(routes!(domains::verify))
        .routes(routes!(domains::make_primary))
        .routes(routes!(members::put, members::remove))
        .routes(routes!(memberships::of_tenant))
        .routes(routes!(tenant_config::list))
        .routes(routes!(tenant_config::get, tenant_config::put, tenant_config::remove))
        .routes(routes!(users::create, directory::find))
        .routes(routes!(directory::get, directory::change))
        .routes(routes!(memberships::of_user))
        .routes(routes!(users::issue_token, sessions::list))
        .routes(routes!(sessions::revoke))
        .routes(routes!(signup::sign_up))
        .routes(routes!(system_config::list))
        .routes(routes!(system_config::get, system_config::put))
        .routes(routes!(events::all))
        .routes(routes!(operations::get))
        .routes(routes!(statistics::of_tenant))
        .routes(routes!(statistics::history))
        .routes(routes!(statistics::collect, statistics::list))
        .routes(routes!(statistics::show))
        .routes(routes!(status::show))
        .routes(routes!(plans::list))
        .routes(routes!(plans::put, plans::remove))
        .routes(routes!(audit::get, audit::request))
        .routes(routes!(schema::show))
        .routes(routes!(schedules::list))
        .routes(routes!(schedules::run))
}

/// The OpenAPI document of the process.
pub fn document() -> Value {
    const API: Api = Api {
        title: "Admin API",
        about: "Tenants of a SaaS with one database for each tenant: their life, domains, members and users. Slow work is \
                accepted with 202 and followed as an operation; whatever changes is an event.",
        security: || {
            json!({
                "admin_token": {"type": "apiKey", "in": "header", "name": "X-Admin-Token"},
                "bearer": {"type": "http", "scheme": "bearer", "description": "The same token"},
            })
        },
        headers: |method| match method {
            "post" => vec![json!({
                "name": "Idempotency-Key", "in": "header", "required": false,
                "description": "The same request with the same key is done once; its answer is kept for some days.",
                "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
            })],
            _ => Vec::new(),
        },
        codes: |method| match method {
            "post" => &[
                Code::Unauthenticated,
                Code::AdminRequired,
                Code::Unavailable,
                Code::Conflict,
                Code::Invalid("idempotency_key"),
                Code::IdempotencyMismatch,
            ],
            _ => &[Code::Unauthenticated, Code::AdminRequired, Code::Unavailable],
        },
    };
    let mut routes = api().into_openapi();
    routes.merge(health::api().into_openapi());
    API.document(routes)
}

/// Bounds how many requests are in work and how long each of them is.
async fn take_turn(State(app): State<App>, request: Request, next: Next) -> Response {
    let Ok(_turn) = app.turns.clone().try_acquire_owned() else {
        return ApiError::from(Code::Unavailable).into_response();
    };
    match tokio::time::timeout(DEADLINE, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            tracing::warn!("a request was given up after {} s", DEADLINE.as_secs());
            ApiError::from(Code::Unavailable).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_document_is_that_of_the_routes() {
        let committed = include_str!("../../../deploy/openapi/control-plane.json");
        assert_eq!(openapi::unfit(&document(), committed, "control-plane"), [""; 0]);
    }
}
