//! Counts how often each key has sealed, over all processes.
//!
//! Nonces are random, so a key is safe for 2^32 sealings (NIST SP 800-38D). Each process counts in memory and adds its
//! count to `saas_encryption_counts` every few seconds and when it stops. At the same time it reads the total.
//! [`KeyRing::seal`] refuses from [`SEALINGS_LIMIT`] on. A killed process loses the count of its last seconds, and a
//! process that cannot reach the system database does not know the counts of the others. The limit is half of what is
//! safe, which leaves room for both.

use super::KeyRing;
use crate::process::shutdown::Shutdown;
use sqlx::MySqlPool;
use std::time::Duration;

/// From this number on, a key seals nothing more.
pub const SEALINGS_LIMIT: u64 = 1 << 31;

/// From this number on, the log asks the operator to add another key.
pub const SEALINGS_WARNING: u64 = 1 << 30;

/// How often a process reports its count.
const INTERVAL: Duration = Duration::from_secs(5);

/// Longest time of a report. A count that could not be reported is part of the next report.
const DEADLINE: Duration = Duration::from_secs(5);

impl KeyRing {
    /// Reports the count of the primary key, and returns its total over all processes.
    pub async fn report_count(&self, pool: &MySqlPool) -> Result<u64, sqlx::Error> {
        let key = self.primary_id();
        // The count is reduced after the report. If the report is abandoned in between, it counts twice rather than not
        // at all.
        let sealed = self.unreported();
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
            self.has_reported(sealed);
        }
        let total: Option<(u64,)> = sqlx::query_as("SELECT sealed FROM saas_encryption_counts WHERE key_id = ?")
            .bind(key)
            .fetch_optional(pool)
            .await?;
        let total = total.map_or(0, |(total,)| total);
        self.learn_total(total);
        Ok(total)
    }

    /// Reports the count until the process stops. Every process that seals runs this task.
    pub async fn report_counts(self, pool: MySqlPool, shutdown: Shutdown) {
        let mut warned = false;
        loop {
            let last = shutdown.is_requested();
            match tokio::time::timeout(DEADLINE, self.report_count(&pool)).await {
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
                Ok(Err(error)) => tracing::debug!(%error, "the count of sealings could not be reported yet"),
                Err(_) => tracing::debug!("the count of sealings could not be reported in time"),
            }
            if last {
                return;
            }
            tokio::select! { () = tokio::time::sleep(INTERVAL) => {}, () = shutdown.requested() => {} }
        }
    }
}
