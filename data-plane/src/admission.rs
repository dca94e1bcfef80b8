//! Admission: every route of the tenants' API begins with the extractor [`Caller`], which lets a request in or refuses
//! it.
//!
//! Only a [`Caller`] has a route to a database, so a handler cannot forget the check. The order of the checks is part
//! of the contract:
//!
//! 1. the node's knowledge is fresh (503);
//! 2. the request names a tenant in a valid form (400, 422);
//! 3. its token belongs to a session (401);
//! 4. the tenant exists (404);
//! 5. the user is a member of the tenant (403);
//! 6. the tenant is served (403, 503);
//! 7. the tenant's rate has room (429).
//!
//! So only members learn what state a tenant is in, and only their requests count against its rate. The plan's other
//! limits, how many requests are at work and waiting, apply when a handler enters the tenant's database
//! ([`TenantDatabases::enter`](crate::connections::TenantDatabases::enter)).

use crate::access_log::Attribution;
use crate::app::App;
use crate::routing::{Availability, Route, TenantHint};
use crate::sessions::{Session, token};
use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use kernel::domain::{Role, UserId};
use kernel::http::{ApiError, Code, OfTenant};
use std::net::SocketAddr;
use std::sync::Arc;

/// A member of the tenant that the request asks for, which is served.
pub struct Caller {
    /// The tenant.
    pub route: Arc<Route>,
    /// The user of the request's token.
    pub user_id: Arc<UserId>,
    /// The user's role in the tenant.
    pub role: Role,
}

impl FromRequestParts<App> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        app.routing.freshness.ensure().await?;
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| *peer);
        let hint = TenantHint::of(parts, peer, &app.trusted)?;
        let (found, default, position) = {
            let table = app.routing.table();
            (table.resolve(&hint)?, table.default_tenant(), table.position)
        };
        tracing::Span::current().record("position", position.0);
        let token = token::in_request(&parts.headers).ok_or(Code::Unauthenticated)?;
        let session = app.sessions.session(&token).await?;
        let is_default =
            |route: &Arc<Route>| default.as_ref().is_some_and(|default| default.tenant_id == route.tenant_id);
        // In other tenants a legacy session does not count at all, so its holder cannot find out which tenants exist.
        if matches!(session, Session::Legacy(_)) && !found.as_ref().is_some_and(is_default) {
            return Err(Code::Unauthenticated.into());
        }
        Self::admit(app, parts, found, session).await
    }
}

impl Caller {
    /// Admits the user of a session to the tenant that was found: the checks from the tenant's existence on.
    ///
    /// # Errors
    /// Why the request is refused.
    pub async fn admit(
        app: &App,
        parts: &Parts,
        found: Option<Arc<Route>>,
        session: Session,
    ) -> Result<Self, ApiError> {
        let (Session::Own(user_id) | Session::Legacy(user_id)) = session;
        let attribution = parts.extensions.get::<Attribution>().cloned().unwrap_or_default();
        attribution.set_user(&user_id);
        // A deleted tenant has no members who could learn more, so the answer is the same as for a tenant that never
        // existed.
        let route = found.filter(|route| route.availability != Availability::Gone).ok_or(Code::TenantNotFound)?;
        tracing::Span::current().record("tenant_id", route.tenant_id.as_str());
        if let Some(of_tenant) = parts.extensions.get::<OfTenant>() {
            of_tenant.set(route.tenant_id.as_str());
        }
        attribution.set_tenant(&route.tenant_id);
        let member = app.members.find(&route.tenant_id, &user_id).await?.ok_or(Code::UserNotInTenant)?;
        let role = member.role;
        match route.availability.refusal() {
            None => app.databases.check_rate(&route).map(|()| Self { route, user_id, role }),
            Some(refusal) => Err(refusal),
        }
    }
}
