//! Ending every session of a database user.
//!
//! A session outlives a lock, a new password, the loss of all rights and even the drop of its user; only `KILL` ends it. And a `KILL`
//! of nobody reports success, so what counts is the process list, looked at until it is empty.

use super::{Dialect, Session};
use crate::saga::StepError;
use kernel::sql;
use std::time::Duration;
use tokio::time::Instant;

/// Longest time for killed sessions to be gone: one that rolls back much takes a while, and is looked at again by the next
/// attempt.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);

impl Session {
    /// Ends all sessions of `username`, whose account is locked. Returns when two looks at the process list in a row found
    /// none: a login that had passed the lock's check just before may appear between them.
    pub async fn end_sessions_of(&mut self, username: &str) -> Result<(), StepError> {
        let deadline = Instant::now() + PATIENCE;
        let mut empty_looks = 0;
        loop {
            let sessions = self.sessions_of(username).await?;
            empty_looks = if sessions.is_empty() { empty_looks + 1 } else { 0 };
            if empty_looks == 2 {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(StepError::Transient("sessions of the tenant's account do not end".into()));
            }
            self.kill(username, &sessions).await?;
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Ids of the sessions of `username`.
    pub async fn sessions_of(&mut self, username: &str) -> Result<Vec<u64>, StepError> {
        let list = "SELECT CAST(ID AS UNSIGNED) FROM information_schema.PROCESSLIST WHERE USER = ?";
        let rows: Vec<(u64,)> = sqlx::query_as(list).bind(username).fetch_all(self.connection()).await?;
        Ok(rows.into_iter().map(|(id,)| id).collect())
    }

    async fn kill(&mut self, username: &str, sessions: &[u64]) -> Result<(), StepError> {
        let statements: Vec<String> = match self.dialect {
            _ if sessions.is_empty() => Vec::new(),
            // Without a host: it would be compared with where each session comes from, not with the account's own.
            Dialect::MariaDb => vec![format!("KILL USER {}", sql::literal(username)?)],
            Dialect::MySql => sessions.iter().map(|id| format!("KILL {id}")).collect(),
        };
        for statement in statements {
            match self.execute(&statement).await {
                Ok(()) => {}
                // It has ended by itself.
                Err(StepError::Database(error)) if kernel::database::number(&error) == Some(1094) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
