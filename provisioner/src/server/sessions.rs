//! Ending every session of a database user.
//!
//! A session outlives a lock, a new password, the loss of all rights and even the drop of its user; only `KILL` ends it. And a `KILL`
//! of nobody reports success, so what counts is the process list, looked at until it is empty.

use super::{Dialect, ServerError, Session};
use kernel::database::{self, sql};
use sqlx::{Executor, Row};
use std::collections::BTreeMap;
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
    pub async fn end_sessions_of(&mut self, username: &str) -> Result<(), ServerError> {
        let deadline = Instant::now() + PATIENCE;
        let mut empty_looks = 0;
        loop {
            let sessions = self.sessions_of(username).await?;
            empty_looks = if sessions.is_empty() { empty_looks + 1 } else { 0 };
            if empty_looks == 2 {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(ServerError::SessionsRemain { username: username.to_owned() });
            }
            self.kill(username, &sessions).await?;
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Ids of the sessions of `username`.
    pub async fn sessions_of(&mut self, username: &str) -> Result<Vec<u64>, ServerError> {
        if self.dialect == Dialect::MySql {
            let all = self.shown_sessions().await?;
            return Ok(all.into_iter().filter(|(_, user)| user == username).map(|(id, _)| id).collect());
        }
        let list = "SELECT CAST(ID AS UNSIGNED) FROM information_schema.PROCESSLIST WHERE USER = ?";
        let rows: Vec<(u64,)> = sqlx::query_as(list).bind(username).fetch_all(self.connection()).await?;
        Ok(rows.into_iter().map(|(id,)| id).collect())
    }

    /// How many sessions the users have whose names begin with `prefix`, also of users that are gone.
    pub async fn count_sessions(&mut self, prefix: &str) -> Result<BTreeMap<String, u32>, ServerError> {
        let mut counts = BTreeMap::new();
        if self.dialect == Dialect::MySql {
            for (_, user) in self.shown_sessions().await? {
                if user.starts_with(prefix) {
                    *counts.entry(user).or_default() += 1;
                }
            }
            return Ok(counts);
        }
        let list = "SELECT CONVERT(USER USING utf8mb4), CAST(COUNT(*) AS UNSIGNED) FROM information_schema.PROCESSLIST
                    WHERE LOCATE(?, USER) = 1 GROUP BY USER";
        let rows: Vec<(String, u64)> = sqlx::query_as(list).bind(prefix).fetch_all(self.connection()).await?;
        counts.extend(rows.into_iter().map(|(user, count)| (user, u32::try_from(count).unwrap_or(u32::MAX))));
        Ok(counts)
    }

    /// Ids and users of all sessions of a MySQL server. Its `information_schema.PROCESSLIST` cannot be read, whichever columns are
    /// asked for, while anybody's statement has bytes in it that are no text (error 3854), and
    /// `performance_schema.processlist` is empty where that is switched off.
    async fn shown_sessions(&mut self) -> Result<Vec<(u64, String)>, ServerError> {
        let rows = self.connection().fetch_all("SHOW PROCESSLIST").await?;
        rows.iter().map(|row| Ok((row.try_get_unchecked::<u64, _>(0)?, database::text(row, 1)?))).collect()
    }

    async fn kill(&mut self, username: &str, sessions: &[u64]) -> Result<(), ServerError> {
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
                Err(ServerError::Database(error)) if database::number(&error) == Some(1094) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
