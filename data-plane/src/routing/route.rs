//! [`Route`]: what a node knows of one tenant.

use super::{Limits, Plans};
use kernel::domain::{DomainName, Position, Tenant, TenantId, TenantState};
use kernel::http::{ApiError, Code};
use std::sync::Arc;

/// Seconds after which a client may ask a tenant in maintenance again.
const MAINTENANCE_RETRY: u32 = 30;

/// Whether a tenant is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Requests are answered.
    Served,
    /// Refused by decision of an administrator.
    Suspended,
    /// Deleted: as if it were not there. Its domains stay its own until it is purged, so nobody else answers on them.
    Gone,
    /// Refused for a while.
    Maintenance,
    /// Not served: it has no database (yet), or its row is of a newer version than this program. What cannot be read is
    /// refused, never guessed.
    Unavailable,
}

impl Service {
    /// What a member is told instead of an answer.
    pub fn refusal(self) -> Option<ApiError> {
        match self {
            Self::Served => None,
            Self::Suspended => Some(Code::TenantSuspended.into()),
            Self::Gone => Some(Code::TenantNotFound.into()),
            Self::Maintenance => Some(ApiError::from(Code::TenantMaintenance).retry_after(MAINTENANCE_RETRY)),
            Self::Unavailable => Some(Code::TenantUnavailable.into()),
        }
    }

    /// What the tenant's present means. One that is being copied to another server is refused as in maintenance.
    pub fn of(tenant: &Tenant) -> Self {
        match tenant.state {
            TenantState::Active if tenant.database.moving_to.is_some() => Self::Maintenance,
            TenantState::Active => Self::Served,
            TenantState::Suspended => Self::Suspended,
            TenantState::Deleted | TenantState::Purged => Self::Gone,
            TenantState::Maintenance => Self::Maintenance,
            TenantState::Provisioning | TenantState::Failed => Self::Unavailable,
        }
    }
}

/// Where a tenant's data is and who may log in there. No `Debug`: it holds a (sealed) password.
#[derive(Clone, PartialEq, Eq)]
pub struct Place {
    /// Address of the database server.
    pub host: String,
    /// Port of it.
    pub port: u16,
    /// Name of the database.
    pub name: String,
    /// The tenant's own database user.
    pub username: String,
    /// Their password, sealed.
    pub sealed_password: String,
}

/// One tenant, as read at a position.
#[derive(Clone)]
pub struct Route {
    /// Whose. Shared, because keys of caches are made of it.
    pub tenant_id: Arc<TenantId>,
    /// Name for people.
    pub tenant_name: String,
    /// Primary domain.
    pub tenant_domain: Option<DomainName>,
    /// All domains that route to it.
    pub domains: Vec<DomainName>,
    /// Whether it is served.
    pub service: Service,
    /// Position of the tenant's newest event that this row includes; it may include newer ones.
    pub position: Position,
    /// Where its data is.
    pub place: Place,
    /// Its plan.
    pub plan_type: String,
    /// Most connections of its database user, if its plan does not say.
    pub own_connections: u32,
    /// Most connections of its database user. Set by [`super::Table`] from its plan, like the limits.
    pub max_connections: u32,
    /// What its plan allows.
    pub limits: Limits,
    /// Rises with every change after which open connections must not be used any more. Set by [`super::Table`].
    pub generation: u64,
}

impl Route {
    /// Whether connections opened for `before` may go on being used for this one.
    pub fn keeps_connections_of(&self, before: &Self) -> bool {
        self.place == before.place && self.service == Service::Served && before.service == Service::Served
    }

    /// Takes over what its plan says; whether that is something new.
    pub fn under(&mut self, plans: &Plans) -> bool {
        let plan = plans.get(&self.plan_type).copied().unwrap_or_default();
        let before = (self.limits, self.max_connections);
        self.limits = plan.limits;
        self.max_connections = plan.max_connections.unwrap_or(self.own_connections).max(1);
        before != (self.limits, self.max_connections)
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A served tenant with the domain `{id}.example.com`.
    pub fn route(id: &str) -> Route {
        Route {
            tenant_id: Arc::new(id.parse().unwrap()),
            tenant_name: id.to_uppercase(),
            tenant_domain: None,
            domains: vec![format!("{id}.example.com").parse().unwrap()],
            service: Service::Served,
            position: Position(1),
            place: Place {
                host: "db1".into(),
                port: 3306,
                name: format!("ai_shifu_tenant_{id}"),
                username: format!("{id}_a"),
                sealed_password: "v1.k.x".into(),
            },
            plan_type: "basic".into(),
            own_connections: 50,
            max_connections: 50,
            limits: Limits::default(),
            generation: 0,
        }
    }

    #[test]
    fn a_change_of_place_or_service_ends_connections_and_nothing_else_does() {
        let before = route("acme");
        let mut renamed = before.clone();
        renamed.tenant_name = "New".into();
        renamed.position = Position(2);
        assert!(renamed.keeps_connections_of(&before));
        let mut rotated = before.clone();
        rotated.place.username = "acme_b".into();
        assert!(!rotated.keeps_connections_of(&before));
        let mut suspended = before.clone();
        suspended.service = Service::Suspended;
        assert!(!suspended.keeps_connections_of(&before));
        assert!(!before.keeps_connections_of(&suspended));
    }
}
