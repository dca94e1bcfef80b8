//! [`App`]: the state that all handlers share.

use crate::connections::TenantDatabases;
use crate::members::Members;
use crate::profiles::Profiles;
use crate::routing::Routing;
use crate::sessions::Sessions;
use kernel::http::TrustedProxies;
use std::ops::Deref;
use std::sync::Arc;

/// The state that all handlers share. Every extractor of a request clones it, so a clone costs one reference count.
#[derive(Clone)]
pub struct App(Arc<Parts>);

/// What an [`App`] consists of.
pub struct Parts {
    /// Finds the tenant of a request.
    pub routing: Arc<Routing>,
    /// The proxies whose forwarded headers count.
    pub trusted: Arc<TrustedProxies>,
    /// Finds the user of a token.
    pub sessions: Arc<Sessions>,
    /// Finds the role of a user in a tenant.
    pub members: Arc<Members>,
    /// Reads the names and addresses of users.
    pub profiles: Arc<Profiles>,
    /// Opens the tenants' databases.
    pub databases: TenantDatabases,
}

impl App {
    /// Shares the parts.
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}

impl Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}
