//! [`Caller`]: the extractor that every tenant route begins with. Without it a handler has no route to a database.
//!
//! The order of checks is part of the contract: a fresh table, what the request says (400, 422), the token (401), the
//! tenant (404), the membership (403), the tenant's state (403, 503). So only members learn how a tenant is.

use crate::router::App;
use crate::routing::{Asked, Route, Service};
use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use kernel::domain::{Role, UserId};
use kernel::http::{ApiError, Code, OfTenant};
use std::net::SocketAddr;
use std::sync::Arc;

/// A user who belongs to the tenant they ask, which is served.
pub struct Caller {
    /// The tenant.
    pub route: Arc<Route>,
    /// Who asks.
    pub user_id: Arc<UserId>,
    /// What they may do in this tenant.
    pub role: Role,
}

impl FromRequestParts<App> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        app.routing.freshness.ensure().await;
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| *peer);
        let asked = Asked::of(parts, peer, &app.trusted)?;
        let (found, position) = {
            let table = app.routing.table();
            (table.resolve(&asked)?, table.position)
        };
        let span = tracing::Span::current();
        span.record("position", position.0);
        let token = super::token::of(&parts.headers).ok_or(Code::Unauthenticated)?;
        let user_id = app.sessions.user(token).await?.ok_or(Code::Unauthenticated)?;
        // A deleted tenant has no members who could be told more, so it is not there for anybody.
        let route = found.filter(|route| route.service != Service::Gone).ok_or(Code::TenantNotFound)?;
        span.record("tenant_id", route.tenant_id.as_str());
        if let Some(of_tenant) = parts.extensions.get::<OfTenant>() {
            of_tenant.tell(route.tenant_id.as_str());
        }
        let role = app.sessions.role(&route, &user_id).await?.ok_or(Code::UserNotInTenant)?;
        match route.service.refusal() {
            None => Ok(Self { route, user_id, role }),
            Some(refusal) => Err(refusal),
        }
    }
}
