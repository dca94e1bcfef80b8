//! Answers questions for the present figures of one tenant, one after the other, on one connection.

use super::Statistician;
use super::count::Counting;
use super::error::CountError;
use crate::server::Marker;
use chrono::NaiveDateTime;
use kernel::error::chain;
use kernel::process::shutdown::Shutdown;
use kernel::statistics::{self, Figures};
use sqlx::MySqlConnection;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// Questions taken at once.
const AT_ONCE: u32 = 16;
/// Longest time for one count. The request does not wait longer.
const DEADLINE: Duration = Duration::from_secs(5);
/// Without a doorbell, the worker polls this often: a request waits for the answer.
const POLL: Duration = Duration::from_millis(500);
/// A connection that was not used for so long is closed.
const IDLE_LOOKS: u32 = 60;

impl Statistician {
    /// Answers until the process is asked to stop.
    pub(super) async fn answer(self: Arc<Self>, shutdown: Shutdown) {
        let mut open: Option<MySqlConnection> = None;
        let mut idle = 0;
        while !shutdown.is_requested() {
            let asked = statistics::claim_asked(self.store.pool(), &self.server.id, AT_ONCE).await.unwrap_or_default();
            idle = if asked.is_empty() { idle + 1 } else { 0 };
            if idle > IDLE_LOOKS {
                open = None;
            }
            let found_some = !asked.is_empty();
            for (tenant_id, began) in asked {
                let counted = timeout(DEADLINE, self.now(&mut open, &tenant_id, began)).await;
                let counted = counted.unwrap_or_else(|_| Err(CountError::TooLong));
                let counted = counted.map_err(|error| {
                    tracing::warn!(tenant_id, cause = %chain(&error), "a tenant could not be counted");
                    error.reason(&self.server.id)
                });
                let counted = counted.as_ref().map_err(String::as_str);
                if let Err(error) = statistics::reply(self.store.pool(), &tenant_id, began, counted).await {
                    tracing::warn!(cause = %error, "an answer could not be given");
                }
            }
            if found_some {
                continue;
            }
            tokio::select! {
                () = self.asked.notified() => {}
                () = tokio::time::sleep(POLL) => {}
                () = shutdown.requested() => {}
            }
        }
    }

    async fn now(
        &self,
        open: &mut Option<MySqlConnection>,
        tenant_id: &str,
        began: NaiveDateTime,
    ) -> Result<Figures, CountError> {
        let tenant_id = tenant_id.parse().map_err(|_| CountError::NoTenant)?;
        let marker = Marker::new(&self.installation, &tenant_id);
        let mut repeated = open.is_none();
        loop {
            let mut connection = match open.take() {
                Some(connection) => connection,
                None => self.server.connect().await?,
            };
            let dialect = self.server.learn_dialect(&mut connection).await?;
            let mut counting = Counting { connection: &mut connection, system: self.store.pool(), marker: &marker };
            match counting.count(dialect, &[began.date()]).await {
                Ok(mut figures) => {
                    *open = Some(connection);
                    return figures.pop().ok_or(CountError::NoFigures);
                }
                // A connection that stayed open may have died since.
                Err(error) if !repeated && error.is_unreachable() => repeated = true,
                Err(error) => return Err(error),
            }
        }
    }
}
