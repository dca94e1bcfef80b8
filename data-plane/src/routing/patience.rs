//! [`Patience`]: how long the follower waits for an answer of the system database, and when it counts as away.

use super::Freshness;
use kernel::database;
use std::time::Duration;

/// Without an answer for this long the system database counts as away, unless its latest answers were slow too.
/// Requests that wait for a refresh ([`Freshness::ensure`]) then continue before their own wait ends.
const SHORT: Duration = Duration::from_millis(2500);

/// Longest wait for one answer. Then the follower opens another connection.
pub const LONG: Duration = Duration::from_secs(8);

/// Longest wait for an answer that has every tenant.
pub const EVERY_TENANT: Duration = Duration::from_secs(30);

/// The wait is counted in pieces, so that a pause of the process counts as one of them at most: a database that could
/// not be heard while the process was stopped is not away.
const PIECE: Duration = Duration::from_millis(250);

/// Why the system database gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It did not answer in time.
    #[error("the system database did not answer in time")]
    Timeout,
    /// The query failed.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl LoadError {
    /// Whether the system database is away. Otherwise it has answered, but not what the node needs.
    pub fn means_away(&self) -> bool {
        match self {
            Self::Timeout => true,
            Self::Database(error) => database::is_unreachable(error),
        }
    }
}

/// The patience, which grows while answers are slow.
pub struct Patience(Duration);

impl Default for Patience {
    fn default() -> Self {
        Self(SHORT)
    }
}

impl Patience {
    /// Waits for an answer, and records whether the system database is away.
    pub async fn answer<T>(
        &mut self,
        freshness: &Freshness,
        asking: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, LoadError> {
        self.wait(freshness, LONG, asking).await
    }

    /// Waits for an answer that has every tenant and so may take long.
    pub async fn long_answer<T>(
        &mut self,
        freshness: &Freshness,
        asking: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, LoadError> {
        self.0 = EVERY_TENANT;
        self.wait(freshness, EVERY_TENANT, asking).await
    }

    async fn wait<T>(
        &mut self,
        freshness: &Freshness,
        longest: Duration,
        asking: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, LoadError> {
        tokio::pin!(asking);
        let mut waited = Duration::ZERO;
        while waited < longest {
            if let Ok(answer) = tokio::time::timeout(PIECE, &mut asking).await {
                let answer = answer?;
                freshness.answered();
                self.0 = (waited * 2).clamp(SHORT, LONG);
                return Ok(answer);
            }
            waited += PIECE;
            if waited == self.0 {
                freshness.away();
            }
        }
        Err(LoadError::Timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn after<T>(time: Duration, answer: T) -> T {
        tokio::time::sleep(time).await;
        answer
    }

    #[tokio::test(start_paused = true)]
    async fn a_database_that_is_silent_counts_as_away() {
        let (mut patience, freshness) = (Patience::default(), Freshness::default());
        let silent = patience.answer(&freshness, std::future::pending::<Result<(), sqlx::Error>>());
        let silent = tokio::time::timeout(SHORT + PIECE, silent).await;
        assert!(silent.is_err() && freshness.is_away(), "it counts as away while the follower still waits");
        let refused = patience.answer(&freshness, std::future::pending::<Result<(), sqlx::Error>>()).await;
        assert!(refused.is_err_and(|error| error.means_away()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_database_that_answers_late_is_not_away() {
        let (mut patience, freshness) = (Patience::default(), Freshness::default());
        let late = Duration::from_secs(3);
        patience.answer(&freshness, after(late, Ok(()))).await.unwrap();
        assert!(!freshness.is_away(), "it has answered at last");
        for _ in 0..3 {
            let answer = patience.answer(&freshness, after(late, Ok(())));
            tokio::pin!(answer);
            assert!(tokio::time::timeout(late - PIECE, &mut answer).await.is_err());
            assert!(!freshness.is_away(), "its latest answer was as slow");
            answer.await.unwrap();
        }
        let failed = patience.answer(&freshness, after(PIECE, Err::<(), _>(sqlx::Error::RowNotFound))).await;
        assert!(failed.is_err_and(|error| !error.means_away()));
    }
}
