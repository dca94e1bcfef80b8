//! [`Caller`]: the extractor that every tenant route begins with. Without it a handler has no route to a database.
//!
//! The order of checks is part of the contract: a fresh table, what the request says (400, 422), the token (401), the
//! tenant (404), the membership (403), the tenant's state (403, 503), its rate (429). So only members learn how a tenant is,
//! and only their requests count against its rate.

use crate::access_log::Asker;
use crate::app::App;
use crate::routing::{Asked, Route, Service};
use crate::sessions::{Session, token};
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
        let (found, default, position) = {
            let table = app.routing.table();
            (table.resolve(&asked)?, table.default_tenant(), table.position)
        };
        tracing::Span::current().record("position", position.0);
        let token = token::of(parts).ok_or(Code::Unauthenticated)?;
        let session = app.sessions.session(&token).await?;
        let is_default =
            |route: &Arc<Route>| default.as_ref().is_some_and(|default| default.tenant_id == route.tenant_id);
        // Elsewhere it is no session at all, so it does not tell which tenants there are either.
        if matches!(session, Session::Legacy(_)) && !found.as_ref().is_some_and(is_default) {
            return Err(Code::Unauthenticated.into());
        }
        Self::admitted(app, parts, found, session).await
    }
}

impl Caller {
    /// The user of a session as a member of the tenant that was found.
    pub async fn admitted(
        app: &App,
        parts: &Parts,
        found: Option<Arc<Route>>,
        session: Session,
    ) -> Result<Self, ApiError> {
        let (Session::Own(user_id) | Session::Legacy(user_id)) = session;
        let asker = parts.extensions.get::<Asker>().cloned().unwrap_or_default();
        asker.is_user(&user_id);
        // A deleted tenant has no members who could be told more, so it is not there for anybody.
        let route = found.filter(|route| route.service != Service::Gone).ok_or(Code::TenantNotFound)?;
        tracing::Span::current().record("tenant_id", route.tenant_id.as_str());
        if let Some(of_tenant) = parts.extensions.get::<OfTenant>() {
            of_tenant.tell(route.tenant_id.as_str());
        }
        asker.asks_about(&route.tenant_id);
        let role = app.sessions.role(&route, &user_id).await?.ok_or(Code::UserNotInTenant)?;
        match route.service.refusal() {
            None => app.databases.admit(&route).map(|()| Self { route, user_id, role }),
            Some(refusal) => Err(refusal),
        }
    }
}
