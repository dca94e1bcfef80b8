//! Kills every session of a database user.
//!
//! A session outlives the lock of its account, a new password, the loss of all rights and even the drop of its user;
//! only `KILL` ends it. `KILL USER` succeeds also when there is no session, so the process list is read until it is
//! empty.

use super::{Dialect, ServerError, Session};
use kernel::database::{self, sql};
use sqlx::{Executor, Row};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// Longest time until killed sessions have ended. A session with much to roll back takes longer; the next attempt of
/// the job finds it again.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two checks of the process list.
const PAUSE: Duration = Duration::from_millis(50);

impl Session {
    /// Kills all sessions of `username`, whose account is locked. Returns when two checks in a row found none: a login
    /// that had passed the check of the lock just before may appear between them.
    pub async fn kill_sessions_of(&mut self, username: &str) -> Result<(), ServerError> {
        let deadline = Instant::now() + PATIENCE;
        let mut empty_checks = 0;
        loop {
            let sessions = self.sessions_of(username).await?;
            empty_checks = if sessions.is_empty() { empty_checks + 1 } else { 0 };
            if empty_checks == 2 {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(ServerError::SessionsRemain { username: username.to_owned() });
            }
            self.kill(username, &sessions).await?;
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// The ids of the sessions of `username`.
    pub async fn sessions_of(&mut self, username: &str) -> Result<Vec<u64>, ServerError> {
        if self.dialect == Dialect::MySql {
            let all = self.shown_sessions().await?;
            return Ok(all.into_iter().filter(|(_, user)| user == username).map(|(id, _)| id).collect());
        }
        let list = "SELECT CAST(ID AS UNSIGNED) FROM information_schema.PROCESSLIST WHERE USER = ?";
        let rows: Vec<(u64,)> = sqlx::query_as(list).bind(username).fetch_all(self.connection()).await?;
        Ok(rows.into_iter().map(|(id,)| id).collect())
    }

    /// The number of sessions of each user whose name begins with `prefix`, including users that were dropped.
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

    /// Ids and users of all sessions of a MySQL server. Its `information_schema.PROCESSLIST` cannot be read, whichever
    /// columns are selected, while any running statement has bytes in it that are no text (error 3854), and
    /// `performance_schema.processlist` is empty where it is switched off.
    async fn shown_sessions(&mut self) -> Result<Vec<(u64, String)>, ServerError> {
        let rows = self.connection().fetch_all("SHOW PROCESSLIST").await?;
        rows.iter().map(|row| Ok((row.try_get_unchecked::<u64, _>(0)?, database::text(row, 1)?))).collect()
    }

    async fn kill(&mut self, username: &str, sessions: &[u64]) -> Result<(), ServerError> {
        let statements: Vec<String> = match self.dialect {
            _ if sessions.is_empty() => Vec::new(),
            // Without a host, which would be compared with the client's address and not with the host of the account.
            Dialect::MariaDb => vec![format!("KILL USER {}", sql::literal(username)?)],
            Dialect::MySql => sessions.iter().map(|id| format!("KILL {id}")).collect(),
        };
        for statement in statements {
            match self.execute(&statement).await {
                Ok(()) => {}
                // The session has ended by itself.
                Err(ServerError::Database(error)) if database::number(&error) == Some(1094) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
