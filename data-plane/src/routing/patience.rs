//! [`Patience`]: how long the follower waits for an answer of the system database, and when it counts as away.

use super::Freshness;
use kernel::database;
use std::time::Duration;
use tokio::time::Instant;

/// Without an answer for this long the system database counts as away, unless it was slow in the last [`REMEMBERED`].
/// It is just less than the time for which requests wait for a refresh ([`Freshness::ensure`]), so that a silent
/// database refuses none of them, and that knowledge older than 4 s is used only without a slower answer before.
const SHORT: Duration = Duration::from_secs(3);

/// Longest wait for one answer. Then the follower opens another connection.
const LONG: Duration = Duration::from_secs(8);

/// Longest wait for an answer that has every tenant, and for a connection, which takes several round trips.
pub const LONGEST: Duration = Duration::from_secs(30);

/// For so long a slow answer lets the follower expect others like it.
const REMEMBERED: Duration = Duration::from_secs(60);

/// To connect takes about as long as so many answers.
const ANSWERS_TO_CONNECT: u32 = 3;

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
pub struct Patience {
    /// Without an answer for this long the system database counts as away.
    until_away: Duration,
    /// When an answer was last as slow as that.
    since: Instant,
}

impl Default for Patience {
    fn default() -> Self {
        Self { until_away: SHORT, since: Instant::now() }
    }
}

impl Patience {
    /// Waits for an answer, and records whether the system database is away.
    pub async fn answer<T>(
        &mut self,
        freshness: &Freshness,
        asking: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, LoadError> {
        let (answer, waited) = wait(freshness, self.until_away, LONG, asking).await?;
        self.remember(waited);
        Ok(answer)
    }

    /// Waits for a connection.
    pub async fn connection<T>(
        &mut self,
        freshness: &Freshness,
        connecting: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, LoadError> {
        // One that is away already stays so without a pause, or requests would be refused in between.
        let was_slow = self.until_away > SHORT && self.since.elapsed() < REMEMBERED && !freshness.is_away();
        let until_away = if was_slow { self.until_away * ANSWERS_TO_CONNECT } else { SHORT };
        let (connection, waited) = wait(freshness, until_away, LONGEST, connecting).await?;
        self.remember(waited);
        Ok(connection)
    }

    /// One slow answer counts for a while: fast ones between slow ones must not let the node forget them.
    fn remember(&mut self, waited: Duration) {
        let expected = (SHORT + waited * 2).min(LONG);
        if expected >= self.until_away || self.since.elapsed() >= REMEMBERED {
            *self = Self { until_away: expected, since: Instant::now() };
        }
    }
}

/// Waits for an answer that has every tenant. It may take long, which says nothing about other answers.
pub async fn long_answer<T>(
    freshness: &Freshness,
    asking: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, LoadError> {
    Ok(wait(freshness, LONGEST, LONGEST, asking).await?.0)
}

/// Waits for an answer, records whether the system database is away, and returns how long it took.
async fn wait<T>(
    freshness: &Freshness,
    until_away: Duration,
    longest: Duration,
    asking: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<(T, Duration), LoadError> {
    tokio::pin!(asking);
    let mut waited = Duration::ZERO;
    while waited < longest {
        if let Ok(answer) = tokio::time::timeout(PIECE, &mut asking).await {
            let answer = answer?;
            freshness.answered();
            return Ok((answer, waited));
        }
        waited += PIECE;
        // Again with every piece, because that it is away counts for a while only.
        if waited >= until_away {
            freshness.away();
        }
    }
    Err(LoadError::Timeout)
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
        let late = Duration::from_millis(3500);
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
        patience.answer(&freshness, after(Duration::ZERO, Ok(()))).await.unwrap();
        let answer = tokio::time::timeout(late - PIECE, patience.answer(&freshness, after(late, Ok(())))).await;
        assert!(answer.is_err() && !freshness.is_away(), "a fast answer in between changes nothing");
        tokio::time::sleep(REMEMBERED).await;
        patience.answer(&freshness, after(Duration::ZERO, Ok(()))).await.unwrap();
        let answer = tokio::time::timeout(late - PIECE, patience.answer(&freshness, after(late, Ok(())))).await;
        assert!(answer.is_err() && freshness.is_away(), "that it was slow is forgotten after a minute");
    }

    #[tokio::test(start_paused = true)]
    async fn a_database_that_stays_silent_stays_away() {
        let (mut patience, freshness) = (Patience::default(), Freshness::default());
        let silent = patience.connection(&freshness, std::future::pending::<Result<(), sqlx::Error>>());
        tokio::pin!(silent);
        assert!(tokio::time::timeout(LONGEST - PIECE, &mut silent).await.is_err());
        freshness.answered();
        assert!(silent.await.is_err_and(|error| error.means_away()) && freshness.is_away(), "it is said again");
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_database_that_falls_silent_stays_away() {
        let (mut patience, freshness) = (Patience::default(), Freshness::default());
        patience.answer(&freshness, after(Duration::from_millis(2500), Ok(()))).await.unwrap();
        let silent = || std::future::pending::<Result<(), sqlx::Error>>();
        assert!(patience.answer(&freshness, silent()).await.is_err() && freshness.is_away());
        let connecting = patience.connection(&freshness, silent());
        tokio::pin!(connecting);
        assert!(tokio::time::timeout(Duration::ZERO, &mut connecting).await.is_err());
        // That it is away counts for a while only, by a clock that no test can set: as if that had passed.
        freshness.answered();
        assert!(tokio::time::timeout(SHORT + PIECE, &mut connecting).await.is_err());
        assert!(freshness.is_away(), "nothing was heard since it was found away, so it is said again in time");
    }

    #[tokio::test(start_paused = true)]
    async fn to_connect_to_a_slow_database_takes_longer() {
        let (mut patience, freshness) = (Patience::default(), Freshness::default());
        patience.answer(&freshness, after(Duration::from_millis(2500), Ok(()))).await.unwrap();
        patience.connection(&freshness, after(Duration::from_secs(15), Ok(()))).await.unwrap();
        let connecting = patience.connection(&freshness, after(Duration::from_secs(20), Ok(())));
        let connecting = tokio::time::timeout(Duration::from_secs(15), connecting).await;
        assert!(connecting.is_err() && !freshness.is_away());
    }
}
