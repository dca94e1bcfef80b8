//! Answers questions for the present figures of one tenant, a few side by side, so that a tenant that takes long to
//! count holds up no others.

use super::Statistician;
use super::count::Counting;
use super::error::CountError;
use crate::server::Marker;
use chrono::NaiveDateTime;
use futures::{StreamExt, stream};
use kernel::database;
use kernel::error::chain;
use kernel::process::shutdown::Shutdown;
use kernel::statistics::{self, Figures};
use sqlx::MySqlConnection;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::timeout;

/// Questions taken at once.
const AT_ONCE: u32 = 16;
/// Connections to the database server, at most.
const CONNECTIONS: usize = 2;
/// Longest time for one count. The request does not wait longer.
const DEADLINE: Duration = Duration::from_secs(5);
/// Without a doorbell, the worker polls this often: a request waits for the answer.
const POLL: Duration = Duration::from_secs(2);
/// A connection that was not used for so many polls is closed.
const IDLE_LOOKS: u32 = 15;

impl Statistician {
    /// Answers until the process is asked to stop.
    pub(super) async fn answer(self: Arc<Self>, shutdown: Shutdown) {
        let open = Mutex::new(Vec::new());
        let mut idle = 0;
        while !shutdown.is_requested() {
            let asked = statistics::claim_asked(self.store.pool(), &self.server.id, AT_ONCE).await.unwrap_or_default();
            idle = if asked.is_empty() { idle + 1 } else { 0 };
            if idle > IDLE_LOOKS {
                open.lock().unwrap_or_else(PoisonError::into_inner).clear();
            }
            if !asked.is_empty() {
                let answering = stream::iter(asked).for_each_concurrent(CONNECTIONS, |(tenant_id, began)| {
                    let (this, open) = (&self, &open);
                    async move { this.reply(open, &tenant_id, began).await }
                });
                answering.await;
                continue;
            }
            tokio::select! {
                () = self.asked.notified() => {}
                () = tokio::time::sleep(POLL) => {}
                () = shutdown.requested() => {}
            }
        }
    }

    async fn reply(&self, open: &Mutex<Vec<MySqlConnection>>, tenant_id: &str, began: NaiveDateTime) {
        let counted = timeout(DEADLINE, self.now(open, tenant_id, began)).await;
        let counted = counted.unwrap_or_else(|_| Err(CountError::TooLong)).map_err(|error| {
            tracing::warn!(tenant_id, cause = %chain(&error), "a tenant could not be counted");
            error.reason(&self.server.id)
        });
        let counted = counted.as_ref().map_err(String::as_str);
        if let Err(error) = statistics::reply(self.store.pool(), tenant_id, began, counted).await {
            tracing::warn!(cause = %error, "an answer could not be given");
        }
    }

    async fn now(
        &self,
        open: &Mutex<Vec<MySqlConnection>>,
        tenant_id: &str,
        began: NaiveDateTime,
    ) -> Result<Figures, CountError> {
        let tenant_id = tenant_id.parse().map_err(|_| CountError::NoTenant)?;
        let marker = Marker::new(&self.installation, &tenant_id);
        loop {
            let former = open.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let is_new = former.is_none();
            let mut connection = match former {
                Some(connection) => connection,
                None => {
                    let mut connection = self.server.connect().await?;
                    database::limit_statements(&mut connection, DEADLINE).await?;
                    connection
                }
            };
            let dialect = self.server.learn_dialect(&mut connection).await?;
            let mut counting = Counting { connection: &mut connection, system: self.store.pool(), marker: &marker };
            match counting.count(dialect, &[began.date()]).await {
                Ok(mut figures) => {
                    open.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
                    return figures.pop().ok_or(CountError::NoFigures);
                }
                // A connection that stayed open may have died since.
                Err(error) if !is_new && error.is_unreachable() => {}
                Err(error) => return Err(error),
            }
        }
    }
}
