//! Measures how fast the system database answers this process, and how much of the pool is in use.

use super::names;
use crate::process::shutdown::Shutdown;
use sqlx::MySqlPool;
use std::time::{Duration, Instant};

/// How often the system database is measured.
const INTERVAL: Duration = Duration::from_secs(2);
/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Measures until the process is asked to stop.
pub async fn watch_system_database(pool: MySqlPool, shutdown: Shutdown) {
    metrics::gauge!(names::SYSTEM_DATABASE_CONNECTIONS_LIMIT).set(pool.options().get_max_connections());
    loop {
        let began = Instant::now();
        let asked = tokio::time::timeout(TIMEOUT, sqlx::query("SELECT 1").execute(&pool)).await;
        metrics::histogram!(names::SYSTEM_DATABASE_RESPONSE_DURATION).record(began.elapsed());
        metrics::gauge!(names::SYSTEM_DATABASE_UP).set(u8::from(matches!(asked, Ok(Ok(_)))));
        let (size, idle) = (pool.size(), u32::try_from(pool.num_idle()).unwrap_or(u32::MAX));
        metrics::gauge!(names::SYSTEM_DATABASE_CONNECTIONS, "state" => "idle").set(idle);
        metrics::gauge!(names::SYSTEM_DATABASE_CONNECTIONS, "state" => "in_use").set(size.saturating_sub(idle));
        tokio::select! { () = tokio::time::sleep(INTERVAL) => {}, () = shutdown.requested() => return }
    }
}
