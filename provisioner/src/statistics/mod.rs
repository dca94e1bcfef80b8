//! Counting tenants: whole servers when a collection was asked for, one tenant when somebody wants its present figures.
//!
//! [`count`] is the SQL of one tenant, [`collect`] counts a server's tenants under a lease, [`live`] answers questions,
//! [`publish`] adds up the system's day and puts it on the noticeboard.
//!
//! **Bound.** Collecting uses [`Statistician::connections`] connections to each database server, answering one more, however
//! many tenants there are: the administrator's account reads every tenant by its full name, so a connection serves one
//! tenant after the other.

mod collect;
mod count;
mod error;
mod live;
mod publish;

pub use publish::Noticeboard;

use crate::server::Server;
use kernel::process::shutdown::Shutdown;
use kernel::store::Store;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// Without a doorbell, look this often.
const POLL: Duration = Duration::from_secs(1);

/// Counts the tenants of one database server.
pub struct Statistician {
    /// The system database.
    pub store: Store,
    /// The tenants' server.
    pub server: Arc<Server>,
    /// This installation's id, for markers.
    pub installation: String,
    /// Where the day is shown.
    pub noticeboard: Noticeboard,
    /// Connections to the server for collecting, at most.
    pub connections: u32,
    /// Length of a lease.
    pub lease: Duration,
    /// Rung when somebody asked something.
    pub asked: Arc<Notify>,
}

impl Statistician {
    /// Works until the process is asked to stop.
    pub async fn run(self, shutdown: Shutdown) {
        let this = Arc::new(self);
        shutdown.spawn(Arc::clone(&this).answer(shutdown.clone()));
        this.collect(shutdown).await;
    }
}
