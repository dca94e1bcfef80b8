//! The number of connections that are open at once, as the database server counts them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use anyhow::Result;
use sqlx::{Connection, MySqlConnection};
use tokio::task::JoinHandle;

/// Samples the server's list of sessions in the background.
///
/// The server counts a closed connection until it has read the goodbye of the client. A caller that does not want to
/// count such connections asks for the smallest of several samples in a row: an open connection is in all of them.
pub struct MostConnections {
    over: Arc<AtomicBool>,
    most: Arc<AtomicI64>,
    sampler: JoinHandle<Result<()>>,
}

impl MostConnections {
    /// Samples the sessions that this condition on `information_schema.PROCESSLIST` describes. The smallest of
    /// `in_a_row` samples counts; with 1, every sample does.
    pub async fn sample(root_url: &str, condition: &str, every: Duration, in_a_row: usize) -> Result<Self> {
        let mut root = MySqlConnection::connect(root_url).await?;
        let count = format!("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE {condition}");
        let (over, most) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicI64::new(0)));
        let (ended, max) = (Arc::clone(&over), Arc::clone(&most));
        let sampler = tokio::spawn(async move {
            let mut samples = vec![0; in_a_row];
            while !ended.load(Ordering::SeqCst) {
                samples.rotate_left(1);
                samples[in_a_row - 1] = sqlx::query_scalar(&count).fetch_one(&mut root).await?;
                max.fetch_max(samples.iter().copied().min().unwrap_or_default(), Ordering::SeqCst);
                tokio::time::sleep(every).await;
            }
            Ok(())
        });
        Ok(Self { over, most, sampler })
    }

    /// Ends the sampling, and returns the highest number of connections that were open at once.
    pub async fn end(self) -> Result<i64> {
        self.over.store(true, Ordering::SeqCst);
        self.sampler.await??;
        Ok(self.most.load(Ordering::SeqCst))
    }
}
