//! The admin API: HTTP, and every route in one list.
//!
//! A handler parses what the client sends ([`parse`]), performs a command ([`crate::commands`]) or reads, and makes the
//! answer ([`answer`]). A new route is a handler in one of the folders and a line in [`api`].

mod admission;
pub mod answer;
mod auth;
mod console;
mod parse;
mod precondition;
mod read;
mod state;
mod system;
mod tenants;
mod users;

pub use admission::Admission;
pub use auth::{BulkCaller, Caller};
pub use state::AdminState;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use kernel::http::openapi::{self, Api};
use kernel::http::{ApiError, Code, MAX_BODY, edge};
use kernel::process::health::{self, Health};
use serde_json::{Value, json};
use std::time::Duration;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Longest time that a request may take. A stream begins within it and then has no limit.
const DEADLINE: Duration = Duration::from_secs(10);

/// All routes of the process.
pub fn router(state: AdminState, health: &Health) -> Router {
    let routes: Router<AdminState> = api().into();
    routes
        .fallback(|| async { ApiError::from(Code::NotFound) })
        .method_not_allowed_fallback(|| async { ApiError::from(Code::MethodNotAllowed) })
        .layer(from_fn(bound))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(state)
        .merge(health.routes())
        .merge(openapi::pages(document()))
        .layer(from_fn(edge))
}

/// All routes with their documentation.
fn api() -> OpenApiRouter<AdminState> {
    OpenApiRouter::new()
        .routes(routes!(console::page))
        .routes(routes!(tenants::create::create, tenants::read::list))
        .routes(routes!(tenants::read::get, tenants::lifecycle::change, tenants::deletion::delete))
        .routes(routes!(tenants::deletion::restore))
        .routes(routes!(tenants::deletion::purge))
        .routes(routes!(system::events::of_tenant))
        .routes(routes!(tenants::lifecycle::suspend))
        .routes(routes!(tenants::lifecycle::resume))
        .routes(routes!(tenants::lifecycle::maintenance))
        .routes(routes!(tenants::lifecycle::retry))
        .routes(routes!(tenants::database::rotate))
        .routes(routes!(tenants::database::move_database))
        .routes(routes!(tenants::database::migrate))
        .routes(routes!(tenants::limits::show))
        .routes(routes!(tenants::domains::register, tenants::domains::list))
        .routes(routes!(tenants::domains::remove))
        .routes(routes!(tenants::domains::verify))
        .routes(routes!(tenants::domains::make_primary))
        .routes(routes!(tenants::members::put, tenants::members::remove))
        .routes(routes!(tenants::members::of_tenant, tenants::many_members::put_many))
        .routes(routes!(tenants::config::list))
        .routes(routes!(tenants::config::get, tenants::config::put, tenants::config::remove))
        .routes(routes!(users::create::create, users::search::find))
        .routes(routes!(users::search::get, users::search::change))
        .routes(routes!(users::memberships::of_user))
        .routes(routes!(users::tokens::issue_token, users::tokens::list))
        .routes(routes!(users::tokens::revoke))
        .routes(routes!(users::signup::sign_up))
        .routes(routes!(system::config::list))
        .routes(routes!(system::config::get, system::config::put))
        .routes(routes!(system::events::all))
        .routes(routes!(system::operations::get))
        .routes(routes!(tenants::statistics::of_tenant))
        .routes(routes!(system::statistics::history))
        .routes(routes!(system::statistics::collect, system::statistics::list))
        .routes(routes!(system::statistics::show))
        .routes(routes!(system::health::show))
        .routes(routes!(system::plans::list))
        .routes(routes!(system::plans::put, system::plans::remove))
        .routes(routes!(system::audit::get, system::audit::request))
        .routes(routes!(system::schema::show))
        .routes(routes!(system::schedules::list))
        .routes(routes!(system::schedules::run))
}

/// The OpenAPI document of the process.
pub fn document() -> Value {
    const API: Api = Api {
        title: "Admin API",
        about: "Tenants of a SaaS with one database for each tenant: their life, domains, members and users. Slow work \
                is accepted with 202 and followed as an operation; every change of a tenant is an event.",
        security: || {
            json!({
                "admin_token": {"type": "apiKey", "in": "header", "name": "X-Admin-Token"},
                "bearer": {"type": "http", "scheme": "bearer", "description": "The same token"},
            })
        },
        headers: |method| {
            let idempotency = || {
                json!({
                    "name": "Idempotency-Key", "in": "header", "required": false,
                    "description":
                        "The same request with the same key is done once; its answer is stored for some days.",
                    "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
                })
            };
            match method {
                "post" => vec![idempotency(), precondition::document()],
                "put" | "patch" | "delete" => vec![precondition::document()],
                _ => Vec::new(),
            }
        },
        codes: |method| match method {
            "post" => &[
                Code::Unauthenticated,
                Code::AdminRequired,
                Code::Unavailable,
                Code::PreconditionFailed,
                Code::Invalid("if_match"),
                Code::Invalid("idempotency_key"),
                Code::IdempotencyMismatch,
            ],
            "put" | "patch" | "delete" => &[
                Code::Unauthenticated,
                Code::AdminRequired,
                Code::Unavailable,
                Code::PreconditionFailed,
                Code::Invalid("if_match"),
            ],
            _ => &[Code::Unauthenticated, Code::AdminRequired, Code::Unavailable],
        },
    };
    let mut routes = api().into_openapi();
    routes.merge(health::api().into_openapi());
    API.document(routes)
}

/// Bounds how long a request takes.
async fn bound(request: Request, next: Next) -> Response {
    match tokio::time::timeout(DEADLINE, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            tracing::warn!("a request was cancelled after {} s", DEADLINE.as_secs());
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
