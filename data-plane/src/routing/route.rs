//! [`Route`]: what a node knows about one tenant.

use super::{Limits, Plans};
use kernel::domain::{DomainName, Position, Tenant, TenantId, TenantState};
use kernel::http::{ApiError, Code};
use std::sync::Arc;

/// Seconds after which a client may repeat a request to a tenant in maintenance.
const MAINTENANCE_RETRY: u32 = 30;

/// Whether a tenant is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Availability {
    /// Requests are answered.
    Served,
    /// An operator has suspended the tenant.
    Suspended,
    /// The tenant was deleted, and requests get the same answer as for an unknown tenant. Its domains remain its own
    /// until it is purged, so no other tenant answers on them.
    Gone,
    /// The tenant is in maintenance for a while.
    Maintenance,
    /// The tenant has no database (yet), or only a newer version of this program can read its row. The node never
    /// guesses what it cannot read.
    Unavailable,
}

impl Availability {
    /// The error that a member gets instead of an answer; `None`: the tenant is served.
    pub fn refusal(self) -> Option<ApiError> {
        match self {
            Self::Served => None,
            Self::Suspended => Some(Code::TenantSuspended.into()),
            Self::Gone => Some(Code::TenantNotFound.into()),
            Self::Maintenance => Some(ApiError::from(Code::TenantMaintenance).retry_after(MAINTENANCE_RETRY)),
            Self::Unavailable => Some(Code::TenantUnavailable.into()),
        }
    }

    /// The availability of a tenant in its current state. A tenant that is being moved to another server counts as in
    /// maintenance.
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

/// The address of a tenant's database and the login of its user. It has no `Debug`, because it holds a (sealed)
/// password.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseAddress {
    /// Host of the database server.
    pub host: String,
    /// Port of the database server.
    pub port: u16,
    /// Name of the database.
    pub name: String,
    /// The tenant's own database user.
    pub username: String,
    /// The user's password, sealed.
    pub sealed_password: String,
}

/// One tenant, as the follower read it.
#[derive(Clone)]
pub struct Route {
    /// The tenant. Shared, because cache keys contain it.
    pub tenant_id: Arc<TenantId>,
    /// The display name.
    pub tenant_name: String,
    /// The primary domain.
    pub tenant_domain: Option<DomainName>,
    /// All domains that route to the tenant.
    pub domains: Vec<DomainName>,
    /// Whether requests are answered.
    pub availability: Availability,
    /// Position of an event of the tenant up to which this route includes all changes. It may include newer ones.
    pub position: Position,
    /// The address of its database.
    pub database: DatabaseAddress,
    /// The name of its plan.
    pub plan_type: String,
    /// The most connections of its database user, unless its plan sets another number.
    pub own_connections: u32,
    /// The most connections of its database user. [`super::Table`] sets it from the plan, like the limits.
    pub max_connections: u32,
    /// The limits of its plan.
    pub limits: Limits,
    /// Rises with every change after which open connections must not be used any more. [`super::Table`] sets it.
    pub generation: u64,
}

impl Route {
    /// Whether connections that were opened for the route `before` may be used for this one.
    pub fn keeps_connections_of(&self, before: &Self) -> bool {
        self.database == before.database
            && self.availability == Availability::Served
            && before.availability == Availability::Served
    }

    /// Sets the limits of its plan. Returns whether they have changed.
    pub fn apply_plan(&mut self, plans: &Plans) -> bool {
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
            availability: Availability::Served,
            position: Position(1),
            database: DatabaseAddress {
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
    fn only_a_new_address_or_availability_ends_connections() {
        let before = route("acme");
        let mut renamed = before.clone();
        renamed.tenant_name = "New".into();
        renamed.position = Position(2);
        assert!(renamed.keeps_connections_of(&before));
        let mut rotated = before.clone();
        rotated.database.username = "acme_b".into();
        assert!(!rotated.keeps_connections_of(&before));
        let mut suspended = before.clone();
        suspended.availability = Availability::Suspended;
        assert!(!suspended.keeps_connections_of(&before));
        assert!(!before.keeps_connections_of(&suspended));
    }
}
