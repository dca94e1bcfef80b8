//! [`TenantState`]: the states of a tenant's life, with their words and numbers. [`super::Tenant::decide`] says how one
//! follows from another.

use serde::{Deserialize, Serialize};
use std::fmt;
use utoipa::ToSchema;

/// The state of a tenant's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TenantState {
    /// The tenant is accepted, and a worker creates its database.
    Provisioning,
    /// The tenant is served.
    Active,
    /// An operator has suspended the tenant.
    Suspended,
    /// The tenant is refused for a while, with `Retry-After`.
    Maintenance,
    /// Provisioning failed, and nothing of the tenant exists on a database server.
    Failed,
    /// The tenant is not served, as if it did not exist. Its data is retained for a while.
    Deleted,
    /// Nothing remains but the tenant's history and its id.
    Purged,
}

impl TenantState {
    /// Every state.
    pub const ALL: [Self; 7] = [
        Self::Provisioning,
        Self::Active,
        Self::Suspended,
        Self::Maintenance,
        Self::Failed,
        Self::Deleted,
        Self::Purged,
    ];

    /// The word of the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Provisioning => "provisioning",
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Maintenance => "maintenance",
            Self::Failed => "failed",
            Self::Deleted => "deleted",
            Self::Purged => "purged",
        }
    }

    /// The number in `saas_tenants.status`: 0 stopped, 1 normal, 2 maintenance, 3 provisioning, 4 failed.
    pub fn status(self) -> i16 {
        match self {
            Self::Suspended | Self::Deleted | Self::Purged => 0,
            Self::Active => 1,
            Self::Maintenance => 2,
            Self::Provisioning => 3,
            Self::Failed => 4,
        }
    }
}

impl fmt::Display for TenantState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
