//! Every route of the process, in one list.

use crate::api::{self, profiles::Profiles};
use crate::connections::TenantDatabases;
use crate::routing::{Routing, TrustedProxies};
use crate::sessions::Sessions;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn;
use axum::routing::get;
use kernel::health::Health;
use kernel::http::{ApiError, Code, MAX_BODY, edge};
use std::sync::Arc;

/// Everything a request may use.
#[derive(Clone)]
pub struct App {
    /// Which tenant.
    pub routing: Arc<Routing>,
    /// Whose forwarded headers count.
    pub trusted: Arc<TrustedProxies>,
    /// Who asks.
    pub sessions: Arc<Sessions>,
    /// Who the tenant's users are.
    pub profiles: Arc<Profiles>,
    /// Where the tenant's data is.
    pub databases: TenantDatabases,
}

/// All routes of the process.
pub fn router(app: App, health: &Health) -> Router {
    Router::new()
        .route("/api/orders", get(api::orders::list))
        .route("/api/config", get(api::config::show))
        .route("/api/me", get(api::users::me))
        .route("/api/users/{user_id}", get(api::users::show))
        .route("/api/users/{user_id}/orders", get(api::users::orders))
        .route("/api/users/{user_id}/shifus", get(api::users::shifus))
        .route("/api/users/{user_id}/activities", get(api::users::activities))
        .route("/api/users/{user_id}/coupons", get(api::users::coupons))
        .fallback(|| async { ApiError::from(Code::NotFound) })
        .method_not_allowed_fallback(|| async { ApiError::from(Code::MethodNotAllowed) })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(app)
        .merge(health.routes())
        .layer(from_fn(edge))
}
