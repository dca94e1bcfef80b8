//! [`TenantState`]: the states of a tenant's life, by their words and by the seed's numbers. How one follows from another is
//! [`super::Tenant::decide`]'s matter.

use serde::{Deserialize, Serialize};
use std::fmt;
use utoipa::ToSchema;

/// Where a tenant is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TenantState {
    /// Accepted; workers are making its database.
    Provisioning,
    /// Served.
    Active,
    /// Refused by decision of an administrator.
    Suspended,
    /// Refused for a while, with `Retry-After`.
    Maintenance,
    /// Could not be provisioned; nothing of it exists on a database server.
    Failed,
    /// Not served, as if it were not there; its data is kept for a while.
    Deleted,
    /// Gone, but for its history and its id.
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

    /// The number in `saas_tenants.status`: 0 stopped, 1 normal, 2 maintenance; 3 and 4 are ours.
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
