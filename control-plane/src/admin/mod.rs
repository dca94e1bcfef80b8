//! The admin API: every route, in one list.

mod auth;
mod console;
mod deletion;
mod domains;
mod events;
mod lifecycle;
mod members;
mod operations;
mod rotation;
mod schedules;
mod sessions;
mod tenants;
mod users;

pub use auth::Caller;
pub use deletion::Purge;
pub use rotation::Rotate;
pub use tenants::CreateTenant;

use crate::serve::App;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use kernel::health::Health;
use kernel::http::{ApiError, Code, MAX_BODY, edge};
use std::time::Duration;

/// Longest time a request may take, in seconds; streams begin within it and go on.
const DEADLINE: Duration = Duration::from_secs(10);

/// All routes of the process.
pub fn router(app: App, health: &Health) -> Router {
    Router::new()
        .route("/", get(console::page))
        .route("/admin/tenants", post(tenants::create).get(tenants::list))
        .route("/admin/tenants/{tenant_id}", get(tenants::get).patch(lifecycle::change).delete(deletion::delete))
        .route("/admin/tenants/{tenant_id}/restore", post(deletion::restore))
        .route("/admin/tenants/{tenant_id}/purge", post(deletion::purge))
        .route("/admin/tenants/{tenant_id}/events", get(events::of_tenant))
        .route("/admin/tenants/{tenant_id}/suspend", post(lifecycle::suspend))
        .route("/admin/tenants/{tenant_id}/resume", post(lifecycle::resume))
        .route("/admin/tenants/{tenant_id}/maintenance", post(lifecycle::maintenance))
        .route("/admin/tenants/{tenant_id}/retry", post(lifecycle::retry))
        .route("/admin/tenants/{tenant_id}/database/rotate", post(rotation::rotate))
        .route("/admin/tenants/{tenant_id}/domains", post(domains::register))
        .route("/admin/tenants/{tenant_id}/domains/{domain}", delete(domains::remove))
        .route("/admin/tenants/{tenant_id}/domains/{domain}/primary", put(domains::make_primary))
        .route("/admin/tenants/{tenant_id}/users/{user_id}", put(members::put).delete(members::remove))
        .route("/admin/users", post(users::create))
        .route("/admin/users/{user_id}/tokens", post(users::issue_token).get(sessions::list))
        .route("/admin/users/{user_id}/tokens/{id}", delete(sessions::revoke))
        .route("/admin/events", get(events::all))
        .route("/admin/operations/{operation_id}", get(operations::get))
        .route("/admin/schedules", get(schedules::list))
        .route("/admin/schedules/{name}/run", post(schedules::run))
        .fallback(|| async { ApiError::from(Code::NotFound) })
        .method_not_allowed_fallback(|| async { ApiError::from(Code::MethodNotAllowed) })
        .layer(from_fn_with_state(app.clone(), take_turn))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(app)
        .merge(health.routes())
        .layer(from_fn(edge))
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
