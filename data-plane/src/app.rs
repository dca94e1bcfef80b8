//! [`App`]: what every handler may use.

use crate::connections::TenantDatabases;
use crate::profiles::Profiles;
use crate::routing::Routing;
use crate::sessions::Sessions;
use kernel::http::TrustedProxies;
use std::ops::Deref;
use std::sync::Arc;

/// Everything a request may use. Every extractor of a request takes a clone, so that is one counter.
#[derive(Clone)]
pub struct App(Arc<Parts>);

/// What an [`App`] consists of.
pub struct Parts {
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

impl App {
    /// Of these parts.
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
