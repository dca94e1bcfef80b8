//! Counting tenants. [`count`] is the SQL of one tenant, for the jobs of the kind `collect` and for [`live`], which
//! answers questions for the present figures of one tenant. [`publish`](mod@publish) adds up the system's day and
//! stores it in Redis too.
//!
//! **Bound.** A collection uses [`Collecting::connections`] connections to its database server, and the answers use 2
//! more, however many tenants there are: the administrator's account reads every tenant by its full name, so a
//! connection serves one tenant after the other.

mod count;
mod error;
mod live;
mod publish;

pub use count::{Counting, DAYS};
pub use error::CountError;
pub use publish::{DailyStatisticsCache, publish};

use crate::server::Server;
use kernel::process::shutdown::Shutdown;
use kernel::store::Store;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// How often a worker checks for collections that older programs have requested.
const ADOPT_EVERY: Duration = Duration::from_secs(5);

/// What the collections of one database server use.
#[derive(Clone)]
pub struct Collecting {
    /// Connections to the server, at most.
    pub connections: u32,
    /// Where the day is stored beside the system database.
    pub cache: DailyStatisticsCache,
}

impl Default for Collecting {
    /// One connection, and no cache.
    fn default() -> Self {
        Self { connections: 1, cache: DailyStatisticsCache::default() }
    }
}

/// Answers questions for the figures of the tenants of one database server.
pub struct Statistician {
    /// The system database.
    pub store: Store,
    /// The tenants' server.
    pub server: Arc<Server>,
    /// This installation's id, for markers.
    pub installation: String,
    /// Rung when the control plane may have asked a question.
    pub asked: Arc<Notify>,
}

impl Statistician {
    /// Works until the process is asked to stop.
    pub async fn run(self, shutdown: Shutdown) {
        let this = Arc::new(self);
        shutdown.spawn(Arc::clone(&this).answer(shutdown.clone()));
        this.adopt(shutdown).await;
    }

    /// Makes jobs of collections that a control plane from before migration 22 has requested.
    async fn adopt(&self, shutdown: Shutdown) {
        while !shutdown.is_requested() {
            match kernel::statistics::adopt(self.store.pool(), &self.server.id).await {
                Ok(0) => {}
                Ok(adopted) => tracing::info!(server = self.server.id, adopted, "collections became jobs"),
                Err(error) => tracing::warn!(server = self.server.id, cause = %error, "collections were not adopted"),
            }
            tokio::select! { () = tokio::time::sleep(ADOPT_EVERY) => {}, () = shutdown.requested() => {} }
        }
    }
}
