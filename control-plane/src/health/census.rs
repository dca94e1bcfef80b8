//! How many users and memberships there are. Counting takes longer as the installation grows, so a task of its own
//! counts, seldom, and no request does.

use chrono::{DateTime, Utc};
use kernel::process::shutdown::Shutdown;
use kernel::store::Store;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How often the task counts.
const EVERY: Duration = Duration::from_secs(600);
/// How soon it tries again after a failure.
const RETRY: Duration = Duration::from_secs(30);

/// The newest counts. Clones share them.
#[derive(Clone, Default)]
pub struct Census(Arc<Mutex<Option<Counts>>>);

/// What was counted, and when.
#[derive(Clone, Copy)]
pub struct Counts {
    pub users: i64,
    pub members: i64,
    pub at: DateTime<Utc>,
}

impl Census {
    /// Counts until the process is asked to stop.
    pub async fn keep(self, store: Store, shutdown: Shutdown) {
        loop {
            let counting = sqlx::query_as(
                "SELECT (SELECT COUNT(*) FROM user_info),
                        (SELECT COUNT(*) FROM saas_tenant_users WHERE status = 1 AND deleted = 0)",
            );
            let wait = match counting.fetch_one(store.pool()).await {
                Ok((users, members)) => {
                    let counts = Counts { users, members, at: Utc::now() };
                    *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(counts);
                    EVERY
                }
                Err(error) => {
                    tracing::debug!(%error, "users could not be counted");
                    RETRY
                }
            };
            tokio::select! { () = tokio::time::sleep(wait) => {}, () = shutdown.requested() => return }
        }
    }

    /// The newest counts; `None` before the first.
    pub fn newest(&self) -> Option<Counts> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
