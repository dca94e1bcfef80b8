//! How often each key has sealed, over all processes.
//!
//! Nonces are random, so a key is safe for 2^32 sealings (NIST SP 800-38D). Each process counts in memory and adds what
//! it counted to `saas_encryption_counts` every few seconds and when it stops; it learns the total at the same time.
//! [`KeyRing::seal`] refuses from [`SEALINGS_LIMIT`] on. A killed process loses the count of its last seconds, and one
//! that is cut off from the system database does not hear of the others: the limit is half of what is safe, which leaves
//! room for either.

use super::KeyRing;
use crate::process::shutdown::Shutdown;
use sqlx::MySqlPool;
use std::time::Duration;

/// From here on a key seals nothing more.
pub const SEALINGS_LIMIT: u64 = 1 << 31;

/// From here on the logs ask for another key.
pub const SEALINGS_WARNING: u64 = 1 << 30;

/// How often a process tells what it counted.
const INTERVAL: Duration = Duration::from_secs(5);

/// Longest time for telling it; one that did not succeed is told with the next.
const DEADLINE: Duration = Duration::from_secs(5);

impl KeyRing {
    /// Tells the count of the primary key now, and learns its total.
    pub async fn tell_count(&self, pool: &MySqlPool) -> Result<u64, sqlx::Error> {
        let key = self.primary_id();
        // Taken off after it was told: given up in between, it is counted twice rather than not at all.
        let sealed = self.untold();
        if sealed > 0 {
            sqlx::query(
                "INSERT INTO saas_encryption_counts (key_id, sealed, last_sealed_at) VALUES (?, ?, UTC_TIMESTAMP(6))
                 ON DUPLICATE KEY UPDATE sealed = saas_encryption_counts.sealed + VALUES(sealed),
                                         last_sealed_at = VALUES(last_sealed_at)",
            )
            .bind(key)
            .bind(sealed)
            .execute(pool)
            .await?;
            self.has_told(sealed);
        }
        let total: Option<(u64,)> = sqlx::query_as("SELECT sealed FROM saas_encryption_counts WHERE key_id = ?")
            .bind(key)
            .fetch_optional(pool)
            .await?;
        let total = total.map_or(0, |(total,)| total);
        self.learn_total(total);
        Ok(total)
    }

    /// Tells the count until the process stops. For every process that seals.
    pub async fn keep_count(self, pool: MySqlPool, shutdown: Shutdown) {
        let mut warned = false;
        loop {
            let last = shutdown.is_requested();
            match tokio::time::timeout(DEADLINE, self.tell_count(&pool)).await {
                Ok(Ok(total)) => {
                    metrics::gauge!(crate::process::telemetry::names::ENCRYPTION_KEY_SEALINGS).set(total as f64);
                    if total >= SEALINGS_WARNING && !warned {
                        warned = true;
                        let key = self.primary_id();
                        tracing::warn!(
                            key,
                            total,
                            "this encryption key has sealed much; see `control-plane keys --help`"
                        );
                    }
                }
                Ok(Err(error)) => tracing::debug!(%error, "sealings were not counted; they will be"),
                Err(_) => tracing::debug!("sealings were not counted in time"),
            }
            if last {
                return;
            }
            tokio::select! { () = tokio::time::sleep(INTERVAL) => {}, () = shutdown.requested() => {} }
        }
    }
}
